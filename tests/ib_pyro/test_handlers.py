"""``noise_off`` and what sees through wrappers."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.contrib.autoname import scope
from pyro.distributions.torch_distribution import ExpandedDistribution
from pyro.infer.autoguide.initialization import InitMessenger, init_to_sample
from torch.nn import functional as F

from ib_pyro import noise_off
from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
)
from ib_pyro.handlers import (
    LayerCalls,
    any_value_will_do,
    name_in_running_program,
    noise_is_off,
    optimiser_listens,
    particles_are_vectorised,
    plate_sizes,
    unwrap,
)

F_OF_X = torch.tensor([0.0, 0.5, 2.0])
NOISY = {
    "log-normal": lambda: MultiplicativeLogNormal(F_OF_X, 0.5),
    "unit mean": lambda: MultiplicativeLogNormal(F_OF_X, 0.5, unit_mean=True),
    "log f": lambda: MultiplicativeLogNormal.from_log_activation(F_OF_X.log(), torch.tensor(0.5)),
    "Gaussian": lambda: MultiplicativeNormal(F_OF_X, 0.5),
    "Bernoulli": lambda: MultiplicativeBernoulli(F_OF_X, 0.5),
}
WRAPPERS = {
    "bare": lambda d: d,
    "event": lambda d: d.to_event(1),
    "mask": lambda d: d.mask(False),
    "masked event": lambda d: d.to_event(1).mask(True),
    "expanded": lambda d: d.expand((3,)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("make", NOISY.values(), ids=NOISY)
def test_every_noise_is_switched_off(make, wrap):
    with noise_off():
        torch.testing.assert_close(pyro.sample("z", wrap(make())), F_OF_X)
    assert not torch.equal(pyro.sample("z", make()), F_OF_X)


def test_the_value_has_the_shape_of_the_plates():
    with noise_off(), pyro.plate("outer", 4, dim=-2), pyro.plate("data", 2, dim=-1):
        z = pyro.sample("z", MultiplicativeLogNormal(F_OF_X, 0.5).to_event(1))
    torch.testing.assert_close(z, F_OF_X.expand(4, 2, 3))


def test_the_value_has_the_shape_of_a_wrapper_that_expands():
    with noise_off():
        z = pyro.sample("z", ExpandedDistribution(MultiplicativeLogNormal(F_OF_X, 0.5), (4, 3)).to_event(1))
    torch.testing.assert_close(z, F_OF_X.expand(4, 3))


def test_gradients_reach_the_activation():
    f = F_OF_X.clone().requires_grad_()
    with noise_off():
        pyro.sample("z", MultiplicativeLogNormal(f, 0.5)).sum().backward()
    assert f.grad.tolist() == [1, 1, 1]


def test_other_sites_are_left_alone():
    """Priors, other noise, observations and replayed values keep their own."""
    observed, fixed = torch.full((3,), 7.0), torch.full((3,), 5.0)

    def program():
        return (
            pyro.sample("prior", FactorizedLogNormal(torch.zeros(3), torch.ones(3))),
            pyro.sample("normal", dist.Normal(torch.zeros(3), 1.0).to_event(1)),
            pyro.sample("observed", MultiplicativeLogNormal(F_OF_X, 0.5).to_event(1), obs=observed),
            pyro.sample("fixed", MultiplicativeLogNormal(F_OF_X, 0.5).to_event(1)),
        )

    with noise_off():
        first = poutine.condition(program, data={"fixed": fixed})()
        second = program()
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    assert torch.equal(first[2], observed)
    assert torch.equal(first[3], fixed)


def test_the_rate_does_not_change_without_the_noise():
    """The switch is of the value alone: the site keeps its distribution."""
    with noise_off(), poutine.trace() as trace:
        pyro.sample("z", MultiplicativeLogNormal(F_OF_X, 0.5))
    site = trace.trace.nodes["z"]
    assert isinstance(site["fn"], MultiplicativeLogNormal)
    assert not site["is_observed"]


def test_it_ends_with_its_block():
    with noise_off():
        pass
    assert not torch.equal(pyro.sample("z", MultiplicativeLogNormal(F_OF_X, 0.5)), F_OF_X)


def test_it_leaves_batch_norm_and_pytorchs_own_dropout_alone():
    """Noise and training mode are two switches."""
    norm = torch.nn.BatchNorm1d(3)
    with noise_off():
        norm(torch.randn(8, 3))
    assert norm.num_batches_tracked == 1
    with noise_off():
        assert (F.dropout(torch.ones(100), 0.5, training=True) == 0).any()


def test_unwrap_finds_the_distribution_inside():
    d = MultiplicativeLogNormal(F_OF_X, 0.5)
    for wrap in (
        lambda d: d,
        lambda d: d.to_event(1),
        lambda d: d.mask(True),
        lambda d: d.to_event(1).mask(True),
    ):
        assert unwrap(wrap(d)) is d
    assert unwrap(ExpandedDistribution(d, (4, 3))) is d


@pytest.mark.parametrize(
    "d",
    [
        dist.LogNormal(torch.zeros(3), 1.0),
        dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0), [dist.transforms.ExpTransform()]),
        dist.ZeroInflatedPoisson(torch.ones(3), gate=torch.tensor(0.3)),
    ],
)
def test_unwrap_stops_at_another_law(d):
    """They too have a base distribution, but it is not theirs."""
    assert unwrap(d.to_event(1).mask(True)) is d


class TestQuestions:
    """What is asked of the handlers that are active."""

    def test_the_noise(self):
        assert not noise_is_off()
        with noise_off(), poutine.trace():
            assert noise_is_off()
        assert not noise_is_off()

    def test_an_optimiser(self):
        with poutine.trace():
            assert not optimiser_listens()
            with poutine.trace(param_only=True):
                assert optimiser_listens()

    def test_plates(self):
        assert plate_sizes() == {}
        with pyro.plate("data", 60, subsample=range(6), dim=-1):
            assert plate_sizes() == {-1: 6}
            assert not particles_are_vectorised()
            with pyro.plate("particles", 3, dim=-2):
                assert plate_sizes() == {-1: 6, -2: 3}
                assert particles_are_vectorised()
        for _ in pyro.plate("sequential", 2):
            assert plate_sizes() == {}

    def test_shapes_alone(self):
        assert not any_value_will_do()
        with InitMessenger(init_to_sample):
            assert any_value_will_do()

    def test_names_in_the_outermost_program(self):
        layer, other = torch.nn.Identity(), torch.nn.Identity()
        with LayerCalls({layer: "outer"}), LayerCalls({layer: "inner", other: "other"}):
            assert name_in_running_program(layer) == "outer"
            assert name_in_running_program(other) == "other"
        assert name_in_running_program(layer) is None


def test_values_are_told_apart_by_layer_under_any_name():
    layer = torch.nn.Identity()
    law = dist.Normal(0.0, 1.0)
    with scope(prefix="outside"), LayerCalls({layer: "z1"}) as calls, scope(prefix="inside"):
        z = pyro.sample("mine", law, infer={"layer": layer})
        pyro.sample("another", law)
    assert list(calls.values) == list(calls.laws) == ["z1"]
    assert calls.values["z1"] is z

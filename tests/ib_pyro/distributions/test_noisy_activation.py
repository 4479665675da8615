"""What a noise of a user's own inherits: expansion, its value without noise, and its variables."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions import constraints
from torch import nn

from ib_pyro import Bottleneck, noise_off, to_arviz
from ib_pyro.distributions import (
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    NoiseVariable,
    NoisyActivation,
)
from ib_pyro.handlers import value_without_noise
from ib_pyro.nn import StochasticLayer
from ib_pyro.testing import check_distribution


class Uniform(NoisyActivation):
    """``eps ~ U(1 - width, 1 + width)``, with an option and an attribute that is no tensor."""

    arg_constraints = {"activation": constraints.positive, "width": constraints.unit_interval}
    parameter_names = {"width": "half the range of eps"}
    has_rsample = True

    def __init__(self, activation, width, label="mine", validate_args=None):
        self.activation, self.width, self.label = *torch.broadcast_tensors(activation, width), label
        super().__init__(self.activation.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        return constraints.interval(self.activation * (1 - self.width), self.activation * (1 + self.width))

    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.width.dtype)
        return self.activation * (1 + self.width * (2 * u - 1))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -(2 * self.activation * self.width).log().expand(value.shape)


class Layer(StochasticLayer):
    law = Uniform
    is_charged = False

    def __init__(self):
        super().__init__(nn.Linear(4, 3), activation="softplus")

    def posterior(self, x):
        return self.law(self.activation_of(x), torch.tensor(0.3))


@pytest.fixture
def law():
    return Uniform(torch.tensor([0.5, 1.0, 3.0]), torch.full((3,), 0.5), validate_args=True)


def test_an_expansion_has_the_class_the_options_and_the_flags(law):
    law.has_rsample_(False)
    for wide in (law.expand((5, 3)), law.expand((2, 1, 3)).expand((2, 5, 3)), law.expand_by([7])):
        assert type(wide) is Uniform
        assert wide.activation.shape == wide.width.shape == wide.batch_shape
        assert wide.label == "mine"
        assert wide._validate_args
        assert wide.has_rsample is False
    assert law.batch_shape == (3,)
    assert law.expand((3,)) is law


def test_a_plate_does_not_wrap_it(law):
    with pyro.plate("data", 5, dim=-1), poutine.trace() as trace:
        pyro.sample("z", law.to_event(1))
    assert type(trace.trace.nodes["z"]["fn"].base_dist) is Uniform


def test_a_subclass_expands_to_itself():
    class Named(MultiplicativeLogNormal):
        def __init__(self, activation):
            self.extra = activation + 1
            super().__init__(activation, torch.ones(()))

    wide = Named(torch.ones(3)).expand((5, 3))
    assert type(wide) is Named
    assert wide.extra.shape == (5, 3)


class Held(Uniform):
    """The same noise, drawn by a distribution that the law holds, and by one that has no batch."""

    def __init__(self, activation, width, validate_args=None):
        super().__init__(activation, width, validate_args=validate_args)
        self.noise = dist.Uniform(1 - self.width, 1 + self.width)
        self.unit = dist.Uniform(0.0, 1.0)

    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        assert self.unit.batch_shape == ()
        return self.activation * self.noise.rsample(sample_shape)


def test_a_distribution_that_it_holds_is_expanded_too(law):
    held = Held(law.activation, law.width)
    z = held.expand((5, 3)).rsample()
    assert z.shape == (5, 3)
    assert (z != z[0]).any(0).all()
    check_distribution(held)


def test_a_tensor_that_is_not_of_the_batch_is_refused(law):
    law.matrix = torch.zeros(7, 2)
    with pytest.raises(ValueError, match=r"Uniform.matrix has shape \(7, 2\).*define expand"):
        law.expand((5, 3))


def test_its_noise_is_known(law):
    z = law.sample((4,))
    variables = law.noise_variables(z)
    assert list(variables) == ["eps", "activation", "width"]
    torch.testing.assert_close(variables["eps"].values * variables["activation"].values, z)
    assert {v.values.shape for v in variables.values()} == {z.shape}
    assert variables["width"].long_name == "half the range of eps"


F, SPREAD = torch.tensor([0.0, 0.5, 2.0]), torch.full((3,), 0.4)
KNOWN = {
    "log-normal": (MultiplicativeLogNormal(F, SPREAD), ("alpha", "standard deviation of log eps")),
    "unit mean": (
        MultiplicativeLogNormal(F, SPREAD, unit_mean=True),
        ("alpha", "standard deviation of log eps"),
    ),
    "normal": (MultiplicativeNormal(F, SPREAD), ("alpha", "variance of eps")),
    "Bernoulli": (MultiplicativeBernoulli(F, SPREAD), ("drop_prob", "probability that a unit is dropped")),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_the_noise_of_this_package_is_known(kind):
    ours, (parameter, text) = KNOWN[kind]
    z = ours.sample((5,))
    variables = ours.noise_variables(z)
    noise = (
        variables.pop("log_eps").values.exp()
        if kind in ("log-normal", "unit mean")
        else variables.pop("eps").values
    )
    assert noise[:, 0].isnan().all()
    torch.testing.assert_close(F[1:] * noise[:, 1:], z[:, 1:])
    assert [(name, v.long_name) for name, v in variables.items()] == [
        ("activation", "activation f(x)"),
        (parameter, text),
    ]
    assert torch.equal(variables["activation"].values, F.expand(5, 3))
    assert torch.equal(variables[parameter].values, SPREAD.expand(5, 3))


def test_a_handler_and_the_export_know_it():
    program, x = Bottleneck(Layer(), nn.Linear(3, 2)), torch.randn(5, 4)
    with noise_off():
        torch.testing.assert_close(program.encoder(x), program.encoder.activation_of(x))
    posterior = to_arviz(program, x, num_samples=2)["posterior"]
    assert {"z1", "z1_eps", "z1_activation", "z1_width"} <= set(posterior.data_vars)
    assert posterior["z1_width"].attrs["long_name"] == "half the range of eps"


class DuckTyped(dist.Normal):
    """A law of Pyro's with a value without noise, and variables as a plain tuple."""

    noise_free = property(lambda self: self.loc)

    def noise_variables(self, z):
        return {"n": ((z - self.loc) / self.scale, "standardised noise")}


def test_a_law_that_is_not_of_the_base_may_say_the_same():
    class Mine(Layer):
        law = DuckTyped

    program, x = Bottleneck(Mine(), nn.Linear(3, 2)), torch.randn(5, 4)
    assert value_without_noise(program.encoder.posterior(x).to_event(1)) is not None
    assert value_without_noise(dist.Normal(0.0, 1.0)) is None
    posterior = to_arviz(program, x, num_samples=2)["posterior"]
    assert set(posterior.data_vars) == {"z1", "z1_n"}


def test_a_variable_of_another_shape_is_refused():
    class Wrong(Uniform):
        def noise_variables(self, z):
            return {"eps": NoiseVariable(torch.zeros(2, 2), "eps")}

    class Mine(Layer):
        law = Wrong

    with pytest.raises(ValueError, match=r"Wrong.noise_variables gives eps of shape \(2, 2\)"):
        to_arviz(Bottleneck(Mine(), nn.Linear(3, 2)), torch.randn(5, 4), num_samples=2)

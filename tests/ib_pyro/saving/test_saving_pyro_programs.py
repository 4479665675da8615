"""Pairs of a model and a guide, automatic guides, and what pyro.param keeps in Pyro's store."""

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.distributions import constraints
from pyro.infer.autoguide import AutoNormal
from torch import nn

import ib_pyro
from ib_pyro.saving import read_header


@pytest.fixture(autouse=True)
def empty_store():
    with pyro.get_param_store().scope():
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "program.safetensors"


def model(x):
    w = pyro.sample("w", dist.Normal(torch.zeros(x.shape[1]), 1.0).to_event(1))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(x @ w, 1.0), obs=x[:, 0])


def guide(x):
    loc = pyro.param("loc", lambda: torch.randn(x.shape[1]))
    scale = pyro.param("scale", lambda: torch.rand(x.shape[1]), constraint=constraints.positive)
    pyro.sample("w", dist.Normal(loc, scale).to_event(1))


def unconstrained():
    return {name: value.detach().clone() for name, value in pyro.get_param_store().named_parameters()}


def test_entries_of_the_store_are_named_or_refused(path):
    guide(torch.ones(3, 2))
    with pytest.raises(
        ValueError, match=r"params: Pyro's store holds \['loc', 'scale'\], which may be this program's"
    ):
        ib_pyro.save((model, guide), path)
    with pytest.raises(
        ValueError, match="params: entry of Pyro's store 'lock' is unknown; did you mean 'loc'"
    ):
        ib_pyro.save((model, guide), path, params=["lock"])
    ib_pyro.save((model, guide), path, params=[])
    assert read_header(path).shapes == {}


@pytest.mark.parametrize("has_run", [False, True])
def test_entries_of_the_store_come_back_bit_by_bit(path, has_run):
    guide(torch.ones(3, 200))
    for _, value in pyro.get_param_store().named_parameters():
        # As an optimiser leaves them: there and back through the constraint they would not be the same.
        value.data.add_(torch.randn(200))
    saved = unconstrained()
    ib_pyro.save((model, guide), path, params=["loc", "scale"])
    assert read_header(path).store == {"loc": "real", "scale": "positive"}
    pyro.clear_param_store()
    if has_run:
        guide(torch.ones(3, 200))
    assert ib_pyro.load(path, (model, guide)) == (model, guide)
    assert unconstrained().keys() == saved.keys()
    for name, value in unconstrained().items():
        assert torch.equal(value, saved[name]), name
        assert pyro.get_param_store()[name].requires_grad
    scale = pyro.param("scale", lambda: torch.ones(200), constraint=constraints.positive)
    torch.testing.assert_close(scale.detach(), saved["scale"].exp())


def test_entries_that_do_not_fit_are_refused(path):
    bounded = constraints.greater_than(2.0)
    pyro.param("a", torch.tensor([3.0, 4.0]), constraint=bounded)
    ib_pyro.save((model, guide), path, params=["a"])
    pyro.clear_param_store()
    with pytest.raises(
        ValueError, match="pyro.param 'a': its constraint .*2.0.* is none that has a name; run the program"
    ):
        ib_pyro.load(path, (model, guide))
    assert len(pyro.get_param_store()) == 0
    pyro.param("a", torch.tensor([5.0, 5.0]), constraint=constraints.positive)
    with pytest.raises(ValueError, match="pyro.param 'a': constraint .*2.0.* in the file and positive in"):
        ib_pyro.load(path, (model, guide))
    pyro.clear_param_store()
    pyro.param("a", torch.tensor([5.0]), constraint=bounded)
    with pytest.raises(
        ValueError, match=r"pyro.param 'a': shape \(2,\) in the file and \(1,\) in Pyro's store"
    ):
        ib_pyro.load(path, (model, guide))
    pyro.clear_param_store()
    pyro.param("a", torch.tensor([5.0, 5.0]), constraint=constraints.greater_than(2.0))
    ib_pyro.load(path, (model, guide))
    torch.testing.assert_close(pyro.param("a").detach(), torch.tensor([3.0, 4.0]))


def test_a_module_leaves_entries_of_other_modules_alone(path):
    pyro.module("elsewhere", nn.Linear(2, 2))
    program = nn.Linear(3, 2)
    ib_pyro.save(program, path)
    pyro.param("temperature", torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"\['temperature'\], which may be this program's"):
        ib_pyro.save(program, path)
    with pytest.raises(ValueError, match=r"\['elsewhere.weight', 'elsewhere.bias', 'temperature'\]"):
        ib_pyro.save((model, guide), path)


def fitted_guide():
    auto = AutoNormal(model)
    x = torch.randn(9, 2)
    svi = pyro.infer.SVI(model, auto, pyro.optim.Adam({"lr": 0.05}), loss=pyro.infer.Trace_ELBO())
    for _ in range(5):
        svi.step(x)
    return auto, x


def test_an_automatic_guide_is_loaded_once_it_has_its_tensors(path):
    auto, x = fitted_guide()
    expected = {name: value.clone() for name, value in auto.state_dict().items()}
    ib_pyro.save((model, auto), path)
    pyro.clear_param_store()
    fresh = AutoNormal(model)
    with pytest.raises(ValueError, match="the program lacks 'locs.w_unc.*an automatic guide has its tensors"):
        ib_pyro.load(path, (model, fresh))
    fresh(x)
    ib_pyro.load(path, (model, fresh))
    fresh(x)
    for name, value in fresh.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_rival_in_the_store_would_replace_what_is_loaded(path):
    auto, x = fitted_guide()
    ib_pyro.save((model, auto), path)
    with torch.no_grad():
        auto.locs.w_unconstrained.add_(1.0)
    with pyro.get_param_store().scope():
        fresh = AutoNormal(model)
        fresh(x)
    with pytest.raises(
        RuntimeError, match="Pyro's store already holds 'AutoNormal.locs.w', of another program"
    ):
        ib_pyro.load(path, (model, fresh))


class Networks(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 1), nn.Linear(1, 2)

    def model(self, x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


def test_modules_behind_methods_and_functions_are_found(path):
    one, other = Networks(), Networks()
    ib_pyro.save((one.model, one.guide), path)
    assert set(read_header(path).shapes) == set(one.state_dict())
    ib_pyro.load(path, (other.model, other.guide))
    ib_pyro.load(path, Networks())
    assert torch.equal(other.encoder.weight, one.encoder.weight)


def test_the_sides_of_a_bottleneck_are_the_program(path):
    program, other = (
        ib_pyro.Bottleneck(ib_pyro.nn.InformationDropout.linear(3, 2), nn.Linear(2, 2)) for _ in range(2)
    )
    ib_pyro.save((program.model, program.guide), path)
    ib_pyro.load(path, other)
    assert torch.equal(other.decoder.weight, program.decoder.weight)


def test_a_bottleneck_that_pyros_optimiser_fitted_is_saved(path):
    program, other = (
        ib_pyro.Bottleneck(ib_pyro.nn.InformationDropout.linear(3, 2), nn.Linear(2, 2)) for _ in range(2)
    )
    svi = pyro.infer.SVI(
        program.model, program.guide, pyro.optim.Adam({"lr": 0.05}), loss=pyro.infer.Trace_ELBO()
    )
    svi.step(torch.randn(4, 3), torch.tensor([0, 1, 1, 0]))
    ib_pyro.save(program, path)
    ib_pyro.load(path, other)
    assert torch.equal(other.decoder.weight, program.decoder.weight)

"""Modules leave no trace of having been asked, wherever a callable keeps them."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from ib_pyro import Bottleneck, to_arviz
from ib_pyro.buffers import buffers_kept, modules_behind
from ib_pyro.diagnostics import elementwise_rates, fgsm, importance_log_weights, pgd, robustness_curve
from ib_pyro.nn import InformationDropout


class Plain:
    """An object that is no module and holds one, in a list in a mapping."""

    def __init__(self, network):
        self.parts = {"networks": [network]}

    def __call__(self, x):
        return self.parts["networks"][0](x)


class Wrapping(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)

    def run(self, x):
        return self(x)


def closure(network):
    def inner(x):
        return network(x)

    return lambda x: inner(x)


HOLDERS = {
    "module": lambda n: n,
    "wrapping module": Wrapping,
    "bound method of a module": lambda n: Wrapping(n).run,
    "bound method of an object": lambda n: Plain(n).__call__,
    "object": Plain,
    "closure of a closure": closure,
    "closure over an object": lambda n: closure(Plain(n)),
    "default": lambda n: lambda x, network=n: network(x),
    "partial": lambda n: functools.partial(lambda network, x: network(x), n),
    "handler": lambda n: poutine.scale(closure(n), scale=2.0),
    "decorator": lambda n: torch.no_grad()(closure(n)),
}


@pytest.fixture
def norm():
    return nn.BatchNorm1d(2)


@pytest.mark.parametrize("holder", HOLDERS)
def test_modules_are_found_and_their_buffers_kept(norm, holder):
    program = HOLDERS[holder](norm)
    with buffers_kept(modules_behind(program)):
        program(torch.randn(5, 2) + 3)
        assert norm.num_batches_tracked == 1
    assert norm.num_batches_tracked == 0
    torch.testing.assert_close(norm.running_mean, torch.zeros(2))


def test_a_function_finds_what_it_calls_by_name():
    assert modules_behind(_asks_a_global) == (GLOBAL,)


GLOBAL = nn.BatchNorm1d(1)


def _asks_a_global(x):
    return GLOBAL(x)


def test_a_variable_that_is_not_set_yet_is_passed_over():
    def outer():
        def inner(x):
            return later(x)

        found = modules_behind(inner)
        later = nn.ReLU()
        return found, later

    assert outer()[0] == ()


def test_buffers_stay_the_same_tensors_unwritten_and_shared(norm):
    norm.register_buffer("twin", norm.running_mean)
    kept, version = norm.running_mean, norm.running_mean._version
    with buffers_kept([norm]):
        norm(torch.randn(5, 2))
        assert norm.twin is norm.running_mean
        assert norm.twin is not kept
    with pytest.raises(ValueError, match="Expected more than 1 value"), buffers_kept([norm]):
        norm(torch.randn(1, 2))
    assert norm.running_mean is kept
    assert norm.twin is kept
    assert kept._version == version


def test_a_pending_graph_can_still_be_differentiated(norm):
    norm.eval()
    loss = norm(torch.randn(5, 2)).square().sum()
    with buffers_kept([norm]):
        norm.train()(torch.randn(5, 2))
    loss.backward()
    assert norm.weight.grad is not None


def test_lazy_modules_are_made():
    norm = nn.LazyBatchNorm1d()
    with buffers_kept([norm]):
        norm(torch.randn(5, 3))
    assert norm.running_mean.shape == (3,)


def questions():
    """Each question that the library asks of a program, as a function of (program, x, y)."""

    def pair(program):
        # Plain functions, which hide the program in their closure.
        return (lambda x, y: program.model(x, y)), (lambda x, y: program.guide(x, y))

    def log_probabilities(program):
        return lambda x: program.predictive(x, 1)[0].logits

    return {
        "elementwise_rates": lambda p, x, y: elementwise_rates(p, x),
        "importance weights": lambda p, x, y: importance_log_weights(*pair(p), x, y, num_samples=2),
        "export": lambda p, x, y: to_arviz(p, x, y, num_samples=2),
        "export of a pair": lambda p, x, y: to_arviz(pair(p), x, y, num_samples=2),
        "fgsm": lambda p, x, y: fgsm(log_probabilities(p), x, y, 0.1),
        "pgd": lambda p, x, y: pgd(log_probabilities(p), x, y, 0.1, steps=2),
        "robustness": lambda p, x, y: robustness_curve(log_probabilities(p), x, y, fgsm, [0.1]),
    }


@pytest.mark.filterwarnings("ignore:batch norm is in training mode")
@pytest.mark.parametrize("question", questions())
def test_no_question_changes_the_program(question):
    program = Bottleneck(InformationDropout.linear(4, 3, batch_norm=True), nn.Linear(3, 2))
    before = {name: value.clone() for name, value in program.state_dict().items()}
    questions()[question](program, torch.rand(6, 4), torch.arange(6) % 2)
    assert program.training
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in program.parameters())
    for name, value in program.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_importance_weights_add_up_in_single_precision():
    def model(x):
        with pyro.plate("units", len(x)):
            pyro.sample("x", dist.Normal(torch.zeros_like(x), 1.0), obs=x)
        pyro.sample("y", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0), obs=x[0])

    x = torch.randn(3000, dtype=torch.bfloat16)
    weight = importance_log_weights(model, lambda x: None, x, num_samples=1)
    assert weight.dtype == torch.float32
    each = dist.Normal(torch.zeros_like(x), 1.0).log_prob(x).double()
    torch.testing.assert_close(weight.double(), (each.sum() + each[:1]), rtol=1e-6, atol=0)

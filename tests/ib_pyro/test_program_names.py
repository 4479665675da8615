"""Names of sites: they are the program's, and a layer may have others elsewhere."""

from collections import OrderedDict

import pyro
import pytest
import torch
from pyro import poutine
from pyro.contrib.autoname import name_count, scope
from pyro.infer import Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import InformationDropout

X, Y = torch.linspace(0, 1, 24).reshape(6, 4), torch.arange(6) % 2
ELBO = InformationBottleneckELBO()


def layer():
    return InformationDropout.linear(4, 5)


def rates(program):
    return list(ELBO.terms(program.model, program.guide, X, Y).rate)


@pytest.mark.parametrize("used", [False, True])
def test_a_second_program_around_a_layer_does_not_rename_its_site_in_the_first(used):
    shared = layer()
    first = Bottleneck(nn.Sequential(OrderedDict(code=shared)), nn.Linear(5, 2))
    if used:
        assert rates(first) == ["code"]
    second = Bottleneck(nn.Sequential(nn.Flatten(), shared), nn.Linear(5, 2))
    third = Bottleneck(nn.Sequential(OrderedDict(other=shared)), nn.Linear(5, 2))
    for _ in range(2):
        assert [rates(p) for p in (first, second, third)] == [["code"], ["z1"], ["other"]]
        assert [p.name_of(shared) for p in (first, second, third)] == ["code", "z1", "other"]
    assert first.name_of(layer()) is None


def test_a_program_does_not_rename_a_site_in_a_pyro_module():
    network = PyroModule[nn.Sequential](OrderedDict(hidden=layer()))
    Bottleneck(nn.Sequential(network.hidden), nn.Linear(5, 2))
    assert poutine.trace(network).get_trace(X).stochastic_nodes == ["hidden"]


def test_one_encoder_in_two_programs():
    encoder = nn.Sequential(layer(), InformationDropout.linear(5, 3))
    first, second = Bottleneck(encoder, nn.Linear(3, 2)), Bottleneck(encoder, nn.Linear(3, 2))
    second.decoder.load_state_dict(first.decoder.state_dict())
    values = []
    for program in (first, second, first):
        torch.manual_seed(0)
        values.append(ELBO.loss(program.model, program.guide, X, Y))
    assert values[0] == values[1] == values[2]


def test_the_encoder_called_outside_of_its_program_has_the_programs_names():
    program = Bottleneck(
        nn.Sequential(OrderedDict(low=layer(), high=InformationDropout.linear(5, 3))), nn.Linear(3, 2)
    )
    trace = poutine.trace(program.encoder).get_trace(X)
    assert list(trace.stochastic_nodes) == ["low", "high"]


def test_a_compiler_is_not_shown_who_holds_a_layer(monkeypatch):
    """It would guard weak references, which die at any time."""
    shared = layer()
    program = Bottleneck(nn.Sequential(OrderedDict(code=shared)), nn.Linear(5, 2))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert shared.site_name == "z"
    assert program.name_of(shared) == "code"


def test_a_layer_outlives_its_program():
    shared = layer()
    program = Bottleneck(nn.Sequential(OrderedDict(code=shared)), nn.Linear(5, 2))
    assert shared.site_name == "code"
    program.encoder = nn.Sequential(InformationDropout.linear(4, 5))
    assert shared.site_name == "z"


RENAMING = {
    "scope": lambda fn: scope(fn, prefix="v"),
    "two scopes": lambda fn: scope(scope(fn, prefix="v"), prefix="w"),
    "name_count": name_count,
    "of one's own": lambda fn: Renaming()(fn),
}


class Renaming(poutine.messenger.Messenger):
    def _pyro_sample(self, msg):
        msg["name"] = f"my_{msg['name']}"


@pytest.mark.parametrize("elbo", [ELBO, Trace_ELBO()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("rename", RENAMING.values(), ids=RENAMING)
def test_handlers_may_rename_the_sites(rename, elbo):
    program = Bottleneck(nn.Sequential(layer(), InformationDropout.linear(5, 3)), nn.Linear(3, 2))
    torch.manual_seed(0)
    expected = elbo.loss(program.model, program.guide, X, Y)
    torch.manual_seed(0)
    assert elbo.loss(rename(program.model), rename(program.guide), X, Y) == pytest.approx(expected)


def test_a_scope_inside_of_the_encoder_does_not_matter():
    class Scoped(nn.Module):
        def __init__(self):
            super().__init__()
            self.code = layer()

        def forward(self, x):
            with scope(prefix="inner"):
                return self.code(x)

    program = Bottleneck(Scoped(), nn.Linear(5, 2))
    assert rates(program) == ["code"]


def test_a_layer_that_is_called_twice_is_named():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.code = InformationDropout.linear(4, 4)

        def forward(self, x):
            return self.code(self.code(x))

    program = Bottleneck(Twice(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="site 'code': the encoder calls its layer twice in one pass"):
        rates(program)
    assert program.predict(X).shape == (6, 2)
    with pyro.poutine.trace(), pytest.raises(ValueError, match="calls its layer twice"):
        program.guide(X)


def test_a_program_within_a_program():
    inner = Bottleneck(nn.Sequential(OrderedDict(a=layer())), nn.Identity())
    outer = Bottleneck(nn.Sequential(OrderedDict(inner=inner)), nn.Linear(5, 2))
    assert rates(outer) == ["inner.encoder.a"]
    assert list(inner.latents(X)) == ["a"]

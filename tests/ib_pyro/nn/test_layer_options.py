"""Options that are set after a layer was built: in effect, and checked as in the constructor, or refused."""

import copy

import pyro
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout

X = torch.linspace(-2, 2, 20, dtype=torch.float64).reshape(5, 4)
Y = torch.zeros(5).long()


def twin_with(layer, build, option, value):
    """The same layer with the option given to its constructor."""
    twin = build(**{option: value})
    twin.load_state_dict(layer.state_dict())
    return twin


def outcome(layer):
    # The program is not moved as a whole, after which everything would be made anew.
    program = Bottleneck(layer, nn.Linear(3, 2).double())
    program.decoder.weight.data = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    nn.init.zeros_(program.decoder.bias)
    torch.manual_seed(3)
    terms = InformationBottleneckELBO().terms(program.model, program.guide, X, Y)
    return terms.loss, terms.rate["z1"]


def information(**options):
    return InformationDropout.linear(4, 3, **options).double()


def binary(**options):
    return BinaryDropout.linear(4, 3, **options).double()


def constant(**options):
    return ConstantDropout.linear(4, 3, **options).double()


def gaussian(**options):
    return GaussianDropout.linear(4, 3, **options).double()


@pytest.mark.parametrize(
    ("build", "option", "value"),
    [
        (information, "alpha_min", 0.1),
        (information, "alpha_max", 2.0),
        (information, "gate", 0.2),
        (information, "unit_mean", True),
        (information, "atom", "ignore"),
        (information, "activation_floor", 0.5),
        (information, "activation", "softplus"),
        (information, "activation", torch.abs),
        (information, "activation", nn.Softplus()),
        (binary, "drop_prob", 0.1),
        (binary, "activation", "identity"),
        (constant, "alpha", 0.1),
        (constant, "unit_mean", True),
        (constant, "activation", "softplus"),
        (gaussian, "gate", 0.2),
        (gaussian, "activation", "softplus"),
    ],
)
def test_an_option_set_later_is_as_good_as_one_given(build, option, value):
    layer = build()
    before = outcome(layer)
    setattr(layer, option, value)
    after, expected = outcome(layer), outcome(twin_with(layer, build, option, value))
    torch.testing.assert_close(after, expected, rtol=1e-12, atol=0)
    assert not torch.equal(after[0], before[0])


@pytest.mark.parametrize(
    ("build", "option", "value", "message"),
    [
        (information, "alpha_min", 0.9, "0 < alpha_min < alpha_max"),
        (information, "alpha_max", 0.0, "0 < alpha_min < alpha_max"),
        (information, "alpha_min", float("nan"), "0 < alpha_min < alpha_max"),
        (information, "gate", 1.5, "gate is a probability"),
        (information, "atom", "keep", "atom='keep' is unknown"),
        (information, "activation_floor", -1.0, "must not be negative"),
        (information, "activation", "gelu", "activation='gelu' is unknown"),
        (information, "event_dim", 0, "event_dim must be at least 1"),
        (information, "alpha", 0.3, "alpha is a function of x"),
        (binary, "drop_prob", 1.0, r"drop_prob must be in \[0, 1\)"),
        (constant, "alpha", -0.1, "alpha must be positive"),
        (constant, "alpha", nn.Parameter(torch.tensor(0.5)), "one fixed number"),
        (gaussian, "gate", -0.1, "gate is a probability"),
        (gaussian, "approximation", "fit", "approximation='fit' is unknown"),
        (gaussian, "approximation", "kingma", "kept as built"),
        (gaussian, "learn_alpha", False, "raw_alpha.requires_grad"),
        (gaussian, "alpha", 0.3, "raw_alpha"),
    ],
)
def test_what_the_constructor_refuses_is_refused_later(build, option, value, message):
    layer = build()
    before = copy.copy(layer.__dict__)
    with pytest.raises(ValueError, match=message):
        setattr(layer, option, value)
    assert layer.__dict__.keys() == before.keys()
    assert all(layer.__dict__[name] is before[name] for name in before)


@pytest.mark.parametrize(
    "relu", ["relu", F.relu, torch.relu, nn.ReLU()], ids=["by name", "of functional", "of torch", "a module"]
)
def test_a_log_normal_prior_and_an_activation_with_zeros_do_not_meet(relu):
    layer = information(activation="softplus", prior="log-normal")
    with pytest.raises(ValueError, match="no mass at zero"):
        layer.activation = relu
    with pytest.raises(ValueError, match="no mass at zero"):
        information(activation=relu, prior="log-normal")
    floored = information(activation="relu", prior="log-normal", activation_floor=1e-4)
    with pytest.raises(ValueError, match="no mass at zero"):
        floored.activation_floor = 0.0
    ignoring = information(activation="relu", prior="log-normal", atom="ignore")
    with pytest.raises(ValueError, match="no mass at zero"):
        ignoring.atom = "exact"


def test_an_activation_with_parameters_is_registered_once():
    layer = information(activation=nn.PReLU())
    assert [name for name, _ in layer.named_parameters() if "activ" in name] == ["activation.weight"]
    layer.activation = "relu"
    assert not [name for name, _ in layer.named_parameters() if "activ" in name]
    with noise_off():
        torch.testing.assert_close(layer(X), layer.features(X).relu())


def test_the_samples_dimensions_follow_the_features():
    layer = AdditiveNormal.linear(4, 3)
    assert layer.event_dim == 1
    layer.features, layer.noise = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
    assert layer.event_dim == 3
    layer.event_dim = 2
    layer.features = nn.Linear(4, 3)
    assert layer.event_dim == 2
    layer.event_dim = None
    assert layer.event_dim == 1


def test_another_event_dim_is_in_effect_in_a_program_that_was_used():
    program = Bottleneck(
        AdditiveNormal.linear(4, 3, event_dim=2), nn.Sequential(nn.Flatten(), nn.Linear(15, 2))
    )
    x, y = torch.rand(6, 5, 4), torch.zeros(6).long()
    elbo = InformationBottleneckELBO()
    assert elbo.terms(program.model, program.guide, x, y).rate["z1"].shape == (6,)
    program.encoder.event_dim = 1
    with pytest.raises(ValueError, match=r"site 'z1'.*\(6, 5, 3\).*event_dim=2"):
        elbo.terms(program.model, program.guide, x, y)
    program.encoder.event_dim = 2
    assert elbo.terms(program.model, program.guide, x, y).rate["z1"].shape == (6,)


def test_a_layer_is_renamed_by_its_name():
    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    x, y = torch.rand(5, 4), Y
    elbo = InformationBottleneckELBO()
    assert set(elbo.terms(program.model, program.guide, x, y).rate) == {"z1"}
    program.encoder.name = "code"
    assert set(elbo.terms(program.model, program.guide, x, y).rate) == {"code"}


def test_a_prior_that_is_set_is_in_effect():
    layer = information(activation="softplus")
    before = outcome(layer)[1]
    layer.prior = pyro.distributions.LogNormal(torch.tensor(0.0).double(), 2.0)
    after = outcome(layer)[1]
    assert not torch.equal(before, after)
    layer.prior = "log-uniform"
    torch.testing.assert_close(outcome(layer)[1], before)

"""Information dropout: its noise, its rates by hand, its atom and what it refuses."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.distributions import MultiplicativeLogNormal
from ib_pyro.nn import InformationDropout
from ib_pyro.nn.information_dropout import log_softplus

BATCH, WIDTH_IN, WIDTH = 6, 4, 5


@pytest.fixture
def x():
    return torch.randn(BATCH, WIDTH_IN, dtype=torch.float64)


def make(**options):
    return InformationDropout.linear(WIDTH_IN, WIDTH, **options).double()


def rate_of(layer, x):
    program = Bottleneck(layer, nn.Linear(WIDTH, 2).to(x.dtype))
    elbo = InformationBottleneckELBO()
    return elbo.terms(program.model, program.guide, x, torch.zeros(len(x)).long()).rate["z1"]


def test_alpha_is_a_function_of_the_same_input(x):
    layer = make(alpha_min=0.1, alpha_max=0.5)
    logits = x @ layer.noise.weight.T + layer.noise.bias
    torch.testing.assert_close(layer.alpha(x), 0.1 + 0.4 / (1 + (-logits).exp()))
    torch.testing.assert_close(layer.posterior(x).alpha, layer.alpha(x))


def test_default_bounds_of_alpha(x):
    assert (make().alpha_min, make().alpha_max) == (1e-3, 0.7)
    layer = make()
    nn.init.constant_(layer.noise.bias, 1e4)
    torch.testing.assert_close(layer.alpha(x), torch.full((BATCH, WIDTH), 0.7, dtype=torch.float64))


@pytest.mark.parametrize("gate", [0.25, 1.0])
def test_rate_under_the_log_uniform_prior_by_hand(x, gate):
    layer = make(gate=gate)
    on = layer.features(x) > 0
    assert on.any()
    assert not on.all()
    by_hand = torch.where(on, (0.7 / layer.alpha(x)).log(), -math.log(gate)).sum(-1)
    torch.testing.assert_close(rate_of(layer, x), by_hand)


def test_ignoring_the_atom_charges_units_that_are_off_too(x):
    layer = make(atom="ignore", gate=0.25)
    torch.testing.assert_close(rate_of(layer, x), (0.7 / layer.alpha(x)).log().sum(-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_ignoring_the_atom_leaves_none_in_any_precision(x, dtype):
    posterior = make(atom="ignore").to(dtype).posterior(x.to(dtype))
    assert not posterior.is_atom.any()


def test_ignoring_the_atom_does_not_change_what_is_computed(x):
    layer, exact = make(atom="ignore"), make()
    exact.load_state_dict(layer.state_dict())
    with torch.random.fork_rng():
        expected = exact(x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-15)


def test_rate_under_the_log_normal_prior_by_hand(x):
    """Proposition 3 with the log f that its print drops."""
    layer = make(activation="softplus", prior="log-normal")
    nn.init.constant_(layer.prior_loc, 0.3)
    nn.init.constant_(layer.prior_log_scale, -0.5)
    alpha, f = layer.alpha(x), F.softplus(layer.features(x))
    sigma = math.exp(-0.5)
    by_hand = (alpha**2 + (f.log() - 0.3) ** 2) / (2 * sigma**2) - (alpha / sigma).log() - 0.5
    torch.testing.assert_close(rate_of(layer, x), by_hand.sum(-1))


def test_the_exponential_link_and_a_prior_per_unit_by_hand(x):
    layer = make(activation="exponential", prior="log-normal", prior_shape=(WIDTH,))
    loc = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    log_sigma = torch.linspace(0.5, -0.5, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        layer.prior_loc.copy_(loc)
        layer.prior_log_scale.copy_(log_sigma)
    alpha, log_f = layer.alpha(x), layer.features(x)
    by_hand = (alpha**2 + (log_f - loc) ** 2) / (2 * (2 * log_sigma).exp()) - alpha.log() + log_sigma - 0.5
    torch.testing.assert_close(rate_of(layer, x), by_hand.sum(-1))
    torch.testing.assert_close(layer.posterior(x).loc, log_f)


def test_the_exponential_link_reaches_where_its_value_does_not(x):
    """The logarithm of f is what the features give: 200 nats down it is no atom, in single precision either."""
    layer = make(activation="exponential", prior="log-normal").float()
    nn.init.zeros_(layer.features.weight)
    nn.init.constant_(layer.features.bias, -200.0)
    posterior = layer.posterior(x.float())
    assert not posterior.is_atom.any()
    rate = rate_of(layer, x.float())
    assert rate.isfinite().all()
    assert (rate > 0.5 * WIDTH * 200.0**2).all()


def test_one_prior_is_the_prior_per_unit_with_equal_parts(x):
    one = make(activation="softplus", prior="log-normal")
    each = make(activation="softplus", prior="log-normal", prior_shape=(WIDTH,))
    state = one.state_dict()
    each.load_state_dict(state | {n: state[n].expand(WIDTH) for n in ("prior_loc", "prior_log_scale")})
    torch.testing.assert_close(rate_of(each, x), rate_of(one, x))


@pytest.mark.parametrize("shape", [(WIDTH + 1,), (2, WIDTH)])
def test_a_prior_of_another_shape_is_refused(x, shape):
    layer = make(activation="softplus", prior="log-normal", prior_shape=shape)
    with pytest.raises(ValueError, match=r"prior_shape=.* does not broadcast to the event shape \(5,\) of z"):
        rate_of(layer, x)


def test_a_prior_without_parameters_has_no_shape():
    with pytest.raises(ValueError, match=r"prior_shape=\(5,\) is that of a learned log-normal prior"):
        make(prior_shape=(WIDTH,))


def test_a_prior_per_channel():
    layer = InformationDropout.conv2d(
        2, 3, 3, activation="softplus", prior="log-normal", prior_shape=(3, 1, 1)
    )
    assert layer.prior_distribution(torch.Size([3, 4, 4])).event_shape == (3, 4, 4)


def test_unit_mean_shifts_the_rate_of_the_log_normal_prior_only(x):
    for options in ({"activation": "softplus", "prior": "log-normal"}, {}):
        layer, shifted = make(**options), make(unit_mean=True, **options)
        shifted.load_state_dict(layer.state_dict())
        alpha = layer.alpha(x)
        if options:
            log_f = F.softplus(layer.features(x)).log()
            change = 0.5 * ((log_f - alpha**2 / 2) ** 2 - log_f**2)
        else:
            change = torch.zeros_like(alpha)
        torch.testing.assert_close(rate_of(shifted, x) - rate_of(layer, x), change.sum(-1))


def test_the_learned_prior_fits_the_aggregate(x):
    """Its gradient vanishes where its moments are those of log z over the batch."""
    layer = make(activation="softplus", prior="log-normal")
    posterior = layer.posterior(x)
    loc, second = posterior.loc.mean(), (posterior.alpha**2 + posterior.loc**2).mean()
    for at_optimum in (False, True):
        if at_optimum:
            nn.init.constant_(layer.prior_loc, loc.item())
            nn.init.constant_(layer.prior_log_scale, 0.5 * (second - loc**2).log().item())
        gradients = torch.autograd.grad(rate_of(layer, x).mean(), (layer.prior_loc, layer.prior_log_scale))
        for gradient in gradients:
            assert (gradient.abs() < 1e-9) == at_optimum


def test_the_prior_can_be_swapped(x):
    layer = make(activation="softplus")
    before = rate_of(layer, x)
    layer.prior = dist.LogNormal(torch.tensor(0.3).double(), torch.tensor(0.8).double())
    alpha, log_f = layer.alpha(x), F.softplus(layer.features(x)).log()
    by_hand = (alpha**2 + (log_f - 0.3) ** 2) / (2 * 0.8**2) - (alpha / 0.8).log() - 0.5
    torch.testing.assert_close(rate_of(layer, x), by_hand.sum(-1), rtol=1e-6, atol=1e-6)
    assert layer.sample_prior(torch.Size([WIDTH])).shape == (WIDTH,)
    layer.prior = "log-uniform"
    torch.testing.assert_close(rate_of(layer, x), before)


def test_a_prior_may_differ_between_units_or_be_a_function(x):
    loc = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    each, function = make(activation="softplus"), make(activation="softplus")
    function.load_state_dict(each.state_dict())
    each.prior = dist.LogNormal(loc, torch.ones_like(loc))
    function.prior = lambda shape: dist.LogNormal(loc.expand(shape), torch.ones_like(loc)).to_event(
        len(shape)
    )
    torch.testing.assert_close(rate_of(each, x), rate_of(function, x))


@pytest.mark.parametrize(("option", "value"), [("gate", 0.125), ("alpha_max", 0.9)])
def test_an_option_that_changes_reaches_the_prior(x, option, value):
    layer = make(gate=0.5)
    program = Bottleneck(layer, nn.Linear(WIDTH, 2).double())
    y, elbo = torch.zeros(BATCH).long(), InformationBottleneckELBO()
    elbo.terms(program.model, program.guide, x, y)
    setattr(layer, option, value)
    on = layer.features(x) > 0
    by_hand = torch.where(on, (layer.alpha_max / layer.alpha(x)).log(), -math.log(layer.gate)).sum(-1)
    torch.testing.assert_close(elbo.terms(program.model, program.guide, x, y).rate["z1"], by_hand)


def test_a_prior_first_used_in_another_precision_is_not_kept(x):
    """On another device it could not be used at all."""
    layer = InformationDropout.linear(WIDTH_IN, WIDTH, gate=0.3)
    program = Bottleneck(layer, nn.Linear(WIDTH, 2))
    y, elbo = torch.zeros(BATCH).long(), InformationBottleneckELBO()
    elbo.loss(program.model, program.guide, x.float(), y)
    program.double()
    on = layer.features(x) > 0
    by_hand = torch.where(on, (0.7 / layer.alpha(x)).log(), -math.log(0.3)).sum(-1)
    rate = elbo.terms(program.model, program.guide, x, y).rate["z1"]
    torch.testing.assert_close(rate, by_hand, rtol=1e-13, atol=1e-13)


def test_a_prior_first_used_in_inference_mode_can_be_trained_with(x):
    layer = make(activation="softplus", prior="log-normal")
    for option in (layer, make()):
        with torch.inference_mode():
            rate_of(option, x)
        rate_of(option, x).sum().backward()
        assert option.noise.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_of_very_negative_values_stays_off_the_atom(dtype):
    layer = InformationDropout.linear(WIDTH_IN, WIDTH, activation="softplus", prior="log-normal").to(dtype)
    nn.init.constant_(layer.features.bias, -2000.0)
    x = torch.randn(BATCH, WIDTH_IN, dtype=dtype)
    assert not layer.posterior(x).is_atom.any()
    rate = rate_of(layer, x)
    assert rate.isfinite().all()
    rate.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    assert layer.features.bias.grad.abs().min() > 0


def test_log_softplus():
    h = torch.tensor([-1e4, -700.0, -40.0, -36.1, -36.0, -10.0, 0.0, 3.0, 50.0], dtype=torch.float64)
    exact = torch.where(h > -30, torch.log1p(h.exp()).log(), h)
    exact[-1] = math.log(50)
    torch.testing.assert_close(log_softplus(h), exact, rtol=1e-14, atol=0)
    for value in (-700.0, -36.5, -3.0, 0.0, 20.0):
        point = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(log_softplus, (point,))


def test_the_authors_clamp(x):
    layer = make(activation="relu", prior="log-normal", activation_floor=1e-4)
    f = F.relu(layer.features(x)).clamp_min(1e-4)
    torch.testing.assert_close(layer.posterior(x).activation, f)
    assert rate_of(layer, x).isfinite().all()
    soft = make(activation="softplus", prior="log-normal", activation_floor=1e-4)
    nn.init.constant_(soft.features.bias, -50.0)
    assert (soft.posterior(x).activation == 1e-4).all()


def test_any_networks_may_be_its_branches(x):
    features = nn.Sequential(nn.Linear(WIDTH_IN, 8), nn.Tanh(), nn.Linear(8, WIDTH)).double()
    layer = InformationDropout(features, nn.Linear(WIDTH_IN, WIDTH).double(), torch.exp)
    assert isinstance(layer.posterior(x), MultiplicativeLogNormal)
    torch.testing.assert_close(layer.posterior(x).activation, features(x).exp())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha_min": 0.0}, "0 < alpha_min < alpha_max; got alpha_min=0.0"),
        ({"alpha_min": -0.1}, "alpha_min=-0.1"),
        ({"alpha_max": 1e-4}, "alpha_max=0.0001"),
        ({"alpha_max": math.nan}, "alpha_max=nan"),
        ({"gate": 1.5}, "gate is a probability; got 1.5"),
        ({"gate": -0.5}, "gate is a probability"),
        ({"atom": "both"}, "atom='both' is unknown; choose 'exact' or 'ignore'"),
        ({"activation_floor": -1.0}, "activation_floor must not be negative"),
        ({"activation_floor": math.nan}, "activation_floor must not be negative, nor NaN"),
        ({"prior": "uniform"}, "prior='uniform' is unknown; did you mean 'log-uniform'"),
        ({"prior": "log-normal"}, "log-normal prior has no mass at zero.*softplus.*activation_floor"),
        (
            {"prior": dist.LogNormal(torch.zeros(2, 3), 1.0).to_event(1)},
            r"prior has batch shape \(2,\) beside event shape \(3,\)",
        ),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("prior", [3, None, torch.distributions.LogNormal(0.0, 1.0)])
def test_priors_of_a_wrong_kind(prior):
    with pytest.raises(
        TypeError, match=r"prior is a .*; pass (a name, )?a distribution of pyro.distributions"
    ):
        make(prior=prior)


def test_a_learned_prior_cannot_be_asked_for_later():
    layer = make(activation="softplus")
    with pytest.raises(ValueError, match="pass prior='log-normal' when building"):
        layer.prior = "log-normal"


def test_branches_of_different_widths_name_the_site(x):
    layer = InformationDropout(nn.Linear(WIDTH_IN, 5), nn.Linear(WIDTH_IN, 2), name="hidden").double()
    with pytest.raises(ValueError, match=r"site 'hidden': features give \(6, 5\) but noise gives \(6, 2\)"):
        layer(x)


def test_a_noise_that_is_nan_names_the_site(x):
    layer = make(name="hidden")
    nn.init.constant_(layer.noise.bias, math.nan)
    with pytest.raises(ValueError, match="site 'hidden': alpha has 30 NaN of 30 values"):
        layer(x)


@pytest.mark.parametrize("option", ["alpha_min", "alpha_max", "gate", "activation_floor"])
def test_options_that_are_no_numbers(option):
    with pytest.raises(TypeError, match=f"{option} must be a number; got '0.7'"):
        InformationDropout.linear(WIDTH_IN, WIDTH, **{option: "0.7"})


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (dist.LogNormal(torch.zeros(7), 1.0), r"site 'z': prior has batch shape \(7,\)"),
        (
            lambda _: dist.LogNormal(torch.zeros(7), 1.0).to_event(1),
            r"site 'z': prior has .* event shape \(7,\)",
        ),
    ],
    ids=["too wide", "another event"],
)
def test_a_given_prior_of_another_shape_is_refused(prior, message):
    layer = InformationDropout.linear(WIDTH_IN, WIDTH, activation="softplus", prior=prior)
    with pytest.raises(ValueError, match=message):
        layer.sample_prior(torch.Size([WIDTH]))


def test_a_prior_of_ones_own_without_its_event_is_refused():
    class Own(InformationDropout):
        def prior_distribution(self, event_shape):
            return dist.LogNormal(torch.zeros(event_shape), 1.0)

    with pytest.raises(
        ValueError, match=r"site 'z': its prior has event shape \(\) \(and batch shape \(5,\)\)"
    ):
        Own.linear(WIDTH_IN, WIDTH).sample_prior(torch.Size([WIDTH]))

"""A capacity draws the rate to itself, free nats leave it alone, and both fall back to the plain Lagrangian."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.elbo.capacity import CapacityELBO, FreeBitsELBO
from ib_pyro.nn import AdditiveNormal, BinaryDropout

X = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 1, 0, 1, 0])


def program(num_data=None):
    torch.manual_seed(0)
    encoder = nn.Sequential(
        AdditiveNormal(nn.Linear(3, 4), nn.Linear(3, 4)), AdditiveNormal(nn.Linear(4, 2), nn.Linear(4, 2))
    )
    return Bottleneck(encoder, nn.Linear(2, 2), num_data=num_data).double()


def terms_of(elbo, network):
    torch.manual_seed(3)
    return elbo.terms(network.model, network.guide, X, Y)


def by_hand(penalty, network, beta=1.0, scale=1.0):
    """Distortion plus beta times the penalty of each site's mean rate, over the batch."""
    terms = terms_of(InformationBottleneckELBO(), network)
    penalties = [beta * penalty(name, rate.mean()) * len(X) for name, rate in terms.rate.items()]
    return scale * (terms.distortion.sum() + sum(penalties))


@pytest.mark.parametrize(("num_data", "scale"), [(None, 1.0), (30, 5.0)])
@pytest.mark.parametrize("capacity", [0.3, 2.0, {"z1": 0.5, "z2": 7.0}, torch.tensor(0.4)])
def test_capacity_is_the_distance_of_the_mean_rate(num_data, scale, capacity):
    def distance(name, rate):
        target = capacity[name] if isinstance(capacity, dict) else capacity
        return (rate - target).abs()

    network = program(num_data)
    loss = terms_of(CapacityELBO(capacity, beta=1.7), network).loss
    torch.testing.assert_close(loss, by_hand(distance, network, beta=1.7, scale=scale))


@pytest.mark.parametrize(("num_data", "scale"), [(None, 1.0), (30, 5.0)])
def test_free_nats_floor_the_mean_rate_of_each_site(num_data, scale):
    network = program(num_data)
    rates = {name: rate.mean() for name, rate in terms_of(InformationBottleneckELBO(), network).rate.items()}
    free = {"z1": rates["z1"].item() + 0.5, "z2": rates["z2"].item() - 0.05}
    terms = terms_of(FreeBitsELBO(free, beta=0.6), network)
    expected = by_hand(lambda name, rate: rate.clamp_min(free[name]), network, beta=0.6, scale=scale)
    torch.testing.assert_close(terms.loss, expected)
    # The rates that are reported stay those of the program.
    torch.testing.assert_close(terms.rate["z1"].mean(), rates["z1"])


def test_a_site_within_its_free_nats_feels_no_pressure_and_one_beyond_does():
    network = program()
    plain = terms_of(InformationBottleneckELBO(beta={"z1": 0.0, "z2": 1.0}), network).loss
    z1, z2 = network.stochastic_layers.values()
    expected = torch.autograd.grad(plain, [z1.noise.weight, z2.noise.weight])
    loss = terms_of(FreeBitsELBO({"z1": 1e3, "z2": 0.0}), network).loss
    for gradient, other in zip(
        torch.autograd.grad(loss, [z1.noise.weight, z2.noise.weight]), expected, strict=True
    ):
        torch.testing.assert_close(gradient, other)


def test_below_capacity_the_gradient_of_the_rate_is_reversed():
    network = program()
    parameter = network.stochastic_layers["z1"].noise.weight
    distortion = terms_of(InformationBottleneckELBO(beta=0.0), network).loss
    rate = terms_of(InformationBottleneckELBO(beta={"z2": 0.0}), network).loss - distortion
    drawn = terms_of(CapacityELBO(1e3, beta={"z2": 0.0}), network).loss
    up, down = (torch.autograd.grad(loss, parameter, retain_graph=True)[0] for loss in (rate, drawn))
    (data,) = torch.autograd.grad(distortion, parameter)
    torch.testing.assert_close(down - data, -up)


@pytest.mark.parametrize("elbo", [CapacityELBO(0.0, beta=0.7), FreeBitsELBO(0.0, beta=0.7)])
def test_a_target_of_zero_is_the_plain_lagrangian(elbo):
    network = program()
    torch.testing.assert_close(
        terms_of(elbo, network).loss, terms_of(InformationBottleneckELBO(beta=0.7), network).loss
    )


@pytest.mark.parametrize("elbo", [CapacityELBO, FreeBitsELBO])
def test_vectorised_particles_do_not_move_the_target(elbo):
    loc = X[:, 0]

    def model():
        with pyro.plate("data", len(X)):
            pyro.sample("z", dist.Normal(torch.zeros_like(loc), 1.0))

    def guide():
        with pyro.plate("data", len(X)):
            pyro.sample("z", dist.Normal(loc, 0.5))

    def relative_to_no_target(**options):
        with_target, without = (elbo(target, **options).loss(model, guide) for target in (0.4, 0.0))
        return with_target / without

    vectorised = {"num_particles": 5, "vectorize_particles": True, "max_plate_nesting": 1}
    assert relative_to_no_target(**vectorised) == pytest.approx(relative_to_no_target())


def own_rates(network):
    """The rate of every unit of every sample, by hand."""
    found, z = {}, X
    torch.manual_seed(3)
    for name, layer in network.stochastic_layers.items():
        law = layer.posterior(z)
        found[name] = 0.5 * (law.loc.square() + law.scale.square() - 1) - law.scale.log()
        z = law.rsample()
    return found


@pytest.mark.parametrize(("num_data", "scale"), [(None, 1.0), (30, 5.0)])
@pytest.mark.parametrize("per", ["site", "unit", "sample"])
def test_nats_are_free_for_a_site_each_unit_or_each_sample(per, num_data, scale):
    network = program(num_data)
    units = own_rates(network)
    free = {"z1": units["z1"].mean().item(), "z2": units["z2"].sum(1).median().item()}
    if per == "site":
        costs = [rate.sum(1).mean().clamp_min(free[n]) * len(X) for n, rate in units.items()]
    elif per == "unit":
        costs = [rate.mean(0).clamp_min(free[n]).sum() * len(X) for n, rate in units.items()]
    else:
        costs = [rate.sum(1).clamp_min(free[n]).sum() for n, rate in units.items()]
    terms = terms_of(FreeBitsELBO(free, beta=0.6, per=per), network)
    expected = scale * (terms.distortion.sum() + 0.6 * sum(costs))
    torch.testing.assert_close(terms.loss, expected)
    torch.testing.assert_close(terms.rate["z1"], units["z1"].sum(1))
    # Some have more than is free, and some less: the three are three.
    assert (units["z1"].mean(0) > free["z1"]).any()
    assert (units["z1"].mean(0) < free["z1"]).any()


@pytest.mark.parametrize("per", ["unit", "sample"])
def test_what_is_free_has_no_gradient_and_the_rest_its_own(per):
    network = program()
    units = own_rates(network)["z1"]
    floor = 0.5 * (units.mean(0).max() + units.mean(0).min()) if per == "unit" else units.sum(1).median()
    cost = units.mean(0) if per == "unit" else units.sum(1)
    share = len(X) if per == "unit" else 1
    parameters = [*network.stochastic_layers["z1"].parameters()]
    expected = torch.autograd.grad(share * cost[cost > floor].sum(), parameters)
    beta = {"z1": 1.0, "z2": 0.0}
    losses = [
        terms_of(elbo, network).loss
        for elbo in (FreeBitsELBO(floor.item(), beta, per=per), InformationBottleneckELBO(beta=0.0))
    ]
    found = torch.autograd.grad(losses[0] - losses[1], parameters, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("per", ["unit", "sample"])
def test_parts_at_the_draw_are_those_of_the_draw(per):
    network, free = program(), 0.2
    terms = terms_of(FreeBitsELBO(free, per=per, sampled_rates=["z1", "z2"]), network)
    torch.manual_seed(3)
    costs, z = 0.0, X
    for layer in network.stochastic_layers.values():
        law = layer.posterior(z)
        z = law.rsample()
        units = law.log_prob(z) - dist.Normal(0.0, 1.0).log_prob(z)
        part = units.mean(0).clamp_min(free) * len(X) if per == "unit" else units.sum(1).clamp_min(free)
        costs = costs + part.sum()
    torch.testing.assert_close(terms.loss, terms.distortion.sum() + costs)


@pytest.mark.parametrize("per", ["unit", "sample"])
def test_parts_of_masked_samples_cost_nothing(per):
    network, mask = program(), torch.arange(len(X)) < 4
    sides = [pyro.poutine.mask(side, mask=mask) for side in (network.model, network.guide)]
    torch.manual_seed(3)
    terms = FreeBitsELBO(0.2, per=per).terms(*sides, X, Y)
    costs = 0.0
    for units in own_rates(network).values():
        own = units[:4]
        costs += own.mean(0).clamp_min(0.2).sum() * 4 if per == "unit" else own.sum(1).clamp_min(0.2).sum()
    torch.testing.assert_close(terms.loss, terms.distortion.sum() + costs)


@pytest.mark.parametrize("per", ["unit", "sample"])
def test_a_recording_has_the_same_numbers_and_runs_side_by_side_too(per):
    network, elbo = program(), FreeBitsELBO(0.2, beta=0.7, per=per)
    captured = elbo.capture(network.model, network.guide)
    for seed in (3, 4):
        torch.manual_seed(seed)
        expected = elbo.loss(network.model, network.guide, X, Y)
        torch.manual_seed(seed)
        assert captured.loss_and_grads(X, Y) == pytest.approx(expected, rel=1e-10)
    values = {
        f"model.{n}": torch.stack([p.detach(), 1.5 * p.detach()]) for n, p in network.named_parameters()
    }
    loss = elbo(network.model, network.guide)

    def one(own):
        return torch.func.functional_call(loss, own, (X, Y))

    torch.manual_seed(0)
    together = torch.vmap(one, randomness="same")(values)
    torch.manual_seed(0)
    torch.testing.assert_close(together[1], one({n: v[1] for n, v in values.items()}))


def test_each_sample_may_have_a_weight_where_each_has_its_nats():
    network, beta = program(), torch.linspace(0.5, 2.0, 6, dtype=torch.float64)
    terms = terms_of(FreeBitsELBO(0.2, beta=beta, per="sample"), network)
    costs = sum((beta * units.sum(1).clamp_min(0.2)).sum() for units in own_rates(network).values())
    torch.testing.assert_close(terms.loss, terms.distortion.sum() + costs)


def test_units_that_depend_on_each_other_are_refused():
    network = program()
    network.stochastic_layers["z1"].prior = dist.MultivariateNormal(
        torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    )
    with pytest.raises(
        ValueError, match="site 'z1': MultivariateNormal has units that depend.*per=\"sample\""
    ):
        terms_of(FreeBitsELBO(0.2, per="unit"), network)
    assert terms_of(FreeBitsELBO(0.2, per="sample"), network).loss.isfinite()


def test_a_layer_that_is_not_charged_has_nothing_to_give_away():
    network = Bottleneck(BinaryDropout.linear(3, 4), nn.Linear(4, 2)).double()
    for per in ("unit", "sample"):
        terms = terms_of(FreeBitsELBO(0.0, per=per), network)
        torch.testing.assert_close(terms.loss, terms.distortion.sum())


def test_targets_may_change_between_steps():
    capacity, free = CapacityELBO(1.0), FreeBitsELBO(1.0)
    capacity.capacity, free.free_nats = 2.5, {"z1": 0.5}
    assert (capacity.capacity, free.free_nats) == (2.5, {"z1": 0.5})
    network = program()
    torch.testing.assert_close(terms_of(capacity, network).loss, terms_of(CapacityELBO(2.5), network).loss)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CapacityELBO(-1.0), "capacity must be at least 0; got -1.0"),
        (lambda: FreeBitsELBO({"z1": -2.0}), r"free_nats\['z1'\] must be at least 0; got -2.0"),
        (lambda: FreeBitsELBO(1.0, per="pixel"), "per='pixel' is unknown; choose 'site', 'unit' or 'sample'"),
        (lambda: terms_of(CapacityELBO({"z9": 1.0}), program()), "capacity: site 'z9' is unknown"),
        (
            lambda: terms_of(FreeBitsELBO(1.0, beta=torch.ones(6, dtype=torch.float64)), program()),
            r"site 'z1': beta has shape \(6,\).*free_nats has one weight",
        ),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_guide_that_spreads_a_site_is_refused():
    def model():
        pyro.sample("w", dist.Normal(0.0, 1.0))

    with pytest.raises(NotImplementedError, match="'w_unconstrained' is auxiliary.*capacity"):
        CapacityELBO(1.0).differentiable_loss(model, AutoNormal(model))


@pytest.mark.parametrize("elbo", [CapacityELBO, FreeBitsELBO])
def test_masked_samples_have_no_share_in_the_target(elbo):
    """A target for the mean rate of the samples that count: as if the others were not in the batch."""
    network, mask = program(), torch.arange(len(X)) < 4
    sides = [pyro.poutine.mask(side, mask=mask) for side in (network.model, network.guide)]
    torch.manual_seed(3)
    masked = elbo(30.0).terms(*sides, X, Y)
    torch.manual_seed(3)
    plain = InformationBottleneckELBO().terms(*sides, X, Y)
    expected = plain.distortion.sum()
    for rate in plain.rate.values():
        total = rate.sum()
        expected += (total - 4 * 30.0).abs() if elbo is CapacityELBO else total.clamp_min(4 * 30.0)
    torch.testing.assert_close(masked.loss, expected)

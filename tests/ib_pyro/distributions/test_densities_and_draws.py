"""Densities, moments and draws of every distribution against quadrature and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

UNITS = [0, 1, 2]


def atoms_of(case, values):
    return [(torch.tensor(place, dtype=torch.float64), mass) for place, mass in case.atoms(**values)]


def expectation(case, unit, values, integrate, function):
    """``E[function(z)]`` as a sum over the atoms plus an integral over the continuous part."""
    total = sum(mass * function(place).item() for place, mass in atoms_of(case, values))
    if case.law is None or (total_mass := sum(mass for _, mass in case.atoms(**values))) == 1:
        return total
    assert total_mass < 1

    def weighted(z):
        return unit.log_prob(z).exp() * function(z)

    return total + integrate(weighted, *case.log_bounds(**values), two_sided=case.two_sided)


@pytest.mark.parametrize("index", UNITS)
def test_the_density_integrates_to_one(proper_case, index, integrate):
    unit, values = proper_case.unit(index)
    assert expectation(proper_case, unit, values, integrate, torch.ones_like) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("index", UNITS)
def test_atoms_have_their_mass(case, index):
    unit, values = case.unit(index)
    for place, mass in atoms_of(case, values):
        assert unit.log_prob(place).exp().item() == pytest.approx(mass, abs=1e-12)


@pytest.mark.parametrize("index", UNITS)
def test_the_density_is_scipys(continuous_case, index):
    unit, values = continuous_case.unit(index)
    law, mass = continuous_case.law(**values), sum(m for _, m in continuous_case.atoms(**values))
    if mass == 1:
        z = torch.tensor([0.1, 3.0], dtype=torch.float64)
        assert (unit.log_prob(z) == -math.inf).all()
        return
    z = law.ppf(np.linspace(0.01, 0.99, 11))
    expected = np.log1p(-mass) + law.logpdf(z) - math.log(2) * (continuous_case.two_sided and "low" in values)
    np.testing.assert_allclose(unit.log_prob(torch.from_numpy(z)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("index", UNITS)
def test_mean_and_variance(proper_case, index, integrate):
    unit, values = proper_case.unit(index)
    mean = expectation(proper_case, unit, values, integrate, lambda z: z)
    variance = expectation(proper_case, unit, values, integrate, lambda z: (z - mean).square())
    assert unit.mean.item() == pytest.approx(mean, abs=1e-8)
    assert unit.variance.item() == pytest.approx(variance, rel=1e-7, abs=1e-9)
    assert unit.stddev.item() == pytest.approx(math.sqrt(variance), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("index", UNITS)
def test_entropy(proper_case, index, integrate):
    unit, values = proper_case.unit(index)
    entropy = expectation(
        proper_case, unit, values, integrate, lambda z: -unit.log_prob(z).nan_to_num(0, 0, 0)
    )
    assert unit.entropy().item() == pytest.approx(entropy, abs=1e-7)


def test_entropy_of_an_event_is_the_sum_over_its_units(case):
    if case.proper:
        units = torch.stack([case.unit(index)[0].entropy() for index in UNITS])
        whole = case.build().to_event(1 - case.event_dim).entropy()
        torch.testing.assert_close(whole, units.sum())


def test_modes_maximise_the_density(reparameterised_case):
    for index in UNITS:
        unit, values = reparameterised_case.unit(index)
        if reparameterised_case.law is None or reparameterised_case.atoms(**values):
            continue
        mode = unit.mode
        assert unit.log_prob(mode) > unit.log_prob(mode * 1.001)
        assert unit.log_prob(mode) > unit.log_prob(mode * 0.999)


@pytest.mark.parametrize("index", UNITS)
def test_draws_follow_the_law(proper_case, index):
    """Atoms by a binomial test, the rest by Kolmogorov and Smirnov's."""
    unit, values = proper_case.unit(index)
    draws = unit.sample((4000,))
    for place, mass in proper_case.atoms(**values):
        hits = int(torch.isclose(draws, torch.tensor(place, dtype=draws.dtype)).sum())
        assert stats.binomtest(hits, len(draws), mass).pvalue > 1e-3 if mass < 1 else hits == len(draws)
    rest = draws[draws != 0]
    if proper_case.law is None or not len(rest):
        return
    if "low" in values:  # SciPy's log-uniform has one side; draws must be as often on either
        signs = int((rest > 0).sum())
        two_sided = proper_case.two_sided
        assert stats.binomtest(signs, len(rest)).pvalue > 1e-3 if two_sided else signs == len(rest)
        rest = rest.abs()
    assert stats.kstest(rest.numpy(), proper_case.law(**values).cdf).pvalue > 1e-3


def test_draws_of_an_expansion_are_independent(proper_case):
    draws = proper_case.build().expand((2000, *proper_case.build().batch_shape)).sample()
    spread = draws.std(0)
    assert ((spread > 0) | (proper_case.build().variance == 0)).all()


def test_draws_are_differentiable(reparameterised_case):
    """The gradient of a draw in every parameter, against finite differences with the same noise."""
    params = {name: value.requires_grad_() for name, value in reparameterised_case.tensors().items()}
    smooth = {name: value for name, value in params.items() if name != "drop_prob"}
    fixed = {name: value.detach() for name, value in params.items() if name not in smooth}

    def draw(*values):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            named = dict(zip(smooth, values, strict=True))
            return reparameterised_case.make(
                **named, **fixed, **reparameterised_case.options, validate_args=False
            ).rsample((4,))

    assert reparameterised_case.build().has_rsample
    assert torch.autograd.gradcheck(draw, tuple(smooth.values()))


def test_densities_are_differentiable(continuous_case):
    """The gradient of the log density in the value and every parameter, away from the atoms."""
    value = continuous_case.build().sample().abs().clamp(0.2, 2.0).requires_grad_()
    params = {name: value.requires_grad_() for name, value in continuous_case.tensors().items()}
    on = [
        index
        for index in UNITS
        if not any(
            m == 1
            for _, m in continuous_case.atoms(
                **{name: values[index] for name, values in continuous_case.params.items()}
            )
        )
    ]
    inside = continuous_case.build().support.check(value) & (value != 0)
    on = [index for index in on if bool(inside if inside.dim() == 0 else inside[index])]
    assert on

    def score(value, *values):
        named = {name: v[on] for name, v in zip(params, values, strict=True)}
        d = continuous_case.make(**named, **continuous_case.options, validate_args=False)
        return d.log_prob(value[on])

    assert torch.autograd.gradcheck(score, (value, *params.values()))


def test_bernoulli_draws_do_not_pretend_a_gradient_in_the_drop_probability():
    from ib_pyro.distributions import MultiplicativeBernoulli

    fixed = MultiplicativeBernoulli(torch.ones(3), 0.5)
    learned = MultiplicativeBernoulli(torch.ones(3), torch.tensor(0.5, requires_grad=True))
    assert fixed.has_rsample
    assert not learned.has_rsample
    assert not learned.sample().requires_grad

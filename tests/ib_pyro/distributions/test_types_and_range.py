"""Results have the type that parameters and value promote to, and are right wherever that type can hold them."""

import math

import pytest
import torch
from torch.distributions import LogNormal, Normal, kl_divergence

from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)

HALF, SINGLE, DOUBLE = torch.float16, torch.float32, torch.float64
TYPES = [torch.bfloat16, HALF, SINGLE, DOUBLE]
# Relative error of a few roundings of the result.
TOLERANCE = {torch.bfloat16: 2e-2, HALF: 3e-3, SINGLE: 1e-5, DOUBLE: 1e-12}


def value_of(case, dtype):
    d = case.build(dtype)
    return d.sample() if case.proper else torch.full((3,), 0.7, dtype=dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_everything_has_the_type_of_the_parameters(case, dtype):
    d, value = case.build(dtype), value_of(case, dtype)
    assert d.log_prob(value).dtype == dtype
    if case.proper:
        assert {d.sample().dtype, d.mean.dtype, d.variance.dtype, d.stddev.dtype, d.entropy().dtype} == {
            dtype
        }
    if d.has_rsample:
        assert d.rsample().dtype == dtype


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value_type", TYPES)
def test_the_density_has_the_type_of_parameters_and_value(case, dtype, value_type):
    d = case.build(dtype)
    value = value_of(case, dtype).to(value_type)
    density = d.log_prob(value)
    assert density.dtype == torch.promote_types(dtype, value_type)
    assert density.isfinite().all()


@pytest.mark.parametrize("dtype", TYPES)
def test_a_density_is_that_of_the_same_numbers_in_float64(case, dtype):
    """Parameters and value are rounded once; nothing else may be lost but the rounding of the result."""
    d, value = case.build(dtype), value_of(case, dtype)
    exact = {name: v.double() for name, v in case.tensors(dtype).items()}
    expected = case.make(**exact, **case.options, validate_args=False)
    if case.cls is MultiplicativeBernoulli:
        expected_density = expected.log_prob(expected.support.kept * (value != 0))
    else:
        expected_density = expected.log_prob(value.double())
    error = TOLERANCE[dtype]
    torch.testing.assert_close(d.log_prob(value).double(), expected_density, rtol=error, atol=error)
    if case.proper:
        for name in ("mean", "variance", "stddev"):
            torch.testing.assert_close(
                getattr(d, name).double(), getattr(expected, name), rtol=error, atol=1e-7
            )
        torch.testing.assert_close(d.entropy().double(), expected.entropy(), rtol=error, atol=error)


@pytest.mark.parametrize("default", [SINGLE, DOUBLE])
def test_numbers_take_the_default_type_and_that_of_tensors_beside_them(default):
    torch.set_default_dtype(default)
    for make in (MultiplicativeNormal, MultiplicativeLogNormal, MultiplicativeBernoulli, FactorizedLogNormal):
        assert make(0.5, 0.25).log_prob(torch.tensor(0.0, dtype=HALF) + 0.5 / 0.75).dtype == default
        for dtype in TYPES:
            d = make(torch.full((2,), 0.5, dtype=dtype), 0.25)
            assert d.log_prob(torch.full((2,), 0.5 / 0.75, dtype=dtype)).dtype == dtype
            assert d.rsample().dtype == dtype


def test_mixed_parameters_promote():
    low, high = torch.full((3,), 0.1, dtype=HALF), torch.full((3,), 10.0, dtype=DOUBLE)
    d = ZeroInflatedLogUniform(0.25, low, high)
    assert {d.gate.dtype, d.low.dtype, d.high.dtype, d.sample().dtype, d.mean.dtype} == {DOUBLE}
    for make in (MultiplicativeNormal, MultiplicativeLogNormal, MultiplicativeBernoulli, FactorizedLogNormal):
        d = make(torch.ones(3), torch.full((3,), 0.5, dtype=DOUBLE))
        assert {d.rsample().dtype, d.mean.dtype, d.variance.dtype, d.entropy().dtype} == {DOUBLE}


def test_integers_beside_a_number_do_not_round_it():
    """`broadcast_all` would turn a drop probability of 0.5 into 0."""
    d = MultiplicativeBernoulli(torch.tensor([1, 2]), 0.5)
    assert d.drop_prob.tolist() == [0.5, 0.5]
    assert d.mean.dtype == torch.get_default_dtype()
    assert MultiplicativeLogNormal(torch.tensor([1, 2]), 0.5).alpha.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("dtype", TYPES)
def test_integer_values_are_scored_in_the_type_of_the_parameters(dtype):
    d = MultiplicativeLogNormal(torch.full((2,), 2.0, dtype=dtype), 0.5)
    value = torch.tensor([1, 3])
    torch.testing.assert_close(d.log_prob(value), d.log_prob(value.to(dtype)), rtol=0, atol=0)


EXTREMES = [
    (SINGLE, 1e-23, 0.1),
    (SINGLE, -1e20, 0.1),
    (SINGLE, 1e-38, 1e-3),
    (SINGLE, 1e38, 0.5),
    (HALF, 1e-3, 0.1),
    (HALF, 300.0, 0.1),
    (HALF, -6e-7, 0.01),
    (HALF, 3e4, 0.01),
    (torch.bfloat16, 1e-23, 0.1),
]


@pytest.mark.parametrize(("dtype", "f", "alpha"), EXTREMES)
@pytest.mark.parametrize("shift", [0.0, 0.5, -1.5])
def test_gaussian_noise_at_the_ends_of_the_range(dtype, f, alpha, shift):
    f, alpha = torch.tensor(f, dtype=dtype), torch.tensor(alpha, dtype=dtype)
    z = f * (1 + shift * alpha.sqrt())
    d, exact = MultiplicativeNormal(f, alpha), MultiplicativeNormal(f.double(), alpha.double())
    error = TOLERANCE[dtype]
    law = Normal(f.double(), f.double().abs() * alpha.double().sqrt())
    torch.testing.assert_close(d.log_prob(z).double(), law.log_prob(z.double()), rtol=error, atol=error)
    torch.testing.assert_close(exact.log_prob(z.double()), law.log_prob(z.double()), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(d.entropy().double(), law.entropy(), rtol=error, atol=error)
    torch.testing.assert_close(d.stddev.double(), law.stddev, rtol=error, atol=float(f.abs()) * error)
    torch.testing.assert_close(d.variance, law.variance.to(dtype), rtol=error, atol=0)
    torch.testing.assert_close(d.cdf(z).double(), law.cdf(z.double()), rtol=error, atol=error)


@pytest.mark.parametrize(("dtype", "f", "alpha"), EXTREMES)
@pytest.mark.parametrize("relative", [0.3, 1.0, 4.0])
def test_its_rate_under_a_normal_prior_of_about_its_size(dtype, f, alpha, relative):
    f, alpha = torch.tensor(f, dtype=dtype), torch.tensor(alpha, dtype=dtype)
    prior_scale = (f.abs() * relative).clamp(max=torch.finfo(dtype).max / 2)
    prior = Normal(0.5 * f, prior_scale)
    rate = kl_divergence(MultiplicativeNormal(f, alpha), prior)
    law = Normal(f.double(), f.double().abs() * alpha.double().sqrt())
    expected = kl_divergence(law, Normal(prior.loc.double(), prior.scale.double()))
    assert rate.dtype == dtype
    torch.testing.assert_close(rate.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize(("dtype", "f"), [(SINGLE, 1e-23), (HALF, 1e-3), (HALF, 300.0), (SINGLE, 1e20)])
def test_gradients_at_the_ends_of_the_range_are_finite(dtype, f):
    f = torch.tensor(f, dtype=dtype, requires_grad=True)
    alpha = torch.tensor(0.1, dtype=dtype, requires_grad=True)
    d = MultiplicativeNormal(f, alpha)
    for quantity in (d.entropy(), d.log_prob(f.detach()), kl_divergence(d, Normal(0.0, f.detach()))):
        assert all(
            g.isfinite().all() for g in torch.autograd.grad(quantity.float(), (f, alpha), retain_graph=True)
        )


@pytest.mark.parametrize(("dtype", "f"), [(SINGLE, 1e-30), (SINGLE, 1e30), (HALF, 1e-5), (HALF, 6e4)])
@pytest.mark.parametrize("unit_mean", [False, True])
@pytest.mark.parametrize("from_log", [False, True])
def test_log_normal_noise_at_the_ends_of_the_range(dtype, f, unit_mean, from_log):
    alpha = torch.tensor(0.25, dtype=dtype)
    if from_log:
        log_f = torch.tensor(math.log(f), dtype=dtype)
        d = MultiplicativeLogNormal.from_log_activation(log_f, alpha, unit_mean=unit_mean)
        loc = log_f.double()
    else:
        d = MultiplicativeLogNormal(torch.tensor(f, dtype=dtype), alpha, unit_mean=unit_mean)
        loc = torch.tensor(f, dtype=dtype).double().log()
    law = LogNormal(loc - 0.03125 * unit_mean, alpha.double())
    z, error = d.rsample((50,)).clamp(max=torch.finfo(dtype).max), TOLERANCE[dtype]
    assert (z > 0).all()
    torch.testing.assert_close(d.log_prob(z).double(), law.log_prob(z.double()), rtol=error, atol=error)
    torch.testing.assert_close(d.entropy().double(), law.entropy(), rtol=error, atol=error)
    torch.testing.assert_close(d.mean, law.mean.to(dtype), rtol=2 * error, atol=0)
    torch.testing.assert_close(d.stddev, law.stddev.to(dtype), rtol=2 * error, atol=0)
    torch.testing.assert_close(d.variance, law.variance.to(dtype), rtol=3 * error, atol=0)


def test_float16_draws_of_a_small_activation_do_not_fall_onto_the_atom():
    f = torch.full((2000,), 6e-8, dtype=HALF)
    d = MultiplicativeLogNormal(f, 0.7)
    assert d.log_prob(d.rsample()).isfinite().all()


@pytest.mark.parametrize("dtype", TYPES)
def test_draws_have_the_noise_for_a_slope_on_the_atom_too(dtype):
    f = torch.tensor([0.0, 2.0, 0.0, 0.5], dtype=dtype, requires_grad=True)
    torch.manual_seed(0)
    z = MultiplicativeLogNormal(f, torch.tensor(0.5, dtype=dtype)).rsample()
    (slope,) = torch.autograd.grad(z.sum(), f)
    torch.manual_seed(0)
    eps = MultiplicativeLogNormal(torch.ones(4, dtype=dtype), torch.tensor(0.5, dtype=dtype)).rsample()
    torch.testing.assert_close(slope, eps)
    assert (z[::2] == 0).all()


def test_float16_draws_from_log_f_are_not_lifted_to_the_normal_numbers():
    d = MultiplicativeLogNormal.from_log_activation(torch.full((4000,), math.log(1e-6), dtype=HALF), 0.1)
    assert d.rsample().float().mean().item() == pytest.approx(1e-6, rel=0.05)


def test_a_prior_scale_whose_square_vanishes():
    for dtype, scale in ((SINGLE, 1e-25), (HALF, 1e-4), (SINGLE, 1e25)):
        loc, alpha = torch.tensor(0.0, dtype=dtype), torch.tensor(scale, dtype=dtype)
        rate = kl_divergence(FactorizedLogNormal(loc, 2 * alpha), FactorizedLogNormal(alpha, alpha))
        assert rate.item() == pytest.approx(0.5 * (4 + 1 - 1) - math.log(2), rel=TOLERANCE[dtype])


def test_a_log_normal_spread_of_any_scale():
    for loc, scale in ((0.0, 1e-23), (0.0, 1e-6), (0.0, 0.5), (-150.0, 12.0)):
        d = FactorizedLogNormal(torch.tensor(loc), torch.tensor(scale))
        loc, scale = float(d.loc), float(d.scale)
        expected = math.exp(loc + scale**2) * math.sqrt(-math.expm1(-(scale**2)))
        assert d.stddev.item() == pytest.approx(expected or scale, rel=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, HALF])
def test_half_draws_of_bernoulli_noise_are_on_its_atoms(dtype):
    f = torch.linspace(-3, 3, 301).to(dtype)
    d = MultiplicativeBernoulli(f, torch.full_like(f, 0.3), validate_args=False)
    assert d.log_prob(d.rsample((20,))).isfinite().all()
    assert (d.log_prob(f * 1.1)[f.abs() > 0.01] == -math.inf).all()


def test_bernoulli_noise_of_a_large_activation():
    f = torch.tensor(1e20)
    d = MultiplicativeBernoulli(f, 1e-10)
    assert d.variance.item() == pytest.approx(1e30, rel=1e-5)
    large = MultiplicativeBernoulli(torch.tensor(300.0, dtype=HALF), 0.1)
    assert large.variance.item() == pytest.approx(1e4, rel=2e-3)
    small = MultiplicativeBernoulli(torch.full((100,), 3e-7, dtype=HALF), 0.3, validate_args=False)
    assert small.log_prob(small.activation.float() / 0.7).isfinite().all()


def test_a_variance_that_the_type_holds_though_the_square_of_f_is_beyond_it():
    assert MultiplicativeNormal(torch.tensor(1e20), 1e-10).variance.item() == pytest.approx(1e30, rel=1e-5)


def test_the_spread_of_a_small_scale_has_a_gradient():
    scale = torch.tensor(1e-23, requires_grad=True)
    (gradient,) = torch.autograd.grad(FactorizedLogNormal(0.0, scale).stddev, scale)
    assert gradient.item() == pytest.approx(1.0)


PRIOR_OPTIONS = [{}, {"log_c": 0.3}, {"two_sided": True}]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("prior_type", TYPES)
@pytest.mark.parametrize("options", PRIOR_OPTIONS)
def test_rates_have_the_type_of_both_sides(dtype, prior_type, options):
    f, alpha = torch.tensor([0.0, 0.5, 4.0], dtype=dtype), torch.full((3,), 0.3, dtype=dtype)
    prior = ZeroInflatedLogUniform(torch.full((3,), 0.25, dtype=prior_type), **options)
    exact = ZeroInflatedLogUniform(torch.full((3,), 0.25, dtype=DOUBLE), **options)
    families = (
        [MultiplicativeNormal] if prior.two_sided else [MultiplicativeLogNormal, MultiplicativeBernoulli]
    )
    for family in families:
        rate = kl_divergence(family(f, alpha), prior)
        expected = kl_divergence(family(f.double(), alpha.double()), exact)
        assert rate.dtype == torch.promote_types(dtype, prior_type)
        # The prior's constants are in float32 at least.
        error = max(TOLERANCE[rate.dtype], 1e-6 if prior_type != DOUBLE else 0.0)
        torch.testing.assert_close(rate.double(), expected, rtol=error, atol=error)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("prior_type", TYPES)
def test_log_normal_rates_have_the_type_of_both_sides(dtype, prior_type):
    f, alpha = torch.tensor([0.01, 0.5, 40.0], dtype=dtype), torch.full((3,), 0.3, dtype=dtype)
    loc, scale = torch.full((3,), 0.1, dtype=prior_type), torch.full((3,), 0.7, dtype=prior_type)
    p, exact = MultiplicativeLogNormal(f, alpha), MultiplicativeLogNormal(f.double(), alpha.double())
    q, exact_q = LogNormal(loc, scale), LogNormal(loc.double(), scale.double())
    rate, expected = kl_divergence(p, q), kl_divergence(exact, exact_q)
    assert rate.dtype == torch.promote_types(dtype, prior_type)
    torch.testing.assert_close(
        rate.double(), expected, rtol=2 * TOLERANCE[rate.dtype], atol=TOLERANCE[rate.dtype]
    )
    both = kl_divergence(p, MultiplicativeLogNormal(scale, alpha.to(prior_type)))
    assert both.dtype == torch.promote_types(dtype, prior_type)


def test_a_bound_that_the_type_cannot_hold_is_refused():
    for gate, bounds in (
        (torch.tensor(0.5, dtype=HALF), {"low": 1e-3, "high": 1e5}),
        (torch.tensor(0.5, dtype=HALF), {"low": 1e-9, "high": 1e2}),
        (0.5, {"low": 1e-50, "high": 1.0}),
        (0.5, {"high": 1e40}),
    ):
        with pytest.raises(ValueError, match=r"(low|high)=1.* in torch.float.*wider type"):
            ZeroInflatedLogUniform(gate, **bounds)
    with pytest.raises(ValueError, match="low must be below high"):
        ZeroInflatedLogUniform(0.5, 1.0, 1.0 + 1e-10)


def test_near_and_far_bounds_keep_their_digits():
    for low, high in ((1.0, 1.001), (1e-30, 1e30), (2.0, 3.0)):
        d = ZeroInflatedLogUniform(torch.tensor(0.25), low, high)
        exact = ZeroInflatedLogUniform(torch.tensor(0.25).double(), d.low.double(), d.high.double())
        for name in ("mean", "stddev"):
            assert getattr(d, name).item() == pytest.approx(getattr(exact, name).item(), rel=1e-5)
        assert d.log_c.item() == pytest.approx(exact.log_c.item(), rel=1e-5)
    near = ZeroInflatedLogUniform(0.0, 3.0, 3.0 + 2.0**-20)
    assert near.log_c.item() == pytest.approx(-math.log(math.log1p(2.0**-20 / 3)), rel=1e-6)
    narrow = ZeroInflatedLogUniform(0.0, 1.0, 1.001)
    assert narrow.stddev.item() == pytest.approx(1e-3 / math.sqrt(12), rel=1e-2)


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda a, b: MultiplicativeLogNormal(a, b), r"activation \(2,\), alpha \(3,\)"),
        (lambda a, b: MultiplicativeNormal(a, b), r"activation \(2,\), alpha \(3,\)"),
        (lambda a, b: MultiplicativeBernoulli(a, b), r"activation \(2,\), drop_prob \(3,\)"),
        (lambda a, b: FactorizedLogNormal(a, b), r"loc \(2,\), scale \(3,\)"),
        (lambda a, b: ZeroInflatedLogUniform(a, 0.1 * b, 9.0), r"gate \(2,\), low \(3,\)"),
    ],
    ids=["log-normal", "normal", "bernoulli", "factorized", "log-uniform"],
)
def test_parameters_that_do_not_broadcast_are_named(build, names):
    with pytest.raises(ValueError, match=f"parameters of shapes that do not broadcast: {names}"):
        build(torch.full((2,), 0.5), torch.full((3,), 0.5))

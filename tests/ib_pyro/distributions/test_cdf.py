"""Distribution functions and quantiles against quadrature, SciPy, draws and each other."""

import math

import pyro.distributions as dist
import pytest
import torch
from scipy import stats

from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)

UNITS = [0, 1, 2]
GRID = torch.linspace(-4, 6, 401, dtype=torch.float64)


def expected_cdf(case, values, z):
    """From the atoms and SciPy's law of the continuous part."""
    atoms = case.atoms(**values)
    mass = sum((z >= place).double() * m for place, m in atoms)
    rest = 1 - sum(m for _, m in atoms)
    if rest > 1e-12 and case.law is not None:
        law = case.law(**values)
        part = torch.from_numpy(law.cdf(z.numpy()))
        if case.two_sided and "low" in values:
            upper = torch.from_numpy(law.cdf(z.abs().numpy()))
            part = torch.where(z >= 0, 0.5 + 0.5 * upper, 0.5 - 0.5 * upper)
        mass = mass + rest * part
    return torch.as_tensor(mass, dtype=torch.float64).expand(z.shape)


@pytest.mark.parametrize("index", UNITS)
def test_the_cdf_is_that_of_the_atoms_and_the_continuous_part(proper_case, index):
    unit, values = proper_case.unit(index)
    unit = unit if unit.event_shape == () else unit.units
    places = torch.tensor([place for place, _ in proper_case.atoms(**values)], dtype=torch.float64)
    z = torch.cat([GRID, places])
    torch.testing.assert_close(unit.cdf(z), expected_cdf(proper_case, values, z), rtol=1e-9, atol=1e-12)
    assert unit.cdf(torch.tensor(math.nan, dtype=torch.float64)).isnan()


@pytest.mark.parametrize("index", UNITS)
def test_its_increments_are_the_integral_of_the_density(continuous_case, index, integrate):
    unit, values = continuous_case.unit(index)
    if sum(mass for _, mass in continuous_case.atoms(**values)) == 1:
        return
    low, high = continuous_case.log_bounds(**values)
    mid = 0.5 * (max(low, -3.0) + min(high, 1.0))
    mass = integrate(lambda z: unit.log_prob(z).exp(), max(low, -3.0), mid)
    ends = torch.tensor([max(low, -3.0), mid], dtype=torch.float64).exp()
    assert unit.cdf(ends).diff().item() == pytest.approx(mass, abs=1e-7)


@pytest.mark.parametrize("index", UNITS)
def test_quantiles_undo_the_cdf(proper_case, index):
    """icdf(cdf(z)) = z away from atoms, and icdf(u) is the least z whose cdf reaches u."""
    unit, values = proper_case.unit(index)
    if proper_case.cls is MultiplicativeBernoulli:
        with pytest.raises(NotImplementedError):
            unit.icdf(torch.tensor(0.5, dtype=torch.float64))
        return
    z = unit.sample((500,))
    away = z != 0
    torch.testing.assert_close(unit.icdf(unit.cdf(z))[away], z[away], rtol=1e-7, atol=1e-9)
    u = torch.linspace(0.001, 0.999, 500, dtype=torch.float64)
    quantile = unit.icdf(u)
    assert (quantile.diff() >= 0).all()
    assert (unit.cdf(quantile) >= u - 1e-12).all()
    below = quantile - 1e-6 * quantile.abs().clamp_min(1e-6)
    assert (unit.cdf(below) <= u + 1e-12).all()
    assert unit.icdf(torch.tensor([-0.1, 1.1, math.nan], dtype=torch.float64)).isnan().all()


@pytest.mark.parametrize("index", UNITS)
def test_quantiles_of_a_uniform_follow_the_law(proper_case, index):
    unit, values = proper_case.unit(index)
    if proper_case.cls is MultiplicativeBernoulli:
        return
    z = unit.icdf(torch.rand(4000, dtype=torch.float64))
    atoms = sum(mass for _, mass in proper_case.atoms(**values))
    assert stats.binomtest(int((z == 0).sum()), 4000, min(atoms, 1.0)).pvalue > 1e-3
    assert stats.ks_2samp(z.numpy(), unit.sample((4000,)).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types(proper_case, dtype):
    d = proper_case.build(dtype)
    if d.event_shape:
        return
    z = d.sample()
    assert d.cdf(z).dtype == dtype
    if proper_case.cls is not MultiplicativeBernoulli:
        assert d.icdf(torch.full((3,), 0.5, dtype=dtype)).dtype == dtype
    torch.testing.assert_close(
        d.cdf(z).double(), d.cdf(z.double()), rtol=1e-2 if dtype != torch.float32 else 1e-5, atol=1e-6
    )


def test_the_cdf_is_differentiable_off_the_atoms(continuous_case):
    d = continuous_case.build()
    if d.event_shape:
        return
    z = d.sample().requires_grad_()
    (gradient,) = torch.autograd.grad(d.cdf(z).sum(), z)
    rest = d.log_prob(z.detach()).exp()
    on = (z != 0) & (d.variance > 0)
    torch.testing.assert_close(gradient[on], rest[on], rtol=1e-6, atol=1e-9)
    assert gradient.isfinite().all()


def test_the_ends_of_the_quantiles():
    bounds = torch.tensor([0.0, 1.0])
    assert ZeroInflatedLogUniform(0.0, 0.5, 2.0).icdf(bounds).tolist() == [0.5, 2.0]
    assert ZeroInflatedLogUniform(0.3, 0.5, 2.0).icdf(bounds).tolist() == [0.0, 2.0]
    assert ZeroInflatedLogUniform(1.0, 0.5, 2.0).icdf(bounds).tolist() == [0.0, 0.0]
    assert ZeroInflatedLogUniform(0.3, 0.5, 2.0, two_sided=True).icdf(bounds).tolist() == [-2.0, 2.0]
    assert ZeroInflatedLogUniform(0.0, 0.5, 2.0, two_sided=True).icdf(torch.tensor(0.5)).item() == -0.5


@pytest.mark.parametrize("ask", ["cdf", "icdf"])
def test_what_has_none_says_so(ask):
    with pytest.raises(NotImplementedError, match=rf"event of shape \(3,\).*units.{ask}"):
        getattr(FactorizedLogNormal(torch.zeros(3), 1.0), ask)(torch.full((3,), 0.5))
    with pytest.raises(NotImplementedError, match=r"improper.*FactorizedLogNormal"):
        getattr(ZeroInflatedLogUniform(0.5), ask)(torch.tensor(0.5))
    with pytest.raises(NotImplementedError):
        getattr(MultiplicativeNormal(torch.ones(3), 0.1).to_event(1), ask)(torch.ones(3))


def test_one_unit_without_an_event_has_both():
    d, law = FactorizedLogNormal(torch.tensor(0.3), 0.7), dist.LogNormal(torch.tensor(0.3), 0.7)
    z = torch.tensor([0.2, 1.0, 5.0])
    torch.testing.assert_close(d.cdf(z), law.cdf(z))
    torch.testing.assert_close(d.icdf(d.cdf(z)), z)

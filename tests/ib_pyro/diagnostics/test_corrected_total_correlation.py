"""The reported total correlation, its null and what is left when the null is taken off."""

import math

import pytest
import torch

from ib_pyro.diagnostics.corrected_total_correlation import total_correlation
from ib_pyro.information import gaussian_total_correlation_null


def test_independent_units_are_at_their_null():
    torch.manual_seed(0)
    reports = [total_correlation(torch.randn(200, 40)) for _ in range(40)]
    corrected = torch.tensor([report.corrected for report in reports])
    assert abs(corrected.mean()) < 4 * corrected.std() / 40**0.5
    assert reports[0].null == gaussian_total_correlation_null(200, 40)
    assert reports[0].estimate > 3 * corrected.std()


def test_correlated_units_are_above_it_by_the_truth():
    torch.manual_seed(0)
    rho, n = 0.6, 20_000
    z = torch.randn(n, 2, 2)
    z[:, 1] = rho * z[:, 0] + (1 - rho**2) ** 0.5 * z[:, 1]
    report = total_correlation(z)
    assert report.corrected == pytest.approx(-math.log(1 - rho**2), abs=0.02)
    assert report.corrected == report.estimate - report.null
    assert report.per_dimension == report.estimate / 4
    assert (report.dimensions_used, report.num_samples) == (4, n)


def test_multiplicative_noise_is_measured_on_the_logarithm():
    torch.manual_seed(0)
    base = torch.randn(5000, 1, dtype=torch.float64)
    log_z = base + torch.randn(5000, 2, dtype=torch.float64)
    assert total_correlation(log_z).corrected == pytest.approx(-0.5 * math.log(1 - 0.25), abs=0.02)
    assert total_correlation(log_z.exp().log()).estimate == pytest.approx(total_correlation(log_z).estimate)


def test_constant_units_are_left_out_and_counted():
    torch.manual_seed(0)
    z = torch.randn(100, 3)
    dead = torch.cat([z, torch.full((100, 2), 0.1)], 1)
    assert total_correlation(dead) == total_correlation(z)
    assert total_correlation(dead).dimensions_used == 3
    nothing = total_correlation(torch.ones(10, 4))
    assert (nothing.estimate, nothing.null, nothing.per_dimension, nothing.dimensions_used) == (0, 0, 0, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int64])
def test_takes_any_real_dtype_and_gives_no_gradient(dtype):
    torch.manual_seed(0)
    z = (3 * torch.randn(500, 3, dtype=torch.float64)).round()
    assert total_correlation(z.to(dtype)) == total_correlation(z)
    assert isinstance(total_correlation(z.requires_grad_()).estimate, float)


def test_bad_input_names_the_way_out():
    with pytest.raises(ValueError, match="method='ksg' is unknown; choose 'gaussian'"):
        total_correlation(torch.randn(9, 2), method="ksg")
    with pytest.raises(ValueError, match="10 units that vary but 10 samples"):
        total_correlation(torch.randn(10, 10))
    with pytest.raises(ValueError, match="1 of 20 values that are not finite.*exactly zero"):
        total_correlation(torch.cat([torch.zeros(1, 1), torch.ones(19, 1)]).log())
    with pytest.raises(ValueError, match=r"shape \(7,\)"):
        total_correlation(torch.randn(7))
    twice = torch.randn(50, 2)
    with pytest.raises(ValueError, match="4 units of z are collinear"):
        total_correlation(torch.cat([twice, twice], 1))

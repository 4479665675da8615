"""The Gaussian total correlation is the log-determinant's, and its null is what chance gives."""

import pytest
import torch

from ib_pyro.information import gaussian_total_correlation, gaussian_total_correlation_null

CORRELATION = torch.tensor([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]], dtype=torch.float64)


def sample_with_correlation(correlation, n=50):
    """Samples whose empirical correlation matrix is exactly the given one."""
    z = torch.randn(n, correlation.shape[0], dtype=torch.float64)
    q, _ = torch.linalg.qr(z - z.mean(0))
    return q @ torch.linalg.cholesky(correlation).mT


def expected(correlation):
    return -0.5 * torch.logdet(correlation)


def test_equals_minus_half_the_log_determinant():
    torch.manual_seed(0)
    z = sample_with_correlation(CORRELATION)
    torch.testing.assert_close(gaussian_total_correlation(z), expected(CORRELATION))


def test_does_not_depend_on_scale_shift_or_event_shape():
    torch.manual_seed(0)
    z = sample_with_correlation(CORRELATION)
    moved = z * torch.tensor([1e-3, 5.0, -2.0], dtype=torch.float64) + torch.tensor([3.0, -1.0, 0.0])
    torch.testing.assert_close(gaussian_total_correlation(moved), expected(CORRELATION))
    torch.testing.assert_close(gaussian_total_correlation(z.reshape(50, 3, 1)), expected(CORRELATION))


@pytest.mark.parametrize("shrinkage", [0.1, 0.7, 1.0])
def test_shrinkage_mixes_in_the_identity(shrinkage):
    torch.manual_seed(0)
    z = sample_with_correlation(CORRELATION)
    shrunk = (1 - shrinkage) * CORRELATION + shrinkage * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(gaussian_total_correlation(z, shrinkage=shrinkage), expected(shrunk))


@pytest.mark.parametrize("shrinkage", [0.0, 0.2])
def test_gradient_is_that_of_finite_differences(shrinkage):
    torch.manual_seed(0)
    z = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: gaussian_total_correlation(z, shrinkage=shrinkage), (z,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, -1e4])
def test_dead_unit_changes_neither_value_nor_gradient(dtype, constant):
    torch.manual_seed(0)
    z = torch.randn(300, 3, dtype=dtype)
    dead = torch.cat([z, torch.full((300, 1), constant, dtype=dtype)], 1).requires_grad_()
    total = gaussian_total_correlation(dead)
    total.backward()
    torch.testing.assert_close(total, gaussian_total_correlation(z))
    assert torch.isfinite(dead.grad).all()
    assert (dead.grad[:, 3] == 0).all()


def test_maps_over_a_leading_dimension():
    torch.manual_seed(0)
    z = torch.randn(4, 20, 3, dtype=torch.float64)
    one_by_one = torch.stack([gaussian_total_correlation(each) for each in z])
    torch.testing.assert_close(torch.vmap(gaussian_total_correlation)(z), one_by_one)
    gradient = torch.vmap(torch.func.grad(gaussian_total_correlation))(z)
    torch.testing.assert_close(gradient[2], torch.func.grad(gaussian_total_correlation)(z[2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_collinear_units_are_infinitely_dependent(dtype):
    torch.manual_seed(0)
    z = torch.randn(500, 20, dtype=dtype)
    z[:, 19] = 3 * z[:, 4] - 2 * z[:, 11] + 1
    assert gaussian_total_correlation(z) == torch.inf


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_do_not_pass_unseen(value):
    torch.manual_seed(0)
    z = torch.randn(50, 3)
    z[7, 1] = value
    assert not torch.isfinite(gaussian_total_correlation(z))


def test_bad_input_names_the_way_out():
    with pytest.raises(ValueError, match="shrinkage > 0"):
        gaussian_total_correlation(torch.randn(5, 5))
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        gaussian_total_correlation(torch.randn(5))
    with pytest.raises(ValueError, match=r"\[0, 1\]; got 1.5"):
        gaussian_total_correlation(torch.randn(5, 2), shrinkage=1.5)
    assert torch.isfinite(gaussian_total_correlation(torch.randn(5, 9), shrinkage=0.1))


@pytest.mark.parametrize(("n", "d"), [(12, 1), (12, 8), (40, 20)])
def test_null_is_the_mean_over_independent_gaussians(n, d):
    torch.manual_seed(0)
    total = torch.vmap(gaussian_total_correlation)(torch.randn(4000, n, d, dtype=torch.float64))
    error = total.std() / len(total) ** 0.5
    assert abs(total.mean() - gaussian_total_correlation_null(n, d)) <= 4 * error + 1e-12


def test_null_at_the_size_of_a_convolutional_layer():
    assert gaussian_total_correlation_null(10_000, 3_072) == pytest.approx(264.6, abs=0.05)
    assert gaussian_total_correlation_null(10**7, 100) == pytest.approx(100 * 99 / 4e7, rel=1e-4)
    assert gaussian_total_correlation_null(5, 0) == 0
    with pytest.raises(ValueError, match="dimension 5, num_samples 5"):
        gaussian_total_correlation_null(5, 5)


def test_estimate_less_its_null_recovers_the_truth():
    torch.manual_seed(0)
    n, d = 60, 3
    z = torch.randn(4000, n, d, dtype=torch.float64)
    total = torch.vmap(gaussian_total_correlation)(z @ torch.linalg.cholesky(CORRELATION).mT)
    corrected = total - gaussian_total_correlation_null(n, d)
    assert abs(corrected.mean() - expected(CORRELATION)) < 4 * corrected.std() / 4000**0.5

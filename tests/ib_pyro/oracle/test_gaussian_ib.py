"""The Gaussian optimum is attained by its own projection, is nowhere undercut, and moves through phases."""

import math

import pytest
import torch

from ib_pyro.oracle import gaussian_ib

SQUARED = torch.tensor([0.81, 0.36, 0.04], dtype=torch.float64)


def problem(seed=0, dim_x=4, dim_y=3):
    """Covariances of x and y with the canonical correlations 0.9, 0.6 and 0.2, in random coordinates."""
    generator = torch.Generator().manual_seed(seed)
    mix_x = torch.randn(dim_x, dim_x, generator=generator, dtype=torch.float64)
    mix_y = torch.randn(dim_y, dim_y, generator=generator, dtype=torch.float64)
    cross = torch.zeros(dim_x, dim_y, dtype=torch.float64)
    cross.diagonal()[:] = SQUARED[: min(dim_x, dim_y)].sqrt()
    return mix_x @ mix_x.mT, mix_y @ mix_y.mT, mix_x @ cross @ mix_y.mT


def information(projection, noise, x, y, xy):
    """I(x; z) and I(z; y) of z = projection @ x + noise, from determinants."""
    z = projection @ x @ projection.mT + noise
    zy = projection @ xy
    conditional = z - zy @ torch.linalg.solve(y, zy.mT)
    return 0.5 * (z.logdet() - noise.logdet()), 0.5 * (z.logdet() - conditional.logdet())


@pytest.mark.parametrize("beta", [0.01, 0.2, 0.5, 0.8, 0.9, 1.5])
def test_projection_attains_the_stated_information(beta):
    x, y, xy = problem()
    optimum = gaussian_ib(x, y, xy, beta)
    i_xz, i_zy = information(optimum.projection, optimum.noise_covariance, x, y, xy)
    torch.testing.assert_close(optimum.i_xz, i_xz)
    torch.testing.assert_close(optimum.i_zy, i_zy)
    torch.testing.assert_close(optimum.lagrangian, beta * i_xz - i_zy)
    z = optimum.projection @ x @ optimum.projection.mT + optimum.noise_covariance
    torch.testing.assert_close(z, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("beta", [0.02, 0.1, 0.35, 0.5, 0.79])
def test_no_noisy_projection_does_better_and_the_best_does_as_well(beta):
    torch.manual_seed(0)
    x, y, xy = problem()
    projection = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    noise = torch.eye(3, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        [projection], max_iter=500, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )
    history = []

    def closure():
        optimizer.zero_grad()
        i_xz, i_zy = information(projection, noise, x, y, xy)
        loss = beta * i_xz - i_zy
        loss.backward()
        history.append(loss.item())
        return loss

    optimizer.step(closure)
    exact = gaussian_ib(x, y, xy, beta).lagrangian.item()
    assert min(history) > exact - 1e-12
    assert min(history) == pytest.approx(exact, abs=1e-8)


def test_units_switch_on_at_the_squared_canonical_correlations():
    x, y, xy = problem()
    torch.testing.assert_close(gaussian_ib(x, y, xy, 0.5).critical_betas, SQUARED)
    beta = torch.stack([SQUARED - 1e-6, SQUARED + 1e-6], -1)
    units = (gaussian_ib(x, y, xy, beta).projection.norm(dim=-1) > 0).sum(-1)
    assert units.tolist() == [[1, 0], [2, 1], [3, 2]]


def test_curve_is_monotone_and_concave_with_slope_beta():
    beta = torch.linspace(0.005, 0.95, 400, dtype=torch.float64)
    curve = gaussian_ib(*problem(), beta)
    used = beta < SQUARED[0]
    assert (curve.i_xz[used].diff() < 0).all()
    assert (curve.i_zy[used].diff() < 0).all()
    assert (curve.i_xz[~used] == 0).all()
    slope = curve.i_zy[used].diff() / curve.i_xz[used].diff()
    assert (slope > beta[used][:-1]).all()
    assert (slope < beta[used][1:]).all()
    assert (curve.i_zy <= curve.i_xz).all()


def test_lagrangian_has_the_rate_as_its_derivative():
    beta, step = torch.tensor([0.02, 0.2, 0.6, 0.9], dtype=torch.float64), 1e-6
    high, low = (gaussian_ib(*problem(), beta + sign * step).lagrangian for sign in (1, -1))
    torch.testing.assert_close(
        (high - low) / (2 * step), gaussian_ib(*problem(), beta).i_xz, rtol=1e-6, atol=1e-8
    )


def test_scalar_case_by_hand():
    rho, beta = 0.8, 0.3
    optimum = gaussian_ib([[4.0]], [[9.0]], [[rho * 6]], beta)
    assert optimum.i_xz.item() == pytest.approx(0.5 * math.log((1 - beta) * rho**2 / (beta * (1 - rho**2))))
    assert optimum.i_zy.item() == pytest.approx(0.5 * math.log((1 - beta) / (1 - rho**2)))


def test_beta_zero_is_the_noise_free_limit():
    x, y, xy = problem()
    optimum = gaussian_ib(x, y, xy, [0.0, 1e-12])
    everything = -0.5 * (1 - SQUARED).log().sum()
    assert optimum.i_xz[0] == torch.inf
    torch.testing.assert_close(optimum.i_zy[0], everything)
    torch.testing.assert_close(optimum.lagrangian[0], -everything)
    torch.testing.assert_close(optimum.projection[1], optimum.projection[0])
    torch.testing.assert_close(optimum.noise_covariance[0], torch.zeros(3, 3, dtype=torch.float64))
    torch.testing.assert_close(optimum.lagrangian[1], optimum.lagrangian[0])


def test_independent_x_and_y_leave_nothing_to_keep():
    optimum = gaussian_ib(torch.eye(2), torch.eye(3), torch.zeros(2, 3), [0.0, 0.1])
    for name in ("i_xz", "i_zy", "lagrangian"):
        assert (getattr(optimum, name) == 0).all()


def test_coordinates_and_input_types_do_not_matter():
    expected = gaussian_ib(*problem(seed=0), 0.3)
    other = gaussian_ib(*(matrix.numpy() for matrix in problem(seed=5)), 0.3)
    torch.testing.assert_close(other.i_xz, expected.i_xz)
    torch.testing.assert_close(other.i_zy, expected.i_zy)
    assert other.projection.dtype == torch.float64


def test_beta_may_have_any_shape():
    beta = torch.tensor([[0.1, 0.5], [0.0, 0.9]])
    optimum = gaussian_ib(*problem(), beta)
    assert optimum.lagrangian.shape == (2, 2)
    assert optimum.projection.shape == (2, 2, 3, 4)
    torch.testing.assert_close(optimum.i_zy[0, 1], gaussian_ib(*problem(), beta[0, 1]).i_zy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 0.5]], [[1.0]], [[0.5]], 0.1), r"cov_x must be a square matrix; got shape \(1, 2\)"),
        (([[1.0, 0.2], [0.9, 1.0]], [[1.0]], [[0.5], [0.1]], 0.1), "cov_x must be finite and symmetric.*0.7"),
        (([[1.0]], [[float("nan")]], [[0.5]], 0.1), "cov_y must be finite and symmetric"),
        (([[1.0]], [[-1.0]], [[0.5]], 0.1), "cov_y must be positive definite.*-1"),
        (([[1.0, 1.0], [1.0, 1.0]], [[1.0]], [[0.5], [0.5]], 0.1), "cov_x must be positive definite"),
        (([[1.0]], [[1.0]], [[0.5, 0.1]], 0.1), r"cov_xy must be \[1, 1\] to match; got \[1, 2\]"),
        (([[1.0]], [[1.0]], [[1.0]], 0.1), "canonical correlation of x and y is 1;.*Add noise to y"),
        (([[1.0]], [[1.0]], [[float("nan")]], 0.1), "cov_xy must be finite"),
        (([[1.0]], [[1.0]], [[0.5]], -0.1), "beta must be finite and at least 0; got -0.1"),
        (([[1.0]], [[1.0]], [[0.5]], float("inf")), "beta must be finite and at least 0; got inf"),
    ],
)
def test_bad_input_names_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        gaussian_ib(*arguments)

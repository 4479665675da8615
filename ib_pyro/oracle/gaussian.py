"""The information bottleneck of jointly Gaussian x and y, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["GaussianIB", "gaussian_ib"]


@dataclass(frozen=True)
class GaussianIB:
    """Optimal representation ``z = projection @ x + noise`` of x for y; float64, in nats."""

    i_xz: Tensor
    """I(x; z), of the shape of beta; ``inf`` at beta = 0 where x tells of y."""
    i_zy: Tensor
    """I(z; y), of the shape of beta."""
    lagrangian: Tensor
    """``-I(z; y) + beta I(x; z)``, of the shape of beta."""
    projection: Tensor
    """Rows are the canonical directions of x, scaled, ``[..., d, dim(x)]``; zero where a unit is off."""
    noise_covariance: Tensor
    """Diagonal covariance of the Gaussian noise, ``[..., d, d]``; makes the covariance of z the identity."""
    critical_betas: Tensor
    """Squared canonical correlations, descending, ``[d]``: unit i carries information while beta is below."""


def gaussian_ib(
    cov_x: Tensor | ArrayLike, cov_y: Tensor | ArrayLike, cov_xy: Tensor | ArrayLike, beta: Tensor | ArrayLike
) -> GaussianIB:
    r"""Minimise ``-I(z; y) + beta I(x; z)`` over all representations of x, for jointly Gaussian x and y.

    With the canonical correlations :math:`\rho_i` of x and y and the units with :math:`\rho_i^2 > \beta`,

    .. math::
        I(x; z) = \tfrac12 \sum_i \log \frac{(1 - \beta) \rho_i^2}{\beta (1 - \rho_i^2)}, \qquad
        I(z; y) = \tfrac12 \sum_i \log \frac{1 - \beta}{1 - \rho_i^2}.

    Chechik et al. (2005), theorem 3.1 and eq. (15), whose beta multiplies I(z; y) and is one over ours. The
    optimum is Gaussian, one unit :math:`z_i` for each canonical direction. A unit switches on as beta falls
    below :math:`\rho_i^2`; at :math:`\beta \ge \rho_1^2` the representation is empty. The scale of z is
    free; here z has the identity as its covariance. At ``beta = 0`` the optimum is the limit: noise-free
    units, I(x; z) infinite, ``I(z; y) = I(x; y)``, and the Lagrangian ``-I(x; y)``.

    Args:
        cov_x: Covariance of x, ``[dim(x), dim(x)]``.
        cov_y: Covariance of y, ``[dim(y), dim(y)]``.
        cov_xy: Cross-covariance, ``[dim(x), dim(y)]``.
        beta: Weight of I(x; z), at least 0, of any shape; nats per nat, not divided by a number of samples.

    Returns:
        The optimum, with ``d = min(dim(x), dim(y))`` units.

    Raises:
        ValueError: Shapes do not match, a covariance is not symmetric and positive definite, x and y
            determine a direction of each other, or beta is negative or not finite.

    Example:
        >>> optimum = gaussian_ib([[1.0]], [[1.0]], [[0.8]], beta=0.5)
        >>> round(optimum.i_xz.item(), 4), round(optimum.i_zy.item(), 4)
        (0.2877, 0.1643)
        >>> optimum.critical_betas
        tensor([0.6400], dtype=torch.float64)
    """
    x, y = _as_covariance("cov_x", cov_x), _as_covariance("cov_y", cov_y)
    xy = torch.as_tensor(cov_xy, dtype=torch.float64, device=x.device)
    weight = torch.as_tensor(beta, dtype=torch.float64, device=x.device)
    if xy.shape != (x.shape[0], y.shape[0]):
        raise ValueError(f"cov_xy must be {[x.shape[0], y.shape[0]]} to match; got {list(xy.shape)}")
    if not bool(torch.isfinite(xy).all()):
        raise ValueError("cov_xy must be finite")
    if not bool((torch.isfinite(weight) & (weight >= 0)).all()):
        raise ValueError(f"beta must be finite and at least 0; got {weight.tolist()}")
    directions, squared = _canonical(x, y, xy)
    return _optimum(directions, squared, weight)


def _as_covariance(name: str, value: Tensor | ArrayLike) -> Tensor:
    matrix = torch.as_tensor(value, dtype=torch.float64)
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"{name} must be a square matrix; got shape {tuple(matrix.shape)}")
    asymmetry = (matrix - matrix.mT).abs().max()
    if not asymmetry <= 1e-6 * matrix.abs().max():
        raise ValueError(f"{name} must be finite and symmetric; its largest asymmetry is {asymmetry:.3g}")
    matrix = (matrix + matrix.mT) / 2
    smallest = torch.linalg.eigvalsh(matrix)[0].item()
    if not smallest > 0:
        raise ValueError(
            f"{name} must be positive definite; its smallest eigenvalue is {smallest:.3g}. Leave out "
            "directions without variance"
        )
    return matrix


def _canonical(x: Tensor, y: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
    """Canonical directions of x with unit variance as rows, and the squared canonical correlations."""
    factor_x, factor_y = torch.linalg.cholesky(x), torch.linalg.cholesky(y)
    whitened = torch.linalg.solve_triangular(factor_x, xy, upper=False)
    whitened = torch.linalg.solve_triangular(factor_y, whitened.mT, upper=False).mT
    left, correlations, _ = torch.linalg.svd(whitened, full_matrices=False)
    if not correlations[0] < 1 - 1e-12:
        raise ValueError(
            f"the largest canonical correlation of x and y is {correlations[0]:.12g}; it must be below 1, "
            "else the joint covariance is not positive definite and the Lagrangian has no minimum. Add noise "
            "to y"
        )
    directions = torch.linalg.solve_triangular(factor_x.mT, left, upper=True).mT
    return directions, correlations.square()


def _optimum(directions: Tensor, squared: Tensor, beta: Tensor) -> GaussianIB:
    weight = beta.unsqueeze(-1)
    active = squared > weight
    # Harmless stand-ins where a unit is off, or noise-free at beta = 0.
    gain = torch.where(active, (1 - weight) / (1 - squared), 1.0)
    ratio = torch.where(active & (weight > 0), squared / weight, 1.0)
    noise = torch.where(active, 1 / gain * weight / squared, 1.0)
    i_zy = 0.5 * gain.log().sum(-1)
    finite = i_zy + 0.5 * ratio.log().sum(-1)
    i_xz = torch.where((beta == 0) & active.any(-1), torch.inf, finite)
    return GaussianIB(
        i_xz=i_xz,
        i_zy=i_zy,
        lagrangian=beta * finite - i_zy,
        projection=(1 - noise).clamp(min=0).sqrt().unsqueeze(-1) * directions,
        noise_covariance=torch.diag_embed(noise),
        critical_betas=squared,
    )

"""Total correlation of a sample under a Gaussian model, and what finite samples add to it."""

import torch
from torch import Tensor

from ib_pyro.precision import single_or_wider, widest, without_autocast

__all__ = ["gaussian_total_correlation", "gaussian_total_correlation_null"]


def gaussian_total_correlation(z: Tensor, *, shrinkage: float = 0.0) -> Tensor:
    r"""Total correlation of the Gaussian that has the sample's covariance, as a differentiable loss.

    .. math::
        TC(z) = \tfrac12 \Big(\sum_j \log \Sigma_{jj} - \log |\Sigma|\Big) = -\tfrac12 \log |R|,

    with :math:`R` the correlation matrix. Achille & Soatto (2018) print twice this. With
    shrinkage :math:`s`, :math:`(1 - s) R + s I` takes the place of :math:`R`; the diagonal and the scale
    invariance stay. A jitter :math:`\varepsilon` on :math:`R` is the shrinkage
    :math:`\varepsilon / (1 + \varepsilon)`.

    Multiplicative noise is additive in the logarithm: pass ``log z`` there. A constant (dead) unit is
    independent of everything, so it adds exactly zero to the value and to the gradient. A finite sample
    biases the value upwards by :func:`gaussian_total_correlation_null`, a constant in the parameters.

    Args:
        z: Samples ``[n, ...]``; everything behind the first dimension is flattened to ``d`` units.
        shrinkage: Weight of the identity, in ``[0, 1]``. Needed when ``d >= n``.

    Computed in float64 (on MPS, which has none, in float32) and outside of autocast, whatever the type of z:
    rounding to bfloat16 can make a correlation matrix singular, and an offset of a million standard deviations
    cancels only there.

    Returns:
        Scalar, nats per sample of z (not summed over the n samples), in the type of ``z``, but float32 for the half
        types. Units that are collinear to the precision of z's type give ``inf``, as do values that are not finite.

    Raises:
        ValueError: ``z`` has no unit dimension or too few samples for its units, or the shrinkage is not in
            ``[0, 1]``.

    Example:
        >>> z = torch.tensor(
        ...     [[2.0, 1.0], [-2.0, -1.0], [1.0, 2.0], [-1.0, -2.0]]
        ... )  # correlation 0.8
        >>> round(gaussian_total_correlation(z).item(), 4)  # -log(1 - 0.8 ** 2) / 2
        0.5108
    """
    if z.dim() < 2:
        raise ValueError(f"z must be [n, ...] with at least one unit dimension; got shape {tuple(z.shape)}")
    if not 0.0 <= shrinkage <= 1.0:
        raise ValueError(f"shrinkage must lie in [0, 1]; got {shrinkage}")
    z = z.flatten(1) if z.is_floating_point() else z.flatten(1).to(torch.get_default_dtype())
    n, d = z.shape
    if shrinkage == 0.0 and d >= n:
        raise ValueError(
            f"{d} units need more than {d} samples for a full-rank covariance, z has {n}; "
            "pass more samples, fewer units, or shrinkage > 0"
        )
    with without_autocast(z.device):
        correlation = _off_diagonal_correlation(z)
        identity = torch.eye(d, dtype=correlation.dtype, device=z.device)
        factor, failure = torch.linalg.cholesky_ex((1.0 - shrinkage) * correlation + identity)
        pivots = factor.diagonal()
        # An exactly collinear unit leaves a pivot of pure rounding error, of z or of the sum, of either sign.
        rounding = max(64 * torch.finfo(pivots.dtype).eps, (4 * torch.finfo(z.dtype).eps) ** 2)
        collinear = (failure > 0) | (pivots.detach().square() < rounding).any()
        total = torch.where(collinear, torch.inf, -pivots.log().sum())
    return total.to(single_or_wider(z).dtype)


def _off_diagonal_correlation(z: Tensor) -> Tensor:
    """Correlation matrix with a zero diagonal, in which constant columns correlate with nothing."""
    wide = z.to(widest(z.device))
    # Less the first sample a constant column is exactly zero, and an offset leaves no rounding error behind.
    centred = wide - wide[:1].detach()
    centred = centred - centred.mean(0)
    square = centred.square().sum(0)
    # A column that differs by less than a step of its type, such as the bias of a dead unit, is constant too.
    step = 0.25 * torch.finfo(z.dtype).eps * wide.detach().abs().amax(0)
    alive = ~(square.detach() <= z.shape[0] * step.square())  # negated, so that NaN is not "constant"
    scale = torch.where(alive, square, 1.0).sqrt()
    unit = torch.where(alive, centred / scale, 0.0)
    correlation = unit.mT @ unit
    return correlation - torch.diag_embed(correlation.diagonal())


def gaussian_total_correlation_null(num_samples: int, dimension: int) -> float:
    r"""Expectation of :func:`gaussian_total_correlation` over n samples of d independent Gaussians.

    .. math::
        \tfrac12 \Big(d\, \psi\big(\tfrac{n-1}{2}\big) - \sum_{i=1}^{d} \psi\big(\tfrac{n-i}{2}\big)\Big),

    from the expected log-determinant of a Wishart matrix with n - 1 degrees of freedom (Anderson 2003,
    theorem 7.5.3). It grows like :math:`d^2 / 4n`, and does not vanish for the sizes met in practice.

    Args:
        num_samples: Number of samples n; the mean is estimated from the same ones.
        dimension: Number of units d, constant ones left out.

    Returns:
        Nats.

    Raises:
        ValueError: ``dimension`` is negative or not below ``num_samples``.

    Example:
        >>> round(gaussian_total_correlation_null(10_000, 3_072), 1)
        264.6
    """
    if not 0 <= dimension < num_samples:
        raise ValueError(
            f"need 0 <= dimension < num_samples; got dimension {dimension}, num_samples {num_samples}"
        )
    index = torch.arange(1, dimension + 1, dtype=torch.float64)
    digamma = torch.special.digamma((num_samples - index) / 2)
    return 0.5 * (digamma[:1] - digamma).sum().item()

"""Total correlation of a representation, beside what chance alone would give."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.information import gaussian_total_correlation, gaussian_total_correlation_null

__all__ = ["TotalCorrelation", "total_correlation"]


@dataclass(frozen=True)
class TotalCorrelation:
    """Estimated total correlation in nats, with its expectation under independence."""

    estimate: float
    """Total over the units, with the upward bias of a finite sample."""
    null: float
    """Expected estimate for as many samples of as many *independent* Gaussian units."""
    corrected: float
    """``estimate - null``."""
    per_dimension: float
    """``estimate / dimensions_used``, in nats per unit; 0 without units."""
    dimensions_used: int
    """Number of units that vary. Constant ones are independent of all others and left out."""
    num_samples: int
    """Number of samples."""


def total_correlation(z: Tensor, method: str = "gaussian") -> TotalCorrelation:
    r"""Estimate how far the units of z are from independent.

    .. math::
        TC(z) = \tfrac12 \Big(\sum_j \log \Sigma_{jj} - \log |\Sigma|\Big)

    See :func:`~ib_pyro.information.gaussian_total_correlation` for the formula and
    :func:`~ib_pyro.information.gaussian_total_correlation_null` for the null; both are computed in float64.
    The null grows like :math:`d^2 / 4n`: an estimate without it says little. It is exact for Gaussian units
    and holds to leading order for others.

    The Gaussian model fits additive noise. For multiplicative noise pass ``log z``, without the units that
    are exactly zero somewhere (whose logarithm is ``-inf``).

    Args:
        z: Samples ``[n, ...]`` of any real dtype; everything behind the first dimension is flattened.
        method: ``"gaussian"``.

    Returns:
        Estimate, null and difference in nats, and the estimate per unit.

    Raises:
        ValueError: The method is unknown; z has no unit dimension or values that are not finite; there are
            not more samples than units that vary; or units are collinear.

    Example:
        >>> z = torch.tensor([[2.0, 1.0], [-2.0, -1.0], [1.0, 2.0], [-1.0, -2.0]])
        >>> round(total_correlation(z).estimate, 4)
        0.5108
    """
    require_known("method=", method, ("gaussian",))
    units = _varying_units(z)
    n, d = units.shape
    if d >= n:
        raise ValueError(
            f"z has {d} units that vary but {n} samples, so that its covariance is singular; pass more than "
            f"{d} samples, or fewer units"
        )
    estimate = gaussian_total_correlation(units).item()
    if estimate == float("inf"):
        raise ValueError(
            f"the {d} units of z are collinear, so that their total correlation is infinite; drop units "
            "that repeat others"
        )
    null = gaussian_total_correlation_null(n, d)
    return TotalCorrelation(
        estimate=estimate,
        null=null,
        corrected=estimate - null,
        per_dimension=estimate / d if d else 0.0,
        dimensions_used=d,
        num_samples=n,
    )


def _varying_units(z: Tensor) -> Tensor:
    """Units as float64 columns, without the constant ones."""
    if z.dim() < 2:
        raise ValueError(f"z must be [n, ...] with at least one unit dimension; got shape {tuple(z.shape)}")
    units = z.detach().flatten(1).to(torch.float64)
    infinite = int((~torch.isfinite(units)).sum())
    if infinite:
        raise ValueError(
            f"z has {infinite} of {units.numel()} values that are not finite; if it is the logarithm of "
            "activations that can be exactly zero, leave those units out"
        )
    return units[:, (units != units[:1]).any(0)]

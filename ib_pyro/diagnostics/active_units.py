"""Which units of a site carry information."""

from dataclasses import dataclass

from torch import Tensor

from ib_pyro.diagnostics._checks import single

__all__ = ["ActiveUnits", "active_units", "active_units_by_rate"]


@dataclass(frozen=True)
class ActiveUnits:
    """Units whose statistic exceeds a threshold.

    Attributes:
        active: Boolean, of the event shape.
        statistic: What was compared, of the event shape; its unit is that of the function that made it.
        threshold: What it was compared with.
    """

    active: Tensor
    statistic: Tensor
    threshold: float

    @property
    def count(self) -> int:
        """Number of active units."""
        return int(self.active.sum())

    @property
    def fraction(self) -> float:
        """Share of the units that are active, in [0, 1]."""
        return self.count / self.active.numel()


def active_units(posterior_mean: Tensor, *, threshold: float = 0.01) -> ActiveUnits:
    r"""Units whose posterior mean moves with the input.

    .. math:: A_u = \operatorname{Var}_x\big(E[z_u | x]\big) > \text{threshold}

    Burda, Grosse & Salakhutdinov (2016), "Importance Weighted Autoencoders", section 5, with their 0.01.
    The variance is in squared units of z, hence made for latents of about unit scale; multiplicative noise
    scales with its activation, for which ``active_units_by_rate`` or the posterior mean of log z are the
    better measure.

    Args:
        posterior_mean: E[z | x], ``[N, ...]``, in units of z.
        threshold: Least variance (unbiased, over samples) of an active unit, squared units of z.

    Returns:
        The units, their variance and the threshold.

    Raises:
        ValueError: If there are fewer than two samples or the threshold is negative.

    Example:
        >>> import torch
        >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]])).active
        tensor([False,  True])
    """
    _check(posterior_mean, "posterior_mean", threshold, least=2)
    return _compare(single(posterior_mean).var(0, correction=1), threshold)


def active_units_by_rate(rate: Tensor, *, threshold: float = 0.01) -> ActiveUnits:
    r"""Units whose mean rate exceeds a threshold.

    .. math:: R_u = \frac1N \sum_n r_{nu} > \text{threshold}

    A unit with R_u = 0 has collapsed onto its prior: z_u tells nothing of x. A unit whose rate is constant
    but positive counts as active here and not in ``active_units``. For a channel of a convolutional site pass
    its rate summed over positions.

    Args:
        rate: Elementwise rate, ``[N, ...]``, nats.
        threshold: Least mean rate of an active unit, nats per sample.

    Returns:
        The units, their mean rate in nats per sample, and the threshold.

    Raises:
        ValueError: If there is no sample or the threshold is negative.

    Example:
        >>> import torch
        >>> active_units_by_rate(torch.tensor([[0.0, 1.0], [0.0, 3.0]])).statistic
        tensor([0., 2.])
    """
    _check(rate, "rate", threshold, least=1)
    return _compare(single(rate).mean(0), threshold)


def _compare(statistic: Tensor, threshold: float) -> ActiveUnits:
    return ActiveUnits(active=statistic > threshold, statistic=statistic, threshold=threshold)


def _check(values: Tensor, name: str, threshold: float, *, least: int) -> None:
    if values.ndim < 2 or values.shape[0] < least or 0 in values.shape:
        raise ValueError(f"{name}: expected [N, ...] with N >= {least}, got {list(values.shape)}")
    if not threshold >= 0:
        raise ValueError(f"threshold: {threshold}, must be >= 0")

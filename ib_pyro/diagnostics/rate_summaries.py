"""Where the rate of a site goes: summaries by unit, position and class."""

import torch
from torch import Tensor

from ib_pyro.diagnostics._checks import check_labels, single

__all__ = ["rate_by_class", "rate_by_position", "rate_by_unit"]


def rate_by_unit(rate: Tensor) -> Tensor:
    r"""Mean rate of each unit of a site.

    With r the elementwise rate of sample n, unit u, position p:

    .. math:: R_u = \frac1N \sum_n \sum_p r_{nup}

    A unit is a feature of a dense layer or a channel of a convolutional one, summed over its positions, so
    that ``rate_by_unit(rate).sum()`` is the rate of the site. Achille & Soatto (2018), fig. 6, shows its mean
    over u.

    Args:
        rate: Elementwise rate, ``[N, units, ...positions]``, nats.

    Returns:
        [units], nats per sample.

    Raises:
        ValueError: If there is no sample or no unit dimension.

    Example:
        >>> rate_by_unit(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        tensor([2., 0.])
    """
    _check_rate(rate, 2)
    rate = single(rate)
    return rate.flatten(2).sum(-1).mean(0) if rate.ndim > 2 else rate.mean(0)


def rate_by_position(rate: Tensor) -> Tensor:
    r"""Rate at each position of a convolutional site, for each sample: its information map.

    .. math:: R_{np} = \sum_u r_{nup}

    Achille & Soatto (2018), fig. 2. Values are absolute, so that maps of one site compare across samples,
    betas and networks.

    Args:
        rate: Elementwise rate, ``[N, channels, ...positions]``, nats.

    Returns:
        ``[N, ...positions]``, nats per position.

    Raises:
        ValueError: If there is no sample or the site has no positions.

    Example:
        >>> rate_by_position(torch.ones(5, 32, 4, 4)).shape
        torch.Size([5, 4, 4])
    """
    _check_rate(rate, 3)
    return single(rate).sum(1)


def rate_by_class(rate: Tensor, labels: Tensor, *, num_classes: int | None = None) -> Tensor:
    r"""Mean rate of the samples of each class.

    .. math:: R_c = \frac{1}{N_c} \sum_{n: y_n = c} \sum_{u, p} r_{nup}

    Args:
        rate: Rate, ``[N]`` or elementwise ``[N, ...]``, nats.
        labels: Classes, integer [N].
        num_classes: K; default: the largest label + 1.

    Returns:
        [K], nats per sample; NaN for a class without samples.

    Raises:
        ValueError: If the labels do not fit the rate or the number of classes.

    Example:
        >>> rate_by_class(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]))
        tensor([2., nan, 5.])
    """
    _check_rate(rate, 1)
    labels, rate = check_labels(labels, rate.shape[0], num_classes), single(rate)
    size = int(labels.max()) + 1 if num_classes is None else num_classes
    per_sample = rate.flatten(1).sum(1) if rate.ndim > 1 else rate
    total = per_sample.new_zeros(size).index_add(0, labels, per_sample)
    return total / torch.bincount(labels, minlength=size)


def _check_rate(rate: Tensor, least: int) -> None:
    if rate.ndim < least or 0 in rate.shape:
        dims = ["N", "units", "positions"][:least]
        raise ValueError(f"rate: expected a non-empty [{', '.join(dims)}, ...], got {list(rate.shape)}")

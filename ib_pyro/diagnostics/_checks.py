"""Checks of arguments that the diagnostics share."""

import torch
from torch import Tensor

__all__ = ["check_labels", "check_probabilities", "single"]


def check_probabilities(
    probabilities: Tensor, dims: tuple[str, ...], *, rounding: float | None = None
) -> None:
    """Raise unless the tensor has the named dimensions and its last one holds distributions.

    Args:
        probabilities: A floating-point tensor.
        dims: Names of the dimensions expected, for the message, as ``("N", "K")``.
        rounding: How far a sum may be from 1 by the rounding of its entries; by default that of their type.

    Raises:
        ValueError: If the shape, the sign or a sum is wrong, or a value is NaN.
    """
    shape = "[" + ", ".join(dims) + "]"
    if probabilities.ndim != len(dims) or 0 in probabilities.shape:
        raise ValueError(f"probabilities: expected a non-empty {shape}, got {list(probabilities.shape)}")
    if not probabilities.is_floating_point():
        raise ValueError(f"probabilities: expected a floating-point tensor, got {probabilities.dtype}")
    if not bool((probabilities >= 0).all()):
        raise ValueError(
            f"probabilities: minimum {probabilities.min().item():.3g}, must be >= 0; "
            "pass `log_probabilities.exp()` or `logits.softmax(-1)`"
        )
    deviation = (single(probabilities).sum(-1) - 1).abs().max()
    # Each entry is rounded by half an eps of itself, so that all together are by half an eps.
    rounding = torch.finfo(probabilities.dtype).eps if rounding is None else rounding
    if not bool(deviation <= max(1.2e-5, rounding)):
        raise ValueError(
            f"probabilities: the last dimension sums to 1 only within {deviation.item():.3g}; "
            "normalise it, for example by `logits.softmax(-1)`"
        )


def check_labels(labels: Tensor, num_samples: int, num_classes: int | None = None) -> Tensor:
    """Return labels as indices, and raise unless they are one integer class for each sample.

    Args:
        labels: Classes, integer [N].
        num_samples: N.
        num_classes: K; every label must be in 0..K-1. None checks the lower end only.

    Returns:
        The labels, int64 [N].

    Raises:
        ValueError: If the shape, the type or a value is wrong.
    """
    if labels.shape != (num_samples,) or num_samples == 0:
        raise ValueError(f"labels: expected [{num_samples}] and at least one, got {list(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels: expected integers, got {labels.dtype}; use `labels.long()`")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        upper = "" if num_classes is None else str(num_classes - 1)
        raise ValueError(f"labels: values {low}..{high}, must be in 0..{upper}")
    return labels.long()


def single(values: Tensor) -> Tensor:
    """Return values in single precision at least, for sums: half precision stops counting at 256 or 2048."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

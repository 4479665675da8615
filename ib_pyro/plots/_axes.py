"""What the plots share: Axes, arrays and colours."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = [
    "BLACK",
    "BLUE",
    "GREY",
    "ORANGE",
    "SEQUENTIAL",
    "VERMILION",
    "as_array",
    "axes_or_new",
]

# Okabe & Ito (2008): told apart under every common colour-vision deficiency.
BLUE, ORANGE, VERMILION, BLACK, GREY = "#0072B2", "#E69F00", "#D55E00", "#000000", "#7F7F7F"
SEQUENTIAL = "viridis"
"""Sequential colour map, even in lightness and for colour-vision deficiencies."""


def axes_or_new(ax: Axes | None, *, wide: bool = False) -> Axes:
    """Return the Axes given, or the Axes of a new figure.

    Args:
        ax: Axes to draw into, or None.
        wide: Whether a new figure should be twice as wide as high.
    """
    if ax is not None:
        return ax
    # Here and not at the top: choosing a backend is left to whoever asks for a figure.
    import matplotlib.pyplot as plt

    # This layout keeps a colour bar as high as its image, whose aspect is fixed.
    return plt.subplots(figsize=(8.0, 4.0) if wide else None, layout="compressed")[1]


def as_array(values: Tensor | ArrayLike, name: str, *ndim: int) -> np.ndarray:
    """Copy values to a NumPy array, which is what Matplotlib draws, and check their dimensions.

    Args:
        values: A tensor on any device, or what NumPy takes.
        name: The argument's name, for the message.
        ndim: Numbers of dimensions allowed.

    Returns:
        The values, detached.

    Raises:
        ValueError: If the values are empty or have another number of dimensions.
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim not in ndim or array.size == 0:
        allowed = " or ".join(map(str, ndim))
        raise ValueError(
            f"{name}: expected a non-empty array of {allowed} dimensions, got {list(array.shape)}"
        )
    return array

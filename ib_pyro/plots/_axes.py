"""What the plots share: Axes, arrays and colours."""

from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
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
    "as_numbers",
    "as_real",
    "as_shades",
    "axes_or_new",
    "beyond",
    "sequential_or_grey",
]

# Okabe & Ito (2008): told apart under every common colour-vision deficiency.
BLUE, ORANGE, VERMILION, BLACK, GREY = "#0072B2", "#E69F00", "#D55E00", "#000000", "#7F7F7F"
SEQUENTIAL = "viridis"
"""Sequential colour map, even in lightness and for colour-vision deficiencies."""
# Lighter than all of the map that has as little colour.
_MISSING = "#C8C8C8"
# Rounding of images that were resized or mixed, in shades of [0, 1].
_ROUNDING = 1e-4


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
        The values, detached; a tensor of any floating type becomes float64.

    Raises:
        ValueError: If the values are empty or have another number of dimensions.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16, and sums of half precision would be in half precision.
        values = (values.double() if values.is_floating_point() else values).numpy()
    array = np.asarray(values)
    if array.ndim not in ndim or array.size == 0:
        allowed = " or ".join(map(str, ndim))
        raise ValueError(
            f"{name}: expected a non-empty array of {allowed} dimensions, got {list(array.shape)}"
        )
    return array


def as_real(values: Tensor | ArrayLike, name: str, *ndim: int) -> np.ndarray:
    """Copy real numbers to a float64 array; those that are not finite are left to the caller.

    Args:
        values: A tensor on any device, or what NumPy takes. What a masked array masks is NaN, as None is.
        name: The argument's name, for the message.
        ndim: Numbers of dimensions allowed.

    Returns:
        The numbers, detached.

    Raises:
        ValueError: If they are no real numbers, or as :func:`as_array`.
    """
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    array = as_array(values, name, *ndim)
    if array.dtype.kind == "c":
        raise ValueError(f"{name}: complex numbers have no place on an axis; pass their real part or modulus")
    if array.dtype.kind == "O":
        import pandas as pd  # type: ignore[import-untyped]

        # None, and the NA of its columns that hold missing values.
        array = np.where(pd.isna(array), np.nan, array)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: not all of its values are numbers: {error}") from error


def as_numbers(values: Tensor | ArrayLike, name: str, *ndim: int, missing: bool = False) -> np.ndarray:
    """Copy numbers to a float64 array, and check that they are numbers that can be drawn.

    Args:
        values: As of :func:`as_real`.
        name: The argument's name, for the message.
        ndim: Numbers of dimensions allowed.
        missing: Whether NaN stands for a value that there is not, of which the plot then says how many there are.

    Returns:
        The numbers, detached.

    Raises:
        ValueError: If they are infinite, all missing, or NaN where none may be missing, or as :func:`as_real`.
    """
    array = as_real(values, name, *ndim)
    way_out = "; set them to NaN to draw them as missing" if missing else "; pass finite numbers alone"
    _refuse(np.isinf(array), name, "infinite", way_out)
    nan = np.isnan(array)
    if not missing:
        _refuse(nan, name, "NaN", way_out)
    elif nan.all():
        raise ValueError(f"{name}: all of its {array.size} values are NaN, there is nothing to draw")
    return array


def _refuse(wrong: np.ndarray, name: str, what: str, way_out: str) -> None:
    if wrong.any():
        first = [int(i) for i in np.argwhere(wrong)[0]]
        raise ValueError(
            f"{name}: {int(wrong.sum())} of {wrong.size} values are {what}, first {first}{way_out}"
        )


def as_shades(images: Tensor | ArrayLike, name: str, *ndim: int) -> np.ndarray:
    """Copy images to an array of shades in [0, 1], rounding aside.

    Args:
        images: A tensor on any device, or what NumPy takes.
        name: The argument's name, for the message.
        ndim: Numbers of dimensions allowed.

    Raises:
        ValueError: If a value is not within [0, 1], which would be drawn as black or white, or as
            :func:`as_numbers`.
    """
    shades = as_numbers(images, name, *ndim)
    low, high = shades.min(), shades.max()
    if not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
        raise ValueError(
            f"{name}: values go from {low:.3g} to {high:.3g}, not within [0, 1]; draw the images as `load` returns "
            "them, before they are normalised or whitened, and shades of 8 bits divided by 255"
        )
    return shades.clip(0, 1)


def sequential_or_grey() -> Colormap:
    """The sequential colour map, with a grey of its own for values that are missing."""
    return mpl.colormaps[SEQUENTIAL].with_extremes(bad=_MISSING)


def beyond(
    values: np.ndarray, low: float | None, high: float | None
) -> Literal["neither", "min", "max", "both"]:
    """On which sides values lie beyond the ends of their colours: the ends of the colour bar that get an arrow.

    Args:
        values: What is drawn; NaN is missing.
        low: Lower end of the colours; None: the lowest value.
        high: Upper end of the colours; None: the highest value.
    """
    below = low is not None and bool(np.nanmin(values) < low)
    above = high is not None and bool(np.nanmax(values) > high)
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"

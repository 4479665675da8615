"""What the paper's figures share: the look of each method, and figures without pyplot's defaults changed."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "METHODS", "ORANGE", "PURPLE", "VERMILION", "new_figure"]

# Okabe & Ito (2008): told apart under every common colour-vision deficiency.
BLUE, ORANGE, VERMILION, GREEN, PURPLE = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7"

METHODS: dict[str, dict[str, Any]] = {
    "information": {"color": BLUE, "marker": "o", "label": "information dropout"},
    "binary": {"color": VERMILION, "marker": "s", "label": "binary dropout"},
    "constant": {"color": ORANGE, "marker": "^", "label": "constant log-normal noise"},
    "none": {"color": "#555555", "marker": "D", "label": "no noise"},
}


def new_figure(
    num_rows: int, num_columns: int, *, width: float, height: float, **options: Any
) -> tuple[Figure, Any]:
    """Make a figure and its Axes.

    Args:
        num_rows: Rows of Axes.
        num_columns: Columns of Axes.
        width: In inches.
        height: In inches.
        **options: Options of :func:`matplotlib.pyplot.subplots`.

    Returns:
        The figure, and what ``subplots`` returns for its Axes.
    """
    return plt.subplots(num_rows, num_columns, figsize=(width, height), layout="constrained", **options)

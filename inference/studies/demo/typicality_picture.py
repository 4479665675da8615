"""The picture of typicality: what was shown, rate beside entropy, and how well each score tells it apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from inference.studies.demo.separation import Separation
from inference.studies.demo.separation_table import SCORES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["draw_typicality"]

_COLOURS = {
    "known": "0.55",
    "8 and 9": "#0072B2",
    "turned": "#D55E00",
    "inverted": "#CC79A7",
    "shuffled": "#009E73",
}
_MARKERS = {"known": "o", "8 and 9": "D", "turned": "^", "inverted": "s", "shuffled": "v"}


def draw_typicality(
    rows: Iterable[Mapping[str, Any]], found: Sequence[Separation], shown: Mapping[str, Tensor], path: Path
) -> None:
    """Draw examples, a scatter of one fit under the log-normal prior, and every score's areas with intervals.

    Args:
        rows: A row a fit and image, as ``typicality.fit_network`` returns them.
        found: The areas.
        shown: Images by their kind.
        path: PNG to write.
    """
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[0.13, 0.42, 0.45])
    _draw_examples(left.subplots(len(_COLOURS), 1), shown)
    first = [row for row in rows if row["network"] == "log-normal" and row["seed"] == 0]
    _draw_scatter(middle.subplots(), first)
    _draw_areas(right.subplots(), found)
    figure.savefig(path, dpi=150)


def _draw_examples(panels: Sequence[Axes], shown: Mapping[str, Tensor]) -> None:
    for axes, (kind, colour) in zip(panels, _COLOURS.items(), strict=True):
        axes.imshow(shown[kind][3, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(kind, fontsize="small", color="0.3" if kind == "known" else colour, pad=3)
        axes.set(xticks=[], yticks=[])


def _draw_scatter(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for kind, colour in _COLOURS.items():
        points = [row for row in rows if row["images"] == kind]
        entropy = [max(row["entropy"], 1e-6) for row in points]
        rate = [row["rate"] for row in points]
        style = {"s": 12, "alpha": 0.55, "linewidths": 0}
        axes.scatter(entropy, rate, color=colour, marker=_MARKERS[kind], label=kind, **style)  # type: ignore[arg-type]
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.set_xlabel("entropy of the prediction [nats]")
    axes.set_ylabel("rate [nats]")
    axes.set_title("log-normal prior, test images, seed 0", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_areas(axes: Axes, found: Sequence[Separation]) -> None:
    labels = {key: label for key, label in SCORES.items() if any((e.network, e.score) == key for e in found)}
    kinds = [kind for kind in _COLOURS if kind != "known"]
    for place, key in enumerate(labels):
        for entry in found:
            if (entry.network, entry.score) == key:
                y = place + 0.16 * (kinds.index(entry.images) - (len(kinds) - 1) / 2)
                colour = _COLOURS[entry.images]
                axes.plot([entry.low, entry.high], [y, y], color=colour, linewidth=1.5)
                axes.plot(entry.auroc, y, _MARKERS[entry.images], color=colour, markersize=5, clip_on=False)
    axes.axvline(0.5, color="0.4", linestyle=":", linewidth=1)
    axes.set_yticks(range(len(labels)), list(labels.values()))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("AUROC against known digits (0.5: chance)")
    axes.set_title("all seeds, bars are 95 % intervals", fontsize="medium")
    for place in range(1, len(labels)):
        axes.axhline(place - 0.5, color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)

"""The table of the scores that tell strange images apart, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from inference.studies.demo.separation import PCA_VARIANCE, Separation

__all__ = ["SCORES", "separation_markdown", "separation_table"]

SCORES: dict[tuple[str, str], str] = {
    ("no noise", "entropy"): "entropy, no noise",
    ("log-normal", "entropy"): "entropy",
    ("log-normal", "rate"): "rate, log-normal prior",
    ("log-normal", "both"): "rate and entropy",
    ("log-uniform", "rate"): "rate, log-uniform prior",
    ("log-uniform, ReLU", "rate"): "rate, log-uniform, ReLU",
    ("images", "PCA residual"): "PCA residual of pixels",
}
"""The scores that are shown, by network and score; the CSV file has all."""


def separation_table(found: Sequence[Separation]) -> Table:
    """Lay the areas out as a table of 80 columns."""
    table = Table(
        title="digits 0 to 7 against what the network has not seen: AUROC, 95 % intervals",
        caption="Bootstrap over test images and seeds; 0.5 is chance, below it the score is smaller than of known "
        "digits. Rate and entropy: the square of the rate's standard score plus that of the entropy where it is "
        f"above the median, standardised on held-out known digits. PCA keeps {PCA_VARIANCE:.0%} of the variance.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    kinds = _kinds(found)
    for name in ("score", *kinds):
        table.add_column(name, justify="left" if name == "score" else "right")
    for label, entries in _lines(found):
        table.add_row(label, *(f"{_number(e.auroc)}\n[{_number(e.low)}, {_number(e.high)}]" for e in entries))
    return table


def separation_markdown(found: Sequence[Separation]) -> list[str]:
    """The same table for a page."""
    kinds = _kinds(found)
    lines = [f"| score | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
    for label, entries in _lines(found):
        cells = [f"{e.auroc:.2f} [{e.low:.2f}, {e.high:.2f}]" for e in entries]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _kinds(found: Sequence[Separation]) -> list[str]:
    return list(dict.fromkeys(entry.images for entry in found))


def _lines(found: Sequence[Separation]) -> list[tuple[str, list[Separation]]]:
    by_key = {(e.network, e.score, e.images): e for e in found}
    return [
        (label, [by_key[*key, kind] for kind in _kinds(found)])
        for key, label in SCORES.items()
        if (*key, _kinds(found)[0]) in by_key
    ]


def _number(value: float) -> str:
    return f"{value:.2f}"

"""What the fits to wrong labels come to: the strength that each method chooses, and its errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.table import Table

from inference.studies.demo.grid import UNITS, Setting
from inference.studies.demo.summary import Mean

__all__ = ["Outcome", "outcome_markdown", "outcome_rows", "outcome_table", "outcomes"]

_COLUMNS = ("held_out_error", "held_out_error_clean", "test_error", "wrong_labels_learnt")
_LABELS = {
    "none": "no dropout",
    "early stopping": "no dropout, stopped early",
    "binary": "binary dropout",
    "constant": "constant noise",
    "information": "information dropout",
}
_HEAD = ("method", "strength", "test error, %", "grid, %", "wrong learnt, %")


@dataclass(frozen=True)
class Outcome:
    """A method at one strength, over its seeds; errors are shares, with the noise off.

    Args:
        setting: Method and strength.
        seeds: Number of fits.
        held_out_error: Of held-out images whose labels are wrong as often as those of the training set.
        held_out_error_clean: Of the same images with their right labels; nothing is chosen by it.
        test_error: Of test images with their right labels.
        wrong_labels_learnt: Share of the wrongly labelled training images that get their wrong label.
        chosen: Whether this is its method's choice: the least ``held_out_error``.
    """

    setting: Setting
    seeds: int
    held_out_error: Mean
    held_out_error_clean: Mean
    test_error: Mean
    wrong_labels_learnt: Mean
    chosen: bool = False


def outcomes(rows: Iterable[Mapping[str, Any]]) -> list[Outcome]:
    """Average over seeds, and mark what each method chooses by the held-out images with wrong labels.

    A fit that is never stopped is the last one of those that are, and has no choice.

    Args:
        rows: Rows of fits, as ``wrong_labels.fit_group`` returns them.
    """
    by_setting: dict[Setting, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_setting.setdefault(Setting(row["method"], row["option"], row["strength"]), []).append(row)
    averaged = {setting: _averaged(setting, fits) for setting, fits in by_setting.items()}
    chosen = {}
    for setting, outcome in averaged.items():
        best = chosen.get(setting.dropout)
        if best is None or outcome.held_out_error.rank < averaged[best].held_out_error.rank:
            chosen[setting.dropout] = setting
    marked = [replace(o, chosen=o.setting in chosen.values()) for o in averaged.values()]
    return [*_never_stopped(marked), *marked]


def outcome_table(found: Sequence[Outcome]) -> Table:
    """Lay the choices out as a table of 80 columns."""
    table = Table(
        title=f"40 % of the training labels wrong: {found[0].seeds} seeds, 95 % intervals",
        caption="Strength: least error on held-out images of which 40 % have a wrong label too. Test labels are "
        "right. Grid: least and largest mean test error over its strengths. Wrong learnt: share of the wrongly "
        "labelled training images that get their wrong label. Intervals: Student's t over seeds.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in _HEAD:
        table.add_column(name, justify="left" if name in _HEAD[:2] else "right")
    for cells in _choices(found):
        table.add_row(*cells)
    return table


def outcome_markdown(found: Sequence[Outcome]) -> list[str]:
    """The same table for a page."""
    return [
        f"| {' | '.join(_HEAD)} |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(cells)} |" for cells in _choices(found)),
    ]


def outcome_rows(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Rows of a CSV file, one a strength; ``_se`` is a standard error over seeds."""
    rows = []
    for outcome in found:
        setting = outcome.setting
        row: dict[str, Any] = {"method": setting.dropout, "option": setting.option or ""}
        row |= {"strength": setting.value, "seeds": outcome.seeds, "chosen": outcome.chosen}
        for name in _COLUMNS:
            mean: Mean = getattr(outcome, name)
            row |= {name: mean.value, f"{name}_se": mean.error}
        rows.append(row)
    return rows


def _averaged(setting: Setting, fits: Sequence[Mapping[str, Any]]) -> Outcome:
    means = {name: Mean.of([fit[name] for fit in fits]) for name in _COLUMNS}
    return Outcome(setting, len(fits), **means)


def _never_stopped(found: Sequence[Outcome]) -> list[Outcome]:
    stopped = [o for o in found if o.setting.dropout == "early stopping"]
    whole = max(stopped, key=lambda o: o.setting.value, default=None)
    return [] if whole is None else [replace(whole, setting=Setting("none"), chosen=True)]


def _choices(found: Sequence[Outcome]) -> list[tuple[str, ...]]:
    cells = []
    for method, label in _LABELS.items():
        grid = [o for o in found if o.setting.dropout == method]
        for outcome in grid:
            if outcome.chosen:
                errors = [o.test_error.value for o in grid]
                span = f"{100 * min(errors):.1f} to {100 * max(errors):.1f}" if len(grid) > 1 else ""
                learnt = f"{100 * outcome.wrong_labels_learnt.value:.0f}"
                cells.append((label, _strength(outcome.setting), outcome.test_error.percent(), span, learnt))
    return cells


def _strength(setting: Setting) -> str:
    return "" if setting.option is None else f"{UNITS[setting.option]} {setting.value:g}"

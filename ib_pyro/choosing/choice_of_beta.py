"""One beta out of a sweep, with the reason and the table behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from ib_pyro.choosing.held_out_curve import has_errors, held_out_column, held_out_curve
from ib_pyro.choosing.rules_of_choice import (
    knee_of,
    largest_within,
    one_standard_error_limit,
    smallest_below_rate,
)

__all__ = ["BetaChoice", "choose_beta"]


@dataclass(frozen=True)
class BetaChoice:
    """A beta that was chosen."""

    beta: float
    """Weight of the rate, per sample and in nats; one of those of the sweep."""
    why: str
    """The rule, the numbers that met it, and what to know of them, in a sentence or two."""
    at_edge: bool
    """Whether it is the last of the sweep on the side where the rule would go further."""
    table: pd.DataFrame
    """A row for each beta, means and standard errors over seeds, and which was ``chosen``."""

    def __str__(self) -> str:
        return f"beta = {self.beta:.4g}: {self.why}"


def choose_beta(
    sweep: pd.DataFrame | Mapping[str, Sequence[Any]],
    *,
    target_error: float | None = None,
    target_rate: float | None = None,
    knee: bool = False,
    one_standard_error: bool = False,
    error: str | None = None,
    distortion: str | None = None,
    rate: str | None = None,
) -> BetaChoice:
    """Choose a beta from a sweep, by one rule, on rows that no run was fitted to.

    Exactly one rule is given:

    * ``target_error``: the largest beta, the most forgetful program, whose held-out error is at most this;
    * ``target_rate``: the smallest beta, the best informed program, whose held-out rate is at most so many nats per
      sample;
    * ``knee``: where the held-out curve of distortion over rate is farthest from the chord between its ends: beyond it
      a nat of rate buys less than it does on average. It depends on the ends of the sweep;
    * ``one_standard_error``: the largest beta whose held-out error is within one standard error, over seeds, of the
      best (Breiman et al. 1984).

    Columns are averaged over seeds. Those of held-out rows are found by their name (``validation_error``,
    ``held_out_rate``; without a prefix where ``frame.attrs["held_out"]`` says so); any other is named by the user, who
    so vouches for it. Betas with a run that diverged are left out, and ``why`` says which.

    Args:
        sweep: A table with a row for each run: ``beta``, ``seed`` where there are several, and held-out columns. A
            mapping of columns is one too.
        target_error: Share of errors, in the column's unit.
        target_rate: Nats per sample.
        knee: Choose the knee.
        one_standard_error: Choose by the one-standard-error rule.
        error: Column that ``target_error`` and ``one_standard_error`` look at; without one, the distortion.
        distortion: Column of the distortion, for the knee.
        rate: Column of the rate.

    Returns:
        The choice.

    Raises:
        TypeError: If no rule is given, or several.
        ValueError: If no beta meets the rule, several that are no neighbours do, or a column is missing or of the
            training set; says the way out.

    >>> sweep = {
    ...     "beta": [1e-4, 1e-3, 1e-2, 1e-1],
    ...     "validation_error": [0.20, 0.11, 0.12, 0.31],
    ... }
    >>> choice = choose_beta(sweep, target_error=0.15)
    >>> choice.beta, choice.at_edge
    (0.01, False)
    """
    for name, target in (("target_error", target_error), ("target_rate", target_rate)):
        if target is not None and math.isnan(target):
            raise ValueError(f"{name} must be a number; got {target}")
    rules = {"target_error": target_error is not None, "target_rate": target_rate is not None}
    rules |= {"knee": knee, "one_standard_error": one_standard_error}
    wanted = [name for name, given in rules.items() if given]
    if len(wanted) != 1:
        raise TypeError(f"pass one rule of {', '.join(rules)}; got {' and '.join(wanted) or 'none'}")
    frame = sweep if isinstance(sweep, pd.DataFrame) else pd.DataFrame(dict(sweep))
    names = {"error": error, "distortion": distortion, "rate": rate}
    for quantity, column in names.items():
        if column is not None:
            held_out_column(frame, quantity, column)
    score = _score(frame, names) if wanted[0] in ("target_error", "one_standard_error") else "error"
    needed = {"knee": ("rate", "distortion"), "target_rate": ("rate",)}.get(wanted[0], (score,))
    columns = {quantity: held_out_column(frame, quantity, names[quantity]) for quantity in needed}
    table = held_out_curve(frame, columns)
    curve = table[table["usable"]].reset_index(drop=True)
    last = len(curve) - 1
    if target_error is not None:
        row = largest_within(curve, score, target_error)
        at_edge, what = row == last, f"the largest beta whose held-out {score} is at most {target_error:.4g}"
    elif target_rate is not None:
        row = smallest_below_rate(curve, target_rate)
        at_edge, what = row == 0, f"the smallest beta whose held-out rate is at most {target_rate:.4g} nats"
    elif knee:
        row, at_edge, what = knee_of(curve), False, "the knee of the held-out curve of distortion over rate"
    else:
        limit = one_standard_error_limit(curve, score)
        row = largest_within(curve, score, limit)
        at_edge = row == last
        what = (
            f"the largest beta whose held-out {score} is within one standard error of the best ({limit:.4g})"
        )
    return _choice(table, curve, row, columns, what, at_edge=at_edge)


def _score(frame: pd.DataFrame, names: Mapping[str, str | None]) -> str:
    """Errors where there are any, or the distortion of programs that do not classify."""
    return "error" if names["error"] is not None or has_errors(frame) else "distortion"


def _choice(
    table: pd.DataFrame,
    curve: pd.DataFrame,
    row: int,
    columns: Mapping[str, str],
    what: str,
    *,
    at_edge: bool,
) -> BetaChoice:
    beta = float(curve["beta"].iloc[row])
    reached = ", ".join(
        f"{column} {curve[quantity].iloc[row]:.4g}"
        + (
            ""
            if pd.isna(curve[f"{quantity}_se"].iloc[row])
            else f" ± {curve[f'{quantity}_se'].iloc[row]:.2g}"
        )
        for quantity, column in columns.items()
    )
    seeds = int(curve["seeds"].iloc[row])
    why = f"{what}, of {len(curve)}: {reached} ({seeds} seed{'' if seeds == 1 else 's'})."
    if at_edge:
        why += " It is the last of the sweep on this side: a wider one may go further."
    left_out = table.loc[~table["usable"], "beta"].tolist()
    if left_out:
        why += f" Left out for runs that diverged: {', '.join(f'{each:.4g}' for each in left_out)}."
    return BetaChoice(beta, why, at_edge, table.assign(chosen=table["beta"] == beta))

"""The held-out curve of a sweep: a row for each beta, with means and standard errors over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from ib_pyro.choices import require_known
from ib_pyro.run_tables import has_diverged, require_runs

__all__ = ["has_errors", "held_out_column", "held_out_curve"]

HELD_OUT = ("validation_", "held_out_")
OF_TEST, OF_TRAINING = "test_", "train_"


def has_errors(frame: pd.DataFrame) -> bool:
    """Whether a table has errors of any rows, such as those of a program that classifies.

    Args:
        frame: A sweep's table.

    >>> (
    ...     has_errors(pd.DataFrame({"test_error_noisy": [0.1]})),
    ...     has_errors(pd.DataFrame({"standard_error": [0.1]})),
    ... )
    (True, False)
    """
    starts = tuple(f"{prefix}error" for prefix in (*HELD_OUT, OF_TEST, OF_TRAINING, ""))
    return any(str(column).startswith(starts) for column in frame.columns)


def held_out_column(frame: pd.DataFrame, quantity: str, given: str | None) -> str:
    """Return the column that holds a quantity of rows that no run was fitted to.

    Args:
        frame: A sweep's table; ``frame.attrs["held_out"]`` may say that columns without a prefix are of such rows.
        quantity: ``"error"``, ``"distortion"`` or ``"rate"``.
        given: The column that the user names, and vouches for; None to look for one.

    Raises:
        ValueError: If there is none, or several, or it is known to be of the training set.
    """
    columns = [str(column) for column in frame.columns]
    if given is not None:
        require_known(f"{quantity}=", given, columns)
        if given.startswith(OF_TRAINING):
            raise ValueError(
                f"{quantity}={given!r}: it is of the training set; name a column of held-out rows"
            )
        return given
    prefixes = (*HELD_OUT, "") if frame.attrs.get("held_out") else HELD_OUT
    found = [prefix + quantity for prefix in HELD_OUT if prefix + quantity in columns]
    found = found or [prefix + quantity for prefix in prefixes if prefix + quantity in columns]
    found = found or [c for c in columns if any(p and c.startswith(f"{p}{quantity}_") for p in prefixes)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{quantity}: columns {found} are of held-out rows; name one, as {quantity}={found[0]!r}"
        )
    raise ValueError(_describe_missing(frame, quantity, columns))


def _describe_missing(frame: pd.DataFrame, quantity: str, columns: Sequence[str]) -> str:
    if quantity in columns:
        whose = (
            "is of the training set" if frame.attrs.get("held_out") is False else "may be of the training set"
        )
        return (
            f"{quantity}: column {quantity!r} {whose}; sweep with validation=, or, if it is of held-out rows, say so: "
            f"{quantity}={quantity!r}"
        )
    tests = [column for column in columns if column.startswith(f"{OF_TEST}{quantity}")]
    if tests:
        return (
            f"{quantity}: there is {tests[0]!r} alone, which is no longer a test once beta is chosen by it; sweep "
            f"with a validation set, or name it if that is meant: {quantity}={tests[0]!r}"
        )
    return f"{quantity}: no column of held-out rows, such as 'validation_{quantity}', is in {list(columns)}"


def held_out_curve(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return means and standard errors over seeds, a row for each beta, in ascending order.

    Args:
        frame: A sweep's table, a row for each run.
        columns: The column of each quantity.

    Returns:
        ``beta``, ``seeds``, and of each quantity its mean and, as ``<quantity>_se``, the standard error of the mean
        over seeds, s / sqrt(n): NaN for one seed. Betas with a run that diverged, or has no number, are not
        ``usable``.

    Raises:
        ValueError: If beta is missing, no number, or given by site, a beta has a seed twice, rows are means over seeds
            already, or ``diverged`` is neither true nor false.
    """
    require_runs(frame)
    runs = _runs(frame)
    rows = [_row(beta, group, columns) for beta, group in runs.groupby("beta", sort=True)]
    curve = pd.DataFrame(rows)
    if not curve["usable"].any():
        raise ValueError(
            "every beta of the sweep has a run that diverged or has no number; sweep smaller steps"
        )
    return curve


def _runs(frame: pd.DataFrame) -> pd.DataFrame:
    if "beta" not in frame.columns:
        by_site = [str(column) for column in frame.columns if str(column).startswith("beta/")]
        hint = (
            f"it has one for each site, {by_site}, of which no single one is chosen"
            if by_site
            else "it has none"
        )
        raise ValueError(f"beta: the table needs a column 'beta', per sample; {hint}")
    beta = pd.to_numeric(frame["beta"], errors="coerce")
    wrong = ~(np.isfinite(beta) & (beta >= 0))
    if wrong.any():
        raise ValueError(f"beta: {frame['beta'][wrong].iloc[0]} is no weight of a rate, a number from 0 on")
    names = ["beta", "seed"] if "seed" in frame.columns else ["beta"]
    repeated = frame[frame.duplicated(names)]
    if len(repeated):
        run = {name: repeated[name].iloc[0] for name in names}
        raise ValueError(
            f"there are several rows of {run}, so that more than beta and the seed differs among the runs; pass the "
            "rows of one kind alone" + ("" if len(names) > 1 else ", or a column 'seed'")
        )
    return frame.assign(beta=beta)


def _row(beta: Any, group: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, Any]:  # noqa: ANN401
    row: dict[str, Any] = {"beta": float(beta), "seeds": len(group)}
    values = {quantity: group[column].to_numpy(dtype=float) for quantity, column in columns.items()}
    diverged = bool(has_diverged(group).any())
    row["usable"] = not diverged and all(bool(np.isfinite(each).all()) for each in values.values())
    for quantity, each in values.items():
        row[quantity] = float(each.mean())
        row[f"{quantity}_se"] = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else np.nan
    return row

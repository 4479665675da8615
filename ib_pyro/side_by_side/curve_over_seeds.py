"""A table of runs as a curve: means over seeds, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scipy.stats import t as student_t

from ib_pyro.choices import require_known
from ib_pyro.run_tables import has_diverged, require_one_of_each_seed, require_runs

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["curve"]


def curve(
    frame: pd.DataFrame | Iterable[Mapping[str, Any]], by: str = "beta", *, confidence: float = 0.95
) -> pd.DataFrame:
    """Average a table of runs over seeds, with intervals, in the order of what sets the points of a curve apart.

    The interval is Student's, ``mean ± t s / sqrt(n)`` over the n seeds of a point, and NaN for one seed.

    Args:
        frame: A row for each run, as :func:`ib_pyro.sweep` returns.
        by: The column that sets the points apart. Runs that have diverged are counted, and left out of the means.
        confidence: Level of the interval of the mean.

    Returns:
        A row for each value: ``by``, ``seeds`` (how many runs), ``diverged`` (how many more), and the mean of each
        other column of numbers, with ``<column>_low`` and ``<column>_high``. ``attrs["confidence"]`` is their level.
        :func:`ib_pyro.plots.plot_rate_distortion` draws the table.

    Raises:
        ValueError: If there is no such column or it has no value in a row, the level is not in (0, 1), two runs of one
            point have one seed, so that they differ in something else, rows are means already, or ``diverged`` is
            neither true nor false.

    >>> rows = [{"beta": 0.1, "seed": s, "rate": r} for s, r in enumerate([1.0, 2.0, 3.0])]
    >>> point = curve(rows).iloc[0]
    >>> int(point["seeds"]), float(point["rate"]), round(float(point["rate_low"]), 2)
    (3, 2.0, -0.48)
    """
    import pandas as pd

    table = frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(list(frame))
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a level in (0, 1); got {confidence}")
    require_known("by=", by, list(table.columns))
    require_runs(table)
    nowhere = int(table[by].isna().sum())
    if nowhere:
        raise ValueError(
            f"{by}: {nowhere} of {len(table)} rows have no value, and so belong to no point; drop them"
        )
    points = []
    for value, here in table.groupby(by, sort=True):
        require_one_of_each_seed(here, by, value, otherwise=", or average by= another column")
        failed = has_diverged(here)
        sound = here[~failed]
        point: dict[str, Any] = {by: value, "seeds": len(sound), "diverged": int(failed.sum())}
        for name in table.columns:
            if name not in (by, "seed", "diverged") and _has_numbers(table[name]):
                point |= _interval(name, sound[name].tolist(), confidence)
        points.append(point)
    found = pd.DataFrame(points)
    found.attrs["confidence"] = confidence
    return found


def _has_numbers(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf"


def _interval(name: str, numbers: Sequence[float], confidence: float) -> dict[str, float]:
    mean = half = math.nan
    if numbers:
        mean = math.fsum(numbers) / len(numbers)
    if len(numbers) > 1:
        variance = math.fsum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)
        quantile = float(student_t.ppf(0.5 + confidence / 2, len(numbers) - 1))
        half = quantile * math.sqrt(variance / len(numbers))
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}

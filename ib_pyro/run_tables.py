"""Tables with a row for each run, and those with a row for each point of a curve: how they are told apart and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["has_diverged", "has_means", "require_one_of_each_seed", "require_runs"]


def has_means(table: pd.DataFrame) -> bool:
    """Whether the rows are means over seeds, and say over how many: ``seeds``, and no ``seed`` of their own.

    >>> import pandas as pd
    >>> has_means(pd.DataFrame({"beta": [0.1], "seeds": [5]}))
    True
    >>> has_means(pd.DataFrame({"beta": [0.1], "seed": [5]}))
    False
    """
    return "seeds" in table and "seed" not in table


def require_runs(table: pd.DataFrame) -> None:
    """Refuse a table of means where one of runs is needed.

    Raises:
        ValueError: If its rows are means over seeds.
    """
    if has_means(table):
        raise ValueError(
            "the table's rows are means over 'seeds' already, whose spread cannot be seen; pass the table of the "
            "runs, a row for each, as sweep returns it"
        )


def has_diverged(table: pd.DataFrame) -> pd.Series:
    """Which runs have diverged, by the column ``diverged``; none without one.

    Raises:
        ValueError: If the column holds anything but true and false, such as text, which is all true.

    >>> import pandas as pd
    >>> has_diverged(pd.DataFrame({"diverged": [True, False]})).tolist()
    [True, False]
    """
    import pandas as pd

    if "diverged" not in table:
        return pd.Series(False, index=table.index)
    flags = table["diverged"]
    wrong = ~flags.isin([True, False])
    if wrong.any():
        raise ValueError(
            f"diverged: {flags[wrong].tolist()[0]!r} is neither true nor false; give each run one of them, as "
            "frame['diverged'] == 'True' makes of text"
        )
    return flags.astype(bool)


def require_one_of_each_seed(here: pd.DataFrame, by: str, value: object, *, otherwise: str = "") -> None:
    """Refuse the runs of a point if two have one seed: then they differ in something else, and are no sample of it.

    Args:
        here: The runs of one point.
        by: The column that sets the points apart.
        value: Its value here.
        otherwise: What else may be done than to select the runs of one setting, with the comma before it.

    Raises:
        ValueError: If a seed stands in two rows.
    """
    repeated = here["seed"].duplicated() if "seed" in here else None
    if repeated is not None and repeated.any():
        seed = here["seed"][repeated].iloc[0]
        raise ValueError(
            f"{by}={value}: there are several runs with seed {seed}, which differ in something else; select those of "
            f"one setting, as frame[frame['lr'] == 0.1]{otherwise}"
        )

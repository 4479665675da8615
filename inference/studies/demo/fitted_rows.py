"""Rows of finished fits in a CSV file, so that none is done twice."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.json_and_csv import write_csv

__all__ = ["FittedRows"]

Row = dict[str, Any]


class FittedRows:
    """Rows that are written as they come, and read again by a later run.

    Args:
        path: The CSV file; it need not exist yet.
        settings: Columns that all rows share, such as ``{"epochs": 30}``.

    Raises:
        ValueError: If the file holds rows of other settings.
    """

    def __init__(self, path: Path, **settings: Any) -> None:
        self._path, self._settings = path, settings
        self._rows = _read(path) if path.exists() else []
        for row in self._rows:
            for name, value in settings.items():
                if row.get(name) != value:
                    raise ValueError(
                        f"--out {path.parent} already holds another demo ({path.name}: {name}: {row.get(name)} "
                        f"there, {value} here); choose a new folder"
                    )

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return list(self._rows)

    def of(self, **values: Any) -> list[Row]:
        """The rows that have these values."""
        return [row for row in self._rows if all(row[name] == value for name, value in values.items())]

    def add(self, rows: Sequence[Mapping[str, Any]], *, order: Sequence[str]) -> None:
        """Add rows and write the file whole, its rows sorted by the columns ``order``, whoever finished first.

        Args:
            rows: The rows. One takes the place of a row that has the same values in the columns ``order``, as who was
                stopped between two files has it already.
            order: Names of columns, by which a row is known.
        """
        new = [{**self._settings, **row} for row in rows]
        by_place = {tuple(row[name] for name in order): row for row in [*self._rows, *new]}
        self._rows = [by_place[place] for place in sorted(by_place)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_csv(self._path, self._rows)


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as handle:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(handle)]


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

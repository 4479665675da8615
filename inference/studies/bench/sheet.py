"""A table that is printed and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

__all__ = ["Sheet"]


@dataclass(frozen=True)
class Sheet:
    """A table of words and numbers; all columns but the first are set to the right.

    Args:
        title: What it shows, with units.
        columns: Names of the columns.
        rows: Cells.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """Return it for a terminal."""
        table = Table(title=self.title, title_justify="left")
        for position, name in enumerate(self.columns):
            table.add_column(name, justify="right" if position else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return it as Markdown, with its title as a line above."""
        marks = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [self.columns, marks, *self.rows]
        return "\n".join([f"{self.title}:", "", *(f"| {' | '.join(line)} |" for line in lines), ""])

"""What came of attacks as a table: a row for each kind, that of an earlier run replaced by a new one's."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path

from inference.json_and_csv import write_csv
from inference.studies.attack.attempts import Found, Kind

__all__ = ["keep_row"]


def keep_row(path: Path, kind: Kind, found: Found, words: Sequence[str], seconds: float) -> None:
    """Write what came of a kind into a CSV file, in which those of other kinds stay.

    Args:
        path: The file; it need not exist yet.
        kind: The kind.
        found: What came of its attempts.
        words: The words of the command line that made them.
        seconds: How long that took.
    """
    row = {
        "kind": kind.name,
        "attempts": str(found.attempts),
        "what came of them": found.told,
        "silent": str(len(found.silent)),
        "minutes": f"{seconds / 60:.1f}",
        "command": shlex.join(["python", "-m", "inference.studies.attack", *words]),
    }
    rows = {old["kind"]: old for old in _rows_of(path)} | {kind.name: row}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, [rows[name] for name in sorted(rows)])


def _rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))

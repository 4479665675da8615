"""JSON and CSV, written whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ib_pyro.files import written_whole

__all__ = ["csv_text", "read_json", "write_csv", "write_json", "write_text"]

SEAL = "checksum"


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, its lines ended as they are on every system."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any], *, sealed: bool = False) -> None:
    """Write JSON that any parser reads: numbers that are not finite become null.

    Args:
        path: Where to.
        content: What is written.
        sealed: Whether to add a checksum of it, under ``"checksum"``, that ``read_json`` looks at.
    """
    plain = _jsonable(content)
    if sealed:
        # First, so that who takes the line out leaves JSON.
        plain = {SEAL: _checksum(plain), **plain}
    write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, without its checksum if it has one.

    Raises:
        ValueError: If the file is no JSON object, or another one than its checksum says.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} is not JSON ({error}); remove it, or choose another folder") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, not an object; choose another folder")
    seal = content.pop(SEAL, None)
    if seal is not None and seal != _checksum(content):
        raise ValueError(
            f"{path} is not as it was written: its checksum is another; put back the file that was there, or take out "
            f'its line "{SEAL}" to have it read as it is'
        )
    return content


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the union of their columns, in the order in which columns first appear."""
    write_text(path, csv_text(rows))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """What ``write_csv`` writes of rows."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _checksum(content: Mapping[str, Any]) -> str:
    """Of what a JSON object says, whatever the order and the spaces in its file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _jsonable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not float("-inf") < value < float("inf"):
        return None
    return value

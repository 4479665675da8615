"""``python -m inference compare``: finished runs side by side, as a Markdown table."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from inference.cli.arguments import Parser

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "print finished runs as a Markdown table, seeds together"


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_needed(
        "runs", metavar="run", type=Path, nargs="+", help="folders of finished runs, whoever made them"
    )


def run(options: Namespace) -> int:
    """Read the results, and print the table."""
    from inference.runs.result_tables import comparison_table

    results, settings = zip(*[_read(folder) for folder in options.runs], strict=True)
    print("\n".join(comparison_table(results, settings)))
    return 0


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A run's result under the names of its settings, and what it is but for its seed."""
    from inference.runs.folder import RunFolder

    folder = RunFolder(path)
    result = folder.result()
    if result is None:
        raise ValueError(f"{path} has no result.json; finish the run with `fit --resume`")
    if not folder.config_file.exists() and {"model", "data"} <= result.keys():
        return result, None  # its columns say what it is
    spec = folder.spec()
    settings = {name: value for name, value in spec.identity().items() if name != "seed"}
    return {**spec.columns(), **result}, settings

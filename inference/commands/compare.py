"""``python -m inference compare``: finished runs side by side, as a Markdown table."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "print finished runs as a Markdown table, seeds together"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")


def run(options: Namespace) -> int:
    """Read the results, and print the table."""
    from inference.comparison import comparison_table
    from inference.files import read_json

    results = []
    for folder in options.runs:
        if not (folder / "result.json").exists():
            raise ValueError(f"{folder} has no result.json; finish the run with `fit --resume`")
        results.append(read_json(folder / "result.json"))
    print("\n".join(comparison_table(results)))
    return 0

"""``python -m inference compare``: finished runs side by side, as a Markdown table."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

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
    from inference.runs.finished import (
        changed_since,
        places_of,
        read_failed,
        read_finished,
        require_distinct,
        what_they_are,
    )
    from inference.runs.result_tables import comparison_table

    failed = {folder: found for folder in options.runs if (found := read_failed(folder))}
    runs = [read_finished(folder) for folder in options.runs if folder not in failed]
    require_distinct(runs)
    results = [run.result for run in runs]
    told = what_they_are(runs)
    places = {folder: places_of(each, runs, told) for folder, each in failed.items()}
    if runs:
        lost = [found[0] for found in places.values() if len(found) == 1]
        print("\n".join(comparison_table(results, told, missing=lost)))
    for folder, each in failed.items():
        where = f" (a seed of one of {n} lines)" if (n := len(places[folder])) > 1 else ""
        print(f"failed: {each.path}: {each.told}{where}")
    # The numbers are those of the fit, and a line of the table has one digest of each file.
    for changed in filter(None, map(changed_since, options.runs)):
        print(f"changed: {changed}")
    unverified = sum(not run.is_verified for run in runs)
    if unverified:
        print(f"unverified: {unverified} of {len(runs)}, written by an earlier version without a digest")
    return 0

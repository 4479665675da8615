"""The page of results, written from the figures' CSVs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from inference.json_and_csv import write_text
from inference.studies.paper.evidence import NOT, REPRODUCED
from inference.studies.paper.figure import Figure
from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.methods import METHODS, chosen_settings, trials_of
from inference.studies.paper.missing import missing_runs
from inference.studies.paper.plan import FRESH
from inference.studies.paper.runner import with_numbers
from inference.studies.paper.statistics import full_runs, levels, read_rows, size_name, sizes_in_words
from inference.studies.paper.unification import summary_row, unification_section
from inference.studies.paper.verdicts import Claim

__all__ = ["error_table", "results_page", "write_results"]

_ERRORS = ("noise", "strength", "size", "seeds", "N [%]", "D [%]", "rate [nats per image]")
_DECIDED = (REPRODUCED, NOT)
_HEAD = """# What of the paper we reproduce

Achille & Soatto, *Information Dropout: Learning Optimal Representations Through Noisy Computation*
(arXiv:1611.01353). This page is written by `python -m inference paper results` from the CSV files beside the
figures; do not edit it.

Errors are shares of the test images: D with the noise off and batch-norm statistics re-estimated without it, N
with one noise sample an image. Rates are nats per sample. β × N is the paper's unit of beta: the weight of the
rate per sample times the number of training images. No method's setting was chosen on test images; where a preset
was revised after its results were seen, it is said below the figure. A verdict follows the rule beside it, and the
[rules for all of them](studies/paper/RULES.md), which were written before the runs of the preset `definitive`.
Every test is one-sided, at 5 %, over the seeds; ± is half of a 90 % interval, each end of which is a one-sided 95 %
bound. Where a claim has several parts, each must hold; it is not reproduced where one fails at 5 % divided by their
number. "Rules made on these seeds" warns that the numbers were known when their rule was made: that is no test of a
claim.
"""


def write_results(numbers: Path) -> Path:
    """Write ``RESULTS.md`` beside the folder of the CSVs.

    Args:
        numbers: Folder with ``<figure>.csv`` and ``<figure>.png``.

    Returns:
        The page.

    Raises:
        ValueError: If the folder has no CSV.
    """
    rows = {name: read_rows(numbers / f"{name}.csv") for name in with_numbers(numbers)}
    missing = {name: missing_runs(numbers / f"{name}.csv") for name in rows}
    text = results_page(rows, pictures=numbers.name, missing=missing)
    page = numbers.parent / "RESULTS.md"
    write_text(page, text)
    return page


def results_page(
    rows: dict[str, pd.DataFrame], *, pictures: str, missing: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """Compose the page.

    Args:
        rows: Rows of each figure that was run.
        pictures: Folder of the pictures, from where the page lies.
        missing: Of figures the runs that failed, each with the reason.

    Returns:
        Markdown.
    """
    every = [figure(name) for name in FIGURES]
    lost = missing or {}
    sections = [_section(each, rows.get(each.name), pictures, lost.get(each.name, {})) for each in every]
    return "\n".join([_HEAD, _summary(every, rows), *sections, unification_section()])


def error_table(rows: pd.DataFrame) -> list[str]:
    """Lines of a Markdown table: errors with one noise sample (N) and without noise (D), ± their standard error.

    Args:
        rows: Rows of runs, a row a seed; those that agree in all else are one line of the table.

    Returns:
        The lines, in the order in which the groups first appear, by size.
    """
    rows = rows if "setting" in rows else rows.assign(setting=math.nan)
    lines = [f"| {' | '.join(_ERRORS)} |", f"|{'---|' * len(_ERRORS)}"]
    for _, at_size in rows.groupby("size"):
        for (dropout, setting), runs in at_size.groupby(["dropout", "setting"], sort=False, dropna=False):
            cells = [
                dropout,
                "" if setting is None or math.isnan(setting) else f"{METHODS[dropout].short}{setting:g}",
                size_name(runs["size"].iloc[0]),
                str(len(runs)),
                _with_error(100 * runs["test_error_noisy"]),
                _with_error(100 * runs["test_error_deterministic"]),
                f"{statistics.fmean(runs['rate']):.1f}" if dropout == "information" else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _summary(figures: list[Figure], rows: dict[str, pd.DataFrame]) -> str:
    lines = ["| where | claim | verdict |", "|---|---|---|"]
    for each in figures:
        for claim in each.claims:
            word = _verdict(each, claim, rows[each.name]) if each.name in rows else "not run"
            lines.append(f"| {each.heading} | {claim.words} | {word} |")
    lines.append(summary_row())
    return "\n".join([*lines, ""])


def _section(shown: Figure, rows: pd.DataFrame | None, pictures: str, missing: Mapping[str, str]) -> str:
    lines = [f"## {shown.heading}: {shown.title}", ""]
    preset = "small" if rows is None else rows["preset"].iloc[0]
    command = f"    python -m inference paper {shown.name} --preset {preset} --data-root DIR --out DIR"
    if rows is None:
        return "\n".join([*lines, "Not run yet.", "", command, ""])
    runs = rows[rows["num_train"].notna()]
    lines += [
        f"Sizes: {_sizes(runs)}. Seeds: {_seeds(shown, rows)}.",
        "",
        *[f"**Missing**, since it failed: {run} ({why})." for run, why in missing.items()],
        *([""] if missing else []),
        command,
        "",
        f"![{shown.title}]({pictures}/{shown.name}.png)",
        "",
        *_samples(shown.samples, pictures),
        "| claim | paper | ours | interval | rule | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for claim in shown.claims:
        found = shown.judge(claim, rows)
        word = _verdict(shown, claim, rows)
        cells = (claim.words, claim.paper, found.ours, found.interval, claim.rule, f"**{word}**")
        lines.append(f"| {' | '.join(cells)} |")
    remark = ["", shown.remark] if shown.remark else []
    measured = ["", *shown.table(rows)] if shown.table is not None else []
    return "\n".join([*lines, *_choices(rows), *measured, *remark, ""])


def _sizes(runs: pd.DataFrame) -> str:
    first = runs.iloc[0]
    model = first["model"]
    shown = ", ".join(f"{v:g}" if model == "vae" else size_name(v) for v in levels(runs, "size"))
    sizes = {"mlp": f"{shown} units a layer", "vae": f"k = {shown}"}.get(model, f"{shown} of the filters")
    return f"{sizes_in_words(full_runs(runs))}; {model} with {sizes}, {first['data']}"


def _samples(data: str | None, pictures: str) -> list[str]:
    if data is None:
        return []
    return [
        "Some of its images (`python -m inference paper samples --data-root DIR --out DIR`):",
        "",
        f"![images of {data}]({pictures}/samples-{data}.png)",
        "",
    ]


def _choices(rows: pd.DataFrame) -> list[str]:
    """What each method chose, and the errors that it then has."""
    trials = trials_of(rows)
    chosen = []
    for name, value in chosen_settings(rows).items():
        tried = ", ".join(f"{each:g}" for each in levels(trials[trials["dropout"] == name], "setting"))
        chosen.append(f"{name}: {METHODS[name].unit} {value:g} of {tried}")
    if not chosen:
        return []
    count = (
        len(trials.groupby(["dropout", "setting"]).size())
        and len(trials) // trials.groupby(["dropout", "setting"]).ngroups
    )
    second = rows[rows["stage"].isin(["second beta", "protocol"])]
    also = "; information dropout at its chosen β and at a second one" if len(second) else ""
    if "protocol" in set(second["stage"]):
        also = "; with the strengths of the paper's protocol as well"
    return [
        "",
        f"Strengths, each chosen by D on held-out images, in {'one fit' if count == 1 else f'{count} fits'} a "
        f"candidate: {'; '.join(chosen)}. The "
        "best of all strengths may lie beyond a choice at the edge of its candidates.",
        "",
        f"Test errors ± their standard error over the seeds{also}:",
        "",
        *error_table(
            pd.concat([full_runs(rows), second]).drop_duplicates(["dropout", "setting", "size", "seed"])
        ),
    ]


def _verdict(shown: Figure, claim: Claim, rows: pd.DataFrame) -> str:
    """The verdict, with a word of caution where the rules were made on the seeds that it is about."""
    verdict = shown.judge(claim, rows).verdict
    seen = not set(levels(full_runs(rows), "seed")) <= set(FRESH)
    return f"{verdict} (rules made on these seeds)" if seen and verdict in _DECIDED else verdict


def _seeds(shown: Figure, rows: pd.DataFrame) -> str:
    """The seeds, and how many were planned where some are missing."""
    found = levels(full_runs(rows), "seed")
    planned = len(shown.size(rows["preset"].iloc[0]).seeds)
    short = f" ({len(found)} of {planned} planned)" if len(found) < planned else ""
    return f"{', '.join(f'{seed:g}' for seed in found)}{short}"


def _with_error(values: Sequence[float] | pd.Series) -> str:
    values = list(values)
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}"

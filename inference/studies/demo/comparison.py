"""The whole demo: runs, table and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.progress
from rich.console import Console

from inference.json_and_csv import write_csv
from inference.runs.pool import run_all
from inference.runs.spec import RunSpec
from inference.studies.demo.grid import Setting, grid_specs
from inference.studies.demo.summary import Summary, summarize
from inference.studies.demo.table import summary_rows, summary_table

__all__ = ["compare"]

Results = dict[Setting, list[dict[str, Any]]]
Specs = Mapping[Setting, Mapping[str, RunSpec]]


def compare(
    out: Path, *, seeds: int = 3, epochs: int = 30, processes: int = 2, console: Console | None = None
) -> list[Summary]:
    """Fit information, binary, constant-noise and no dropout to small digits, and compare them.

    What is done already is not done again.

    Args:
        out: Folder for the runs, ``summary.csv``, ``rate_distortion.png`` and ``alpha.png``.
        seeds: Runs of each setting.
        epochs: Length of each run.
        processes: Runs at a time.
        console: Where to print; standard output by default.

    Returns:
        A summary for each setting.

    Raises:
        ValueError: If the folder holds anything else.
    """
    console = console or Console()
    specs = grid_specs(seeds=seeds, epochs=epochs)
    _check_folder(out)
    results = _run(out / "runs", specs, processes, console)
    summaries = summarize(results)
    write_csv(out / "summary.csv", summary_rows(summaries))
    _draw(out, specs, results, summaries)
    console.print(summary_table(summaries))
    console.print(
        f"runs, summary.csv, rate_distortion.png and alpha.png are in {out}", highlight=False, soft_wrap=True
    )
    return summaries


def _check_folder(out: Path) -> None:
    if out.is_file():
        raise ValueError(f"--out {out} is a file; choose a new folder")
    if out.exists() and any(out.iterdir()) and not (out / "runs").is_dir():
        raise ValueError(f"--out {out} is not empty and holds no demo; choose a new folder")


def _run(out: Path, specs: Specs, processes: int, console: Console) -> Results:
    jobs = [(spec, out / name) for runs in specs.values() for name, spec in runs.items()]
    done: dict[str, dict[str, Any]] = {}
    with rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(), console=console, transient=True
    ) as bar:
        task = bar.add_task(f"{len(jobs)} fits", total=len(jobs))
        for folder, result in run_all(jobs, processes=processes):
            done[folder.name] = result
            bar.advance(task)
    return {setting: [done[name] for name in runs] for setting, runs in specs.items()}


def _draw(out: Path, specs: Specs, results: Results, summaries: list[Summary]) -> None:
    from inference.runs.run import load_run
    from inference.studies.demo.pictures import draw_alpha, draw_rate_distortion

    draw_rate_distortion(results, summaries, out / "rate_distortion.png")
    best = next(s.setting for s in summaries if s.chosen and s.setting.dropout == "information")
    program, splits = load_run(out / "runs" / next(iter(specs[best])))
    title = f"information dropout, beta_paper {best.value:g}, seed 0: noise learned for test digits"
    draw_alpha(program, splits.test, out / "alpha.png", title=title)

"""The whole demo: runs, table and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.progress
from rich.console import Console

from inference.config import FitConfig
from inference.demo.grid import Setting, grid_configs
from inference.demo.summary import Summary, summarize
from inference.demo.table import summary_rows, summary_table
from inference.files import write_csv
from inference.parallel import run_all

__all__ = ["compare"]

Results = dict[Setting, list[dict[str, Any]]]


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
    configs = grid_configs(out / "runs", seeds=seeds, epochs=epochs)
    _check_folder(out)
    results = _run(configs, processes, console)
    summaries = summarize(results)
    write_csv(out / "summary.csv", summary_rows(summaries))
    _draw(out, configs, results, summaries)
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


def _run(configs: Mapping[Setting, list[FitConfig]], processes: int, console: Console) -> Results:
    every = [config for runs in configs.values() for config in runs]
    done: dict[Path, dict[str, Any]] = {}
    with rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(), console=console, transient=True
    ) as bar:
        task = bar.add_task(f"{len(every)} fits", total=len(every))
        for config, result in run_all(every, processes=processes):
            done[config.out] = result
            bar.advance(task)
    return {setting: [done[config.out] for config in runs] for setting, runs in configs.items()}


def _draw(
    out: Path, configs: Mapping[Setting, list[FitConfig]], results: Results, summaries: list[Summary]
) -> None:
    from inference.demo.figures import draw_alpha, draw_rate_distortion
    from inference.experiment import load_run

    draw_rate_distortion(results, summaries, out / "rate_distortion.png")
    best = next(s.setting for s in summaries if s.chosen and s.setting.dropout == "information")
    program, test = load_run(configs[best][0].out)
    title = f"information dropout, beta_paper {best.value:g}, seed 0: noise learned for test digits"
    draw_alpha(program, test, out / "alpha.png", title=title)

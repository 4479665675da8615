"""What ``python -m inference paper`` does."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from ib_pyro.data.request import data_root as resolve_data_root
from inference.names import require_known
from inference.studies.paper.figures import figures_of
from inference.studies.paper.names import FIGURES
from inference.studies.paper.place import Place
from inference.studies.paper.plan import PRESETS
from inference.studies.paper.runner import draw_figure, run_figure, with_numbers

__all__ = ["run_paper"]


def run_paper(
    what: str,
    *,
    preset: str = "small",
    data_root: Path | None = None,
    out: Path = Path("runs/paper"),
    jobs: int = 1,
    numbers: Path = Path("inference/figures"),
) -> None:
    """Run a figure or all of them, draw them again from their CSVs, draw samples, or write the page of results.

    Args:
        what: A name in `FIGURES`, ``"all"`` (of the preset), ``"samples"``, ``"draw"`` or ``"results"``.
        preset: Size of the runs.
        data_root: Folder of the real images; by default the environment's IB_PYRO_DATA.
        out: Folder of figures and runs.
        jobs: Runs at a time.
        numbers: Folder of the CSVs that ``"results"`` and ``"draw"`` read, and of the pictures that they show.

    Raises:
        ValueError: If a name is unknown, ``jobs`` is below 1, a preset that needs real images has none, or there is
            no CSV to read.
    """
    console = Console(stderr=True)
    require_known("figure", what, [*FIGURES, "all", "samples", "draw", "results"])
    require_known("preset", preset, PRESETS)
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {jobs}")
    if what == "results":
        from inference.studies.paper.page import write_results

        console.print(f"written: {write_results(numbers)}", highlight=False, soft_wrap=True)
        return
    if what == "draw":
        for name in with_numbers(numbers):
            draw_figure(name, numbers / f"{name}.csv", numbers, suffixes=("png",))
            console.print(f"drawn: {numbers / name}.png", highlight=False, soft_wrap=True)
        return
    root = resolve_data_root(data_root)
    if root is None and preset != "smoke":
        raise ValueError(
            f"--preset {preset} needs the real images: pass --data-root DIR or set IB_PYRO_DATA; only smoke makes "
            "do with stand-ins"
        )
    place = Place(out, root)
    if what == "samples":
        from inference.studies.paper.samples import draw_samples

        for path in draw_samples(place, out):
            console.print(f"drawn: {path}", highlight=False, soft_wrap=True)
        return
    names = figures_of(preset) if what == "all" else [what]
    start = time.perf_counter()
    for done, name in enumerate(names, start=1):
        run_figure(name, preset, place, jobs=jobs, console=console)
        if len(names) > 1:
            minutes = (time.perf_counter() - start) / 60
            console.print(f"{done} of {len(names)} figures done, in {minutes:.1f} minutes", highlight=False)

"""What ``python -m inference paper`` does."""

from __future__ import annotations

from pathlib import Path

from ib_pyro.data.request import data_root as resolve_data_root
from inference.names import require_known
from inference.paper.presets import PRESETS
from inference.paper.run import Place
from inference.paper.runner import FIGURES, draw_figure, run_figure

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
    """Run a figure or all of them, draw them again from their CSVs, or write the page of results.

    Args:
        what: A key of `FIGURES`, ``"all"``, ``"draw"`` or ``"results"``.
        preset: Size of the runs.
        data_root: Folder of the real images; by default the environment's IB_PYRO_DATA.
        out: Folder of figures and runs.
        jobs: Runs at a time.
        numbers: Folder of the CSVs that ``"results"`` and ``"draw"`` read, and of the pictures that they show.

    Raises:
        ValueError: If a name is unknown, ``jobs`` is below 1, or a preset that needs real images has none.
    """
    require_known("figure", what, [*FIGURES, "all", "draw", "results"])
    require_known("preset", preset, PRESETS)
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {jobs}")
    if what == "results":
        from inference.paper.results import write_results

        write_results(numbers)
        return
    if what == "draw":
        for name in FIGURES:
            if (numbers / f"{name}.csv").exists():
                draw_figure(name, numbers / f"{name}.csv", numbers, suffixes=("png",))
        return
    root = resolve_data_root(data_root)
    if root is None and preset != "smoke":
        raise ValueError(
            f"--preset {preset} needs the real images: pass --data-root DIR or set IB_PYRO_DATA; only smoke makes "
            "do with stand-ins"
        )
    for name in FIGURES if what == "all" else (what,):
        run_figure(name, preset, Place(out, root), jobs=jobs)

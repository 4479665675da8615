"""What it does not do: with right labels, none of the dropouts errs less than no dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import RenderableType

from inference.json_and_csv import write_csv
from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec
from inference.studies.demo.grid import Setting, grid_specs
from inference.studies.demo.study import Study, Work
from inference.studies.demo.summary import Summary, summarize
from inference.studies.demo.table import summary_markdown, summary_rows, summary_table

__all__ = ["CleanLabels", "Job", "fit_run"]

Job = tuple[RunSpec, Path]


class CleanLabels(Study):
    """Information, binary, constant-noise and no dropout on small digits with right labels.

    Args:
        out: Folder of ``runs/`` (a folder a fit, as ``python -m inference fit`` makes them), ``clean_labels.csv``
            (a row a setting), ``rate_distortion.png`` and ``alpha.png``.
        seeds: Runs of each setting.
        epochs: Length of each run.
    """

    name = "right labels"

    def __init__(self, out: Path, *, seeds: int, epochs: int) -> None:
        self._out = out
        self._specs = grid_specs(seeds=seeds, epochs=epochs)

    def waiting(self) -> list[Work]:
        """A share for each run that is not done, once no folder has been found to hold another."""
        runs = [(spec, self._folder(name)) for specs in self._specs.values() for name, spec in specs.items()]
        for spec, folder in runs:
            folder.check(spec, resume=True)
        return [
            Work(self.name, fit_run, (spec, folder.path)) for spec, folder in runs if folder.result() is None
        ]

    def keep(self, found: tuple[str, dict[str, Any]]) -> list[str]:
        """Say what a run came to; its folder has it already."""
        name, result = found
        return [f"{name}: held-out error {result['validation_error_deterministic']:.1%}"]

    def finish(self) -> None:
        """Choose on held-out images, and draw."""
        summaries = self.summaries()
        write_csv(self._out / "clean_labels.csv", summary_rows(summaries))
        self._draw(summaries)

    def table(self) -> RenderableType:
        """Errors of every setting."""
        return summary_table(self.summaries())

    def markdown(self) -> list[str]:
        """What each method chose, for a page, a line each."""
        return summary_markdown(self.summaries())

    def summaries(self) -> list[Summary]:
        """Every setting over its seeds."""
        return summarize(self._results())

    def _results(self) -> dict[Setting, list[dict[str, Any]]]:
        return {
            setting: [self._folder(name).result() or {} for name in specs]
            for setting, specs in self._specs.items()
        }

    def _folder(self, name: str) -> RunFolder:
        return RunFolder(self._out / "runs" / name)

    def _draw(self, summaries: list[Summary]) -> None:
        from inference.runs.run import load_run
        from inference.studies.demo.pictures import draw_alpha, draw_rate_distortion

        draw_rate_distortion(self._results(), summaries, self._out / "rate_distortion.png")
        best = next(s.setting for s in summaries if s.chosen and s.setting.dropout == "information")
        program, splits = load_run(self._folder(next(iter(self._specs[best]))).path)
        title = f"information dropout, beta_paper {best.value:g}, seed 0: noise learned for test digits"
        draw_alpha(program, splits.test, self._out / "alpha.png", title=title)


def fit_run(job: Job) -> tuple[str, dict[str, Any]]:
    """Fit a run, or go on with it; return the name of its folder and its result."""
    from inference.runs.run import run

    spec, out = job
    return out.name, run(spec, out, resume=True, progress=False)

"""The whole demo: two things that information dropout is for, and one that it is not."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from inference.json_and_csv import write_text
from inference.studies.demo.clean_labels import CleanLabels
from inference.studies.demo.study import Study, run_studies
from inference.studies.demo.typicality import Typicality
from inference.studies.demo.wrong_labels import WrongLabels

__all__ = ["run_demo"]


def run_demo(
    out: Path, *, seeds: int = 5, epochs: int = 30, processes: int = 2, console: Console | None = None
) -> list[str]:
    """Fit scikit-learn's digits with wrong labels, without two classes, and as they are; tables and figures of each.

    What is done already is not done again. The same call makes the same files, byte for byte, on one machine.

    Args:
        out: Folder of all that the three studies write (see each), and of ``tables.md``.
        seeds: Fits of each setting; with right labels three at most.
        epochs: Length of each fit; those of ``typicality`` are half as long.
        processes: Fits at a time.
        console: Where to print; standard output by default.

    Returns:
        Why fits failed, a line each; a study that lacks one is not finished.

    Raises:
        ValueError: If the folder holds anything else.
    """
    console = console or Console()
    _check_folder(out)
    wrong = WrongLabels(out, seeds=seeds, epochs=epochs)
    typicality = Typicality(out, seeds=seeds, epochs=max(1, epochs // 2))
    clean = CleanLabels(out, seeds=min(seeds, 3), epochs=epochs)
    studies: list[Study] = [typicality, wrong, clean]
    failed = run_studies(studies, processes=processes, console=console)
    unfinished = [study for study, _ in failed]
    shown: tuple[Study, ...] = (wrong, typicality, clean)
    for study in shown:
        if study not in unfinished:
            console.print(study.table())
    if failed:
        return [f"{study.name}: no table, since a fit failed: {failure.message}" for study, failure in failed]
    write_text(out / "tables.md", "\n\n".join("\n".join(study.markdown()) for study in shown) + "\n")
    console.print(
        f"in {out}: wrong_labels.png, typicality.png, tables.md, and the numbers behind them",
        highlight=False,
        soft_wrap=True,
    )
    return []


def _check_folder(out: Path) -> None:
    if out.is_file():
        raise ValueError(f"--out {out} is a file; choose a new folder")
    if out.exists() and any(out.iterdir()) and not _OURS & {entry.name for entry in out.iterdir()}:
        raise ValueError(f"--out {out} is not empty and holds no demo; choose a new folder")


_OURS = {"runs", "wrong_labels_fits.csv", "typicality_fits.csv"}

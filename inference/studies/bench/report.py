"""The page of results, and the notes that are taken into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from inference.json_and_csv import write_text
from inference.studies.bench.growth_figure import draw_growth
from inference.studies.bench.results import Results
from inference.studies.bench.sheets import (
    comparison_sheet,
    curve_sheet,
    growth_sheet,
    memory_sheet,
    start_up_sheet,
    target_sheet,
)
from inference.studies.bench.targets import NOT_MET, TARGETS, verdict

__all__ = ["NOTES", "page", "read_notes", "write_page"]

NOTES, NUMBERS, PAGE, PICTURE = "NOTES.md", "results.json", "RESULTS.md", "growth.png"
HEAD = """# What ib_pyro costs

Written by the command below, with the reasons in [{notes}]({notes}); do not edit it. Ratios are medians over pairs of
neighbouring blocks, one of each way in turn in one process, with their quartiles. For one thread they are of processor
time, which what else runs does not add to (though it slows caches and memory); for more, of the clock's. "By hand" is
the same mathematics in plain PyTorch, exact atom included, with the same fused optimiser; tests show that loss and
gradient are the same. "Captured" is `fit(..., capture="on")`, which long fits choose by themselves, "uncaptured"
`fit(..., capture="off")`. "Pyro's SVI" is `SVI` with `TraceMeanField_ELBO` on the same program, "Pyro's tutorial" the
program and loop of https://pyro.ai/examples/vae.html, and NumPyro's epoch is compiled as a whole.
"""


def write_page(results: Results, folder: Path) -> Path:
    """Write page, picture and numbers into a folder.

    Args:
        results: What was measured.
        folder: Where to; notes that lie there are taken in.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder / NUMBERS)
    if results.growth:
        draw_growth(results.growth, folder / PICTURE)
    notes = read_notes(folder / NOTES)
    write_text(folder / PAGE, page(results, notes))
    return folder / PAGE


def page(results: Results, notes: Mapping[str, str]) -> str:
    """Compose the page.

    Args:
        results: What was measured.
        notes: Why a target is not met, by its name.

    Returns:
        Markdown.
    """
    parts = [HEAD.format(notes=NOTES), f"    {results.command}\n", _machine(results)]
    parts += ["## Targets\n", target_sheet(results).markdown(), _reasons(results, notes)]
    if results.not_measured:
        lines = [f"- {name}: {reason}." for name, reason in results.not_measured.items()]
        parts += ["Not measured:\n", "\n".join(lines), ""]
    if results.comparisons:
        parts += [
            "## Steps and epochs\n",
            *(comparison_sheet(each).markdown() for each in results.comparisons),
        ]
    if results.memory:
        parts += ["## Peak memory\n", memory_sheet(results.memory).markdown()]
    if results.growth:
        parts += ["## Growth\n", *_growth(results)]
    if results.start_up:
        parts += ["## Start-up\n", start_up_sheet(results.start_up).markdown()]
    return "\n".join(parts)


def read_notes(path: Path) -> dict[str, str]:
    """Return the text under each heading of the second level; nothing where there is no file.

    Raises:
        ValueError: If a heading is no target's name.
    """
    if not path.is_file():
        return {}
    parts = re.split(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    notes = {name.strip(): text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    unknown = sorted(notes.keys() - {target.name for target in TARGETS})
    if unknown:
        raise ValueError(f"{path}: no target is called {unknown[0]!r}; name one as the table of targets does")
    return notes


def _machine(results: Results) -> str:
    lines = [f"| date | {results.date}, {results.minutes:.1f} minutes |"]
    lines += [f"| {name} | {words} |" for name, words in results.machine.items()]
    return "\n".join(["| | |", "|---|---|", *lines, ""])


def _reasons(results: Results, notes: Mapping[str, str]) -> str:
    missed = dict.fromkeys(target.name for target in TARGETS if verdict(target, results) == NOT_MET)
    lines = [f"- **{name}**: {notes.get(name, 'no reason is noted yet.')}" for name in missed]
    return "\n".join(["Why those that are not met are not:\n", *lines, ""]) if lines else ""


def _growth(results: Results) -> list[str]:
    words = (
        "A step of the MLP along an axis, all else at width 64, batch 100 and three sites. The work that costs are "
        "compared with is the number of multiplications for the width, and the value on every other axis. "
        '"Linear" says from which value on costs grow like it (a slope of at least 0.75 to the next value: before '
        "that, a fixed cost shows), and where they begin to grow faster (a slope above 1.25).\n"
    )
    picture = f"![time and peak memory of a step along each axis]({PICTURE})\n"
    curves = (curve_sheet(each).markdown() for each in results.growth)
    return [words, picture, growth_sheet(results.growth).markdown(), *curves]

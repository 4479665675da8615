"""The page of results, written from the figures' CSVs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.files import write_atomically
from inference.paper.claims import CLAIMS
from inference.paper.error_table import error_table
from inference.paper.estimates import NOT, REPRODUCED
from inference.paper.judges import Finding
from inference.paper.numbers import select, size_name, sizes_in_words, values_of
from inference.paper.runner import FIGURES, figure_module, read_rows

__all__ = ["results_page", "write_results"]

Row = dict[str, Any]

_DECIDED = (REPRODUCED, NOT)
_HEAD = """# What of the paper we reproduce

Achille & Soatto, *Information Dropout: Learning Optimal Representations Through Noisy Computation*
(arXiv:1611.01353). This page is written by `python -m inference paper results` from the CSV files beside the
figures; do not edit it.

Errors are shares of the test images: D with the noise off and batch-norm statistics re-estimated without it, N
with one noise sample an image. Rates are nats per sample. β × N is the paper's unit of beta: the weight of the
rate per sample times the number of training images. No method's setting was chosen on test images; where a preset
was revised after its results were seen, it is said below the figure. A verdict follows the rule beside it; "not
decided at this size" means that the interval contains both answers. "One fit" warns that another seed was not
tried: the interval, if there is one, covers the choice of the test images only.
"""

_PER_IMAGE = (
    "Fewer images are fitted than the paper's 50,000: at the small preset β × N is smaller in proportion, so that the "
    "weights of the rate per image, β, are about the paper's. "
)
_REVISED_2 = (
    "The small preset was revised after a first run, whose results were seen: 4,000 images, 15 epochs, β × N = 0.1, "
    "0.5, 3. Those networks had hardly learned (D 67, 61 and 66 %); the rate outside of the box fell as well, and "
    "the share in the box fell to chance or below it in z2 and z3. Chance is the box's share of the area; the digit's "
    "share of the white pixels is larger (about 28 to 16 % at the resolutions of z1 to z4)."
)
_REVISED_5 = (
    "The small preset was revised after a first run, whose results were seen: β × N = 0.1, 0.5, 2, 8, with D 54, 65, "
    "76 and 90 %; the smaller two were added and 8 was left out."
)
_REMARKS = {
    "fig2": _PER_IMAGE + _REVISED_2,
    "fig3b": "Strengths are fixed for all sizes: the authors' drop probability of ½, scale 0.7, the preset's β × N.",
    "fig5": _PER_IMAGE + _REVISED_5,
}


def write_results(numbers: Path) -> Path:
    """Write ``RESULTS.md`` beside the folder of the CSVs.

    Args:
        numbers: Folder with ``<figure>.csv`` and ``<figure>.png``.

    Returns:
        The page.

    Raises:
        ValueError: If the folder has no CSV.
    """
    found = {name: numbers / f"{name}.csv" for name in FIGURES if (numbers / f"{name}.csv").exists()}
    if not found:
        raise ValueError(
            f"{numbers} has no CSV of a figure; run `python -m inference paper fig3a --out ...` first"
        )
    text = results_page({name: read_rows(path) for name, path in found.items()}, pictures=numbers.name)
    page = numbers.parent / "RESULTS.md"
    write_atomically(page, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return page


def results_page(rows: dict[str, list[Row]], *, pictures: str) -> str:
    """Compose the page.

    Args:
        rows: Rows of each figure that was run.
        pictures: Folder of the pictures, from where the page lies.

    Returns:
        Markdown.
    """
    parts = [_HEAD, _summary(rows)]
    for name in FIGURES:
        parts.append(_section(name, rows.get(name), pictures))
    return "\n".join(parts)


def _summary(rows: dict[str, list[Row]]) -> str:
    lines = ["| where | claim | verdict |", "|---|---|---|"]
    for claim in CLAIMS:
        word = _verdict(claim.judge(rows[claim.figure])) if claim.figure in rows else "not run"
        lines.append(f"| {_heading(claim.figure)} | {claim.words} | {word} |")
    return "\n".join([*lines, ""])


def _section(name: str, rows: Sequence[Row] | None, pictures: str) -> str:
    lines = [f"## {_heading(name)}: {figure_module(name).TITLE}", ""]
    if not rows:
        preset = "small"
        lines += [
            "Not run yet.",
            "",
            f"    python -m inference paper {name} --preset {preset} --data-root DIR --out DIR",
            "",
        ]
        return "\n".join(lines)
    runs = [row for row in rows if "num_train" in row]
    preset = rows[0]["preset"]
    seeds = ", ".join(f"{seed:g}" for seed in values_of(runs, "seed"))
    lines += [
        f"Sizes: {_sizes(runs)}. Seeds: {seeds}.",
        "",
        f"    python -m inference paper {name} --preset {preset} --data-root DIR --out DIR",
        "",
        f"![{figure_module(name).TITLE}]({pictures}/{name}.png)",
        "",
        "| claim | paper | ours | interval | rule | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for claim in CLAIMS:
        if claim.figure == name:
            found = claim.judge(rows)
            cells = (
                claim.words,
                claim.paper,
                found.ours,
                found.interval,
                claim.rule,
                f"**{_verdict(found)}**",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *_notes(name, rows), ""])


def _sizes(runs: Sequence[Row]) -> str:
    first = runs[0]
    model = first["model"]
    shown = ", ".join(f"{v:g}" if model == "vae" else size_name(v) for v in values_of(runs, "size"))
    sizes = {"mlp": f"{shown} units a layer", "vae": f"k = {shown}"}.get(model, f"{shown} of the filters")
    full = [row for row in runs if row.get("stage", "full") == "full"]
    return f"{sizes_in_words(full)}; {model} with {sizes}, {first['data']}"


def _notes(name: str, rows: Sequence[Row]) -> list[str]:
    if name != "fig3a":
        return ["", _REMARKS[name]] if name in _REMARKS else []
    from inference.paper.choice import chosen_settings

    words = {"information": "β × N", "binary": "drop probability", "constant": "scale"}
    chosen = []
    for method, value in chosen_settings(rows).items():
        tried = values_of(select(rows, stage="choice", dropout=method), "setting")
        chosen.append(f"{method}: {words[method]} {value:g} of {', '.join(f'{each:g}' for each in tried)}")
    return [
        "",
        f"Strengths, each chosen by D on held-out images, in one short fit a candidate: {'; '.join(chosen)}. The "
        "best of all strengths may lie beyond a choice at the edge of its candidates.",
        "",
        "Test errors ± their standard error over the seeds, with batch norm; information dropout at its chosen β and "
        "at a second one:",
        "",
        *error_table([*select(rows, stage="full"), *select(rows, stage="second beta")]),
    ]


def _verdict(finding: Finding) -> str:
    """The verdict, with a word of caution where one fit stands for all that might have been."""
    return (
        f"{finding.verdict} (one fit)"
        if "one fit" in finding.interval and finding.verdict in _DECIDED
        else finding.verdict
    )


def _heading(name: str) -> str:
    return f"Table {name[5:]}" if name.startswith("table") else f"Figure {name[3:]}"

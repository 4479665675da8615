"""The page of results, written from the figures' CSVs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.files import write_atomically
from inference.studies.paper.choice import chosen_settings
from inference.studies.paper.claims import CLAIMS
from inference.studies.paper.error_table import error_table
from inference.studies.paper.estimates import NOT, REPRODUCED
from inference.studies.paper.judges import Finding
from inference.studies.paper.numbers import select, size_name, sizes_in_words, values_of
from inference.studies.paper.runner import FIGURES, figure_module, read_rows, with_numbers

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
was revised after its results were seen, it is said below the figure. A verdict follows the rule beside it. ± is half
of a 95 % interval; where a claim has several parts, their intervals hold jointly, and "not decided at this size"
means that one of them contains both answers. "One fit" warns that another seed was not tried: the interval, if there
is one, covers the choice of the test images only.
"""

_PER_IMAGE = (
    "What the Lagrangian weighs is β, the weight of a nat per image. The small preset fits fewer images than the "
    "paper's 50,000, with β × N smaller in proportion, so that β is about the paper's."
)
_REMARKS = {
    "fig1": _PER_IMAGE,
    "fig2": f"{_PER_IMAGE} The small preset was revised after a first run, whose results were seen: 4,000 images, 15 "
    "epochs, β × N = 0.1, 0.5, 3. Those networks had hardly learned (D 67, 61 and 66 %); the rate outside of the box "
    "fell as well, and the share in the box fell to the box's share of the area or below it in z2 and z3. A network "
    "that only lets ink through would have the share of the ink.",
    "fig3b": f"{_PER_IMAGE} The small preset was revised after a first run, whose results were seen: strengths were "
    "fixed (β × N = 0.5, drop probability ½, scale 0.7), one seed; information dropout then erred 6 points more than "
    "binary dropout on average. Now every method chooses, as in Figure 3a.",
    "fig4": "With a tenth of the paper's images, 0.01 to 0.8 here weigh a nat per image as its 0.1 to 8; 2 and 8 lie "
    "beyond. The small preset was revised after results were seen: β × N = 0.1, 0.5, 2, 8, for which the probe's "
    "error rose by 3.8 ± 4.8 points over three seeds; 0.01 and 0.05 were added. One seed alone, in an earlier run, "
    "had shown a rise of 15.7 ± 1.7; the probe differs by more from seed to seed.",
    "fig5": f"{_PER_IMAGE} The small preset was revised after a first run, whose results were seen: β × N = 0.1, 0.5, "
    "2, 8, with D 54, 65, 76 and 90 %; the smaller two were added and 8 was left out. So was the rule: Tukey's "
    "intervals, which take the spread over the seeds to be the same at each β, left the optimum undecided; it is not "
    "the same.",
    "fig6": _PER_IMAGE,
    "table1": "The information latent takes longer to fit: [VAE.md](VAE.md) has k = 1 after 300 epochs on all images.",
}
_SAMPLES = {"fig2": "cluttered-mnist", "fig4": "occluded-cifar"}


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
    text = results_page(rows, pictures=numbers.name)
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
        *_samples(name, pictures),
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


def _samples(name: str, pictures: str) -> list[str]:
    if name not in _SAMPLES:
        return []
    data = _SAMPLES[name]
    return [
        "Some of its images (`python -m inference paper samples --data-root DIR --out DIR`):",
        "",
        f"![images of {data}]({pictures}/samples-{data}.png)",
        "",
    ]


def _notes(name: str, rows: Sequence[Row]) -> list[str]:
    remark = ["", _REMARKS[name]] if name in _REMARKS else []
    return [*_choices(rows), *remark]


def _choices(rows: Sequence[Row]) -> list[str]:
    """What each method chose, and the errors that it then has."""
    words = {"information": "β × N", "binary": "drop probability", "constant": "scale"}
    chosen = []
    for method, value in chosen_settings(rows).items():
        tried = values_of(select(rows, stage="choice", dropout=method), "setting")
        chosen.append(f"{method}: {words[method]} {value:g} of {', '.join(f'{each:g}' for each in tried)}")
    if not chosen:
        return []
    second = select(rows, stage="second beta")
    also = "; information dropout at its chosen β and at a second one" if second else ""
    return [
        "",
        f"Strengths, each chosen by D on held-out images, in one short fit a candidate: {'; '.join(chosen)}. The "
        "best of all strengths may lie beyond a choice at the edge of its candidates.",
        "",
        f"Test errors ± their standard error over the seeds{also}:",
        "",
        *error_table([*select(rows, stage="full"), *second]),
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

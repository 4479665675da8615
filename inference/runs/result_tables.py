"""Results for a reader: of one run in a terminal, and of several as a Markdown table."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from inference.runs.program_spec import NOISES

__all__ = ["comparison_table", "print_result"]

Result = Mapping[str, Any]

# What sets runs apart where their settings are not at hand.
_GROUP = ("model", "data", "dropout", "latent", "k", "beta", "objective")
_GROUP += ("epochs", "num_parameters", "num_train")
_NUMBERS: dict[str, tuple[str, float]] = {
    "test_error_noisy": ("test error, 1 draw [%]", 100.0),
    "test_error_predictive": ("test error, predictive [%]", 100.0),
    "test_error_deterministic": ("test error, noise off [%]", 100.0),
    "test_elbo": ("bound, 1 draw", 1.0),
    "test_importance_weighted": ("bound, importance-weighted", 1.0),
    "distortion": ("distortion", 1.0),
    "rate": ("rate", 1.0),
}
_NAMES: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("program", lambda r: f"{r['model']}, {r['data']}"),
    ("noise", lambda r: _noise_and_strength(r)),
    (
        "beta [× N]",
        lambda r: "; ".join(filter(None, [f"{r['beta']:.3g} [{r['beta_paper']:.3g}]", r.get("objective")])),
    ),
    ("epochs", lambda r: str(r["epochs"])),
)


def print_result(result: Result, path: Path, *, console: Console | None = None) -> None:
    """Print the result of one run.

    Args:
        result: What ``result.json`` holds.
        path: Folder of the run.
        console: Where to print; standard output by default.
    """
    console = console or Console()
    noise = f"{result['latent']} latent" if "latent" in result else f"{result['dropout']} dropout"
    table = Table(title=f"{result['model']}, {noise}, {result['data']}", show_header=False)
    for name, text in _lines(result):
        table.add_row(name, text)
    console.print(table)
    console.print(f"written to {path}", highlight=False, soft_wrap=True)


def comparison_table(
    results: Sequence[Result], settings: Sequence[Mapping[str, Any] | None] | None = None
) -> list[str]:
    """Lines of a Markdown table over the runs' ``result.json``: means ± standard errors over the seeds.

    Args:
        results: Results of finished runs.
        settings: What each run is but for its seed, runs with the same being one line; of None, and by default, the
            columns of its result that tell.

    Returns:
        The lines; distortion, rate and bounds in nats per image of the test set, where a run has them. Lines that
        would look alike say which settings differ.
    """
    known = settings or [None] * len(results)
    told = [{n: r.get(n) for n in _GROUP} if s is None else s for r, s in zip(results, known, strict=True)]
    grouped: dict[str, list[int]] = {}
    for index, what in enumerate(told):
        grouped.setdefault(json.dumps(what, sort_keys=True), []).append(index)
    columns = [name for name in _NUMBERS if any(name in result for result in results)]
    head = [*(title for title, _ in _NAMES), "seeds", *(_NUMBERS[name][0] for name in columns)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    names = {first: [text(results[first]) for _, text in _NAMES] for first, *_ in grouped.values()}
    for members in grouped.values():
        cells = names[members[0]]
        alike = [told[first] for first, other in names.items() if other == cells]
        runs = [results[index] for index in members]
        numbers = [_mean(runs, name, _NUMBERS[name][1]) for name in columns]
        cells = [cells[0] + _apart(told[members[0]], alike), *cells[1:]]
        lines.append(f"| {' | '.join([*cells, str(len(runs)), *numbers])} |")
    return lines


def _apart(mine: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """The settings in which a run differs from some that look like it; one that is not there is the default."""
    names = sorted(
        {name for other in alike for name in other if any(other[name] != o.get(name) for o in alike)}
    )
    return "".join(f", {name.replace('_', ' ')} {mine.get(name, 'default')}" for name in names)


def _lines(result: Result) -> list[tuple[str, str]]:
    sites = {name: value for name, value in result.items() if name.startswith("rate/")}
    reconstructs = "latent" in result
    return [
        *(_bound_lines(result) if reconstructs else _error_lines(result)),
        ("distortion", f"{result['distortion']:.4f} nats per sample"),
        ("rate", f"{result['rate']:.4f} nats per sample"),
        *((f"  of site {name.removeprefix('rate/')}", f"{value:.4f}") for name, value in sites.items()),
        ("beta", f"{result['beta']:.4g} per sample, {result['beta_paper']:.4g} in the paper's units"),
        *([("objective", result["objective"])] if result.get("objective") else []),
        *(
            (f"  {name.replace('_', ' ')}", "yes" if result[name] else "no")
            for name in result
            if "_reached" in name
        ),
        ("epochs", f"{result['epochs']} in {result['seconds']:.1f} s"),
    ]


def _error_lines(result: Result) -> list[tuple[str, str]]:
    return [
        ("test error, one noise sample", _percent(result["test_error_noisy"])),
        (f"test error, {result['num_samples']} noise samples", _percent(result["test_error_predictive"])),
        ("test error, noise off", _percent(result["test_error_deterministic"])),
    ]


def _bound_lines(result: Result) -> list[tuple[str, str]]:
    if "test_elbo" not in result:
        return []
    draws, error = result["num_importance_samples"], result["test_importance_weighted_standard_error"]
    return [
        ("bound on log p(x), one draw", f"{result['test_elbo']:.2f} nats per image"),
        (
            f"bound on log p(x), {draws} importance samples",
            f"{result['test_importance_weighted']:.2f} ± {error:.2f} nats per image",
        ),
    ]


def _noise_and_strength(result: Result) -> str:
    if "latent" in result:
        return f"{result['latent']} latent, k = {result['k']}"
    option = NOISES[result["dropout"]].strength
    return result["dropout"] + (f" {result[option]:g}" if option in result else "")


def _mean(runs: Sequence[Result], name: str, factor: float) -> str:
    values = [factor * run[name] for run in runs if run.get(name) is not None]
    if not values:
        return ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{error}"


def _percent(share: float | None) -> str:
    return "not a classifier" if share is None else f"{share:.2%}"

"""Results for a reader: of one run in a terminal, and of several as a Markdown table."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from inference.runs.finished import DIGEST_OF, told_by
from inference.runs.program_spec import NOISES
from inference.runs.settings import plain, shown
from inference.runs.spec import entries

__all__ = ["comparison_table", "print_result"]

Result = Mapping[str, Any]

_NUMBERS: dict[str, tuple[str, float]] = {
    "test_error_noisy": ("test error, 1 draw [%]", 100.0),
    "test_error_predictive": ("test error, predictive [%]", 100.0),
    "test_error_deterministic": ("test error, noise off [%]", 100.0),
    "test_elbo": ("bound, 1 draw", 1.0),
    "test_importance_weighted": ("bound, importance-weighted", 1.0),
    "distortion": ("distortion", 1.0),
    "rate": ("rate", 1.0),
}
# What the columns of a comparison say of a run in any case.
_SHOWN = {"model", "dropout", "latent", "k", "drop_prob", "alpha", "data", "beta", "beta_paper", "epochs"}
_SHOWN |= {"objective", "gamma", "total_correlation", "capacity", "free_nats", "beta_schedule"}
# How a run was computed, and of which images: said where nothing else tells two lines apart.
_MINOR = {"accelerator", "checkpoint_every", "eval_batch_size", "threads", "validate_every_epoch"}
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
    kind = f"{result['latent']} latent" if "latent" in result else ""
    kind = f"{result['dropout']} dropout" if "dropout" in result else kind
    title = ", ".join(filter(None, [result["model"], kind, result["data"]]))
    table = Table(title=title, show_header=False)
    for name, text in _lines(result):
        table.add_row(name, text)
    console.print(table)
    console.print(f"written to {path}", highlight=False, soft_wrap=True)


def comparison_table(
    results: Sequence[Result],
    settings: Sequence[Mapping[str, Any]] | None = None,
    *,
    missing: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Lines of a Markdown table over the runs' ``result.json``: means ± standard errors over the seeds.

    Args:
        results: Results of finished runs.
        settings: What each run is but for its seed, runs with the same being one line; by default what its result says
            of it.
        missing: What runs are that have no result: the line of others with the same settings says so.

    Returns:
        The lines; distortion, rate and bounds in nats per image of the test set, where a run has them. Each says in
        which settings it differs from another, where no column does, and how many of its seeds are not finite.
    """
    told = [told_by(result) for result in results] if settings is None else settings
    grouped: dict[str, list[int]] = {}
    for index, what in enumerate(told):
        grouped.setdefault(json.dumps(what, sort_keys=True), []).append(index)
    columns = [name for name in _NUMBERS if any(name in result for result in results)]
    head = [*(title for title, _ in _NAMES), "seeds", *(_NUMBERS[name][0] for name in columns)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    names = {first: [text(results[first]) for _, text in _NAMES] for first, *_ in grouped.values()}
    groups = [told[first] for first in names]
    lost = Counter(json.dumps(what, sort_keys=True) for what in missing)
    for key, members in grouped.items():
        cells = names[members[0]]
        alike = [told[first] for first, other in names.items() if other == cells]
        major = {name for name in _differing(groups) - _SHOWN - _MINOR if not name.startswith("fingerprint")}
        differing = {*major, *_differing(alike)}
        runs = [results[index] for index in members]
        numbers = [_mean(runs, name, _NUMBERS[name][1]) for name in columns]
        cells = [cells[0] + _apart(told[members[0]], runs[0], differing), *cells[1:]]
        seeds = f"{len(runs)} of {len(runs) + lost[key]}" if lost[key] else str(len(runs))
        lines.append(f"| {' | '.join([*cells, seeds, *numbers])} |")
    return lines


def _differing(runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The settings in which some runs differ; one that is not there is the default."""
    names = {name for run in runs for name in run}
    return {n for n in names if any(_value(run, n) != _value(runs[0], n) for run in runs)}


def _apart(mine: Mapping[str, Any], result: Result, names: Iterable[str]) -> str:
    """Settings by their names, without those that the run's program does not have."""
    options = {entry.name for part, entry in entries() if part == "program"}
    own = [name for name in sorted(names) if name in mine or name in result or name not in options]
    # A file keeps its name.
    words = {name: name if name.startswith(DIGEST_OF) else name.replace("_", " ") for name in own}
    return "".join(f", {words[name]} {shown(_value(mine, name))}" for name in own)


def _value(settings: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - a setting
    return settings[name] if name in settings else _defaults().get(name)


@cache
def _defaults() -> dict[str, Any]:
    return {entry.name: plain(entry.default) for _, entry in entries()}


def _lines(result: Result) -> list[tuple[str, str]]:
    sites = {name: value for name, value in result.items() if name.startswith("rate/")}
    reconstructs = "latent" in result
    return [
        *(_bound_lines(result) if reconstructs else _error_lines(result)),
        ("distortion", f"{_in_nats(result['distortion'])} nats per sample"),
        ("rate", f"{_in_nats(result['rate'])} nats per sample"),
        *((f"  of site {name.removeprefix('rate/')}", _in_nats(value)) for name, value in sites.items()),
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
        ("bound on log p(x), one draw", f"{_in_nats(result['test_elbo'], 2)} nats per image"),
        (
            f"bound on log p(x), {draws} importance samples",
            f"{_in_nats(result['test_importance_weighted'], 2)} ± {_in_nats(error, 2)} nats per image",
        ),
    ]


def _noise_and_strength(result: Result) -> str:
    if "latent" in result:
        link = f", {result['link']} link" if result.get("link", "softplus") != "softplus" else ""
        prior = ", a prior per unit" if result.get("prior_per_unit") else ""
        observed = result.get("likelihood", "bernoulli")
        grey = f", {observed}" if observed != "bernoulli" else ""
        return f"{result['latent']} latent{link}{prior}{grey}, k = {result['k']}"
    if "dropout" not in result:
        return "its own"
    option = NOISES[result["dropout"]].strength
    return result["dropout"] + (f" {result[option]:g}" if option in result else "")


def _mean(runs: Sequence[Result], name: str, factor: float) -> str:
    """Mean ± standard error over the runs whose number is finite, and how many others there are."""
    found = [run[name] for run in runs if name in run]
    values = [factor * value for value in found if value is not None and math.isfinite(value)]
    # An error is a share: where there is none, there are no labels.
    lost = 0 if "error" in name else len(found) - len(values)
    if not values:
        return "not finite" if lost else ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    note = f" ({lost} of {len(found)} not finite)" if lost else ""
    return f"{statistics.fmean(values):.2f}{error}{note}"


def _in_nats(value: float | None, digits: int = 4) -> str:
    """A number as it is read again: null stands for one that is not finite."""
    return "not finite" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "not a classifier" if share is None else f"{share:.2%}"

"""Results of runs that differ in more than their seed, a line each, with standard errors over the seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["comparison_table"]

Result = Mapping[str, Any]
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
    ("noise", lambda r: f"{r['latent']} latent, k = {r['k']}" if "latent" in r else r["dropout"]),
    (
        "beta [× N]",
        lambda r: "; ".join(filter(None, [f"{r['beta']:.3g} [{r['beta_paper']:.3g}]", r.get("objective")])),
    ),
    ("epochs", lambda r: str(r["epochs"])),
)


def comparison_table(results: Sequence[Result]) -> list[str]:
    """Lines of a Markdown table over the runs' ``result.json``: means ± standard errors over the seeds.

    Args:
        results: Results of finished runs; those that agree in all but the seed are one line.

    Returns:
        The lines; distortion, rate and bounds in nats per image of the test set, where a run has them.
    """
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result.get(name) for name in _GROUP), []).append(result)
    columns = [name for name in _NUMBERS if any(name in result for result in results)]
    head = [*(title for title, _ in _NAMES), "seeds", *(_NUMBERS[name][0] for name in columns)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for runs in groups.values():
        cells = [text(runs[0]) for _, text in _NAMES]
        numbers = [_mean(runs, name, _NUMBERS[name][1]) for name in columns]
        lines.append(f"| {' | '.join([*cells, str(len(runs)), *numbers])} |")
    return lines


def _mean(runs: Sequence[Result], name: str, factor: float) -> str:
    values = [factor * run[name] for run in runs if run.get(name) is not None]
    if not values:
        return ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{error}"

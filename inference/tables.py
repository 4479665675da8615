"""Results as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from inference.bench import StepCost

__all__ = ["print_result", "print_step_costs"]


def print_result(result: Mapping[str, Any], path: Path, *, console: Console | None = None) -> None:
    """Print the result of one run.

    Args:
        result: What ``result.json`` holds.
        path: Folder of the run.
        console: Where to print; standard output by default.
    """
    console = console or Console()
    table = Table(title=f"{result['model']}, {_noise(result)}, {result['data']}", show_header=False)
    for name, text in _lines(result):
        table.add_row(name, text)
    console.print(table)
    console.print(f"written to {path}", highlight=False, soft_wrap=True)


def _lines(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    sites = {name: value for name, value in result.items() if name.startswith("rate/")}
    return [
        *(_bound_lines(result) if "test_elbo" in result else _error_lines(result)),
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


def _noise(result: Mapping[str, Any]) -> str:
    return f"{result['latent']} latent" if "latent" in result else f"{result['dropout']} dropout"


def _error_lines(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("test error, one noise sample", _percent(result["test_error_noisy"])),
        (f"test error, {result['num_samples']} noise samples", _percent(result["test_error_predictive"])),
        ("test error, noise off", _percent(result["test_error_deterministic"])),
    ]


def _bound_lines(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    draws, error = result["num_importance_samples"], result["test_importance_weighted_standard_error"]
    return [
        ("bound on log p(x), one draw", f"{result['test_elbo']:.2f} nats per image"),
        (
            f"bound on log p(x), {draws} importance samples",
            f"{result['test_importance_weighted']:.2f} ± {error:.2f} nats per image",
        ),
    ]


def print_step_costs(costs: Sequence[StepCost], *, target: float, console: Console | None = None) -> None:
    """Print what a training step costs.

    Args:
        costs: A measurement for each width.
        target: Greatest ratio that passes.
        console: Where to print; standard output by default.
    """
    table = Table(title="processor time of a training step, one thread, medians of alternating blocks")
    for name in ("hidden", "fit, ms", "by hand, ms", "ratio", "quartiles", f"at most {target:g}"):
        table.add_column(name, justify="right")
    for cost in costs:
        low, high = cost.spread
        verdict = "yes" if cost.ratio <= target else "no"
        numbers = (f"{cost.fit:.3f}", f"{cost.by_hand:.3f}", f"{cost.ratio:.2f}", f"{low:.2f} to {high:.2f}")
        table.add_row(str(cost.hidden), *numbers, verdict)
    (console or Console()).print(table)


def _percent(share: float | None) -> str:
    return "not a classifier" if share is None else f"{share:.2%}"

"""All measurements, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any

from rich.console import Console

from inference.studies.bench.all_cnn_steps import all_cnn_steps
from inference.studies.bench.device import Device, on
from inference.studies.bench.effort import Effort
from inference.studies.bench.growth import measure_growth
from inference.studies.bench.machine import describe_machine
from inference.studies.bench.memory import all_cnn_memory, mlp_memory, vae_memory
from inference.studies.bench.mlp_steps import mlp_steps
from inference.studies.bench.not_measured import NotMeasured
from inference.studies.bench.numpyro_vae import numpyro_epochs
from inference.studies.bench.results import Results
from inference.studies.bench.runs_together import side_by_side
from inference.studies.bench.sheet import Sheet
from inference.studies.bench.sheets import (
    comparison_sheet,
    growth_sheet,
    memory_sheet,
    start_up_sheet,
    target_sheet,
)
from inference.studies.bench.start_up import start_up
from inference.studies.bench.taking_turns import Comparison
from inference.studies.bench.vae_epochs import vae_epochs

__all__ = ["run_benchmark"]


def run_benchmark(
    effort: Effort, *, device: str = "cpu", command: str = "", console: Console | None = None
) -> Results:
    """Measure everything, and print each table as soon as it is there.

    Args:
        effort: How much.
        device: ``"cpu"`` or ``"cuda"``.
        command: The command line, for the page.
        console: Where to print; standard output by default.

    Returns:
        What was found.

    Raises:
        ValueError: If the device is not there.
    """
    begun, console = time.perf_counter(), console or Console()
    threads = effort.threads if device == "cpu" else effort.threads[:1]
    with on(Device(device)) as one:
        results = Results(command, machine=describe_machine(one))
    for number in threads:
        with on(Device(device, number)) as here:
            _compare(effort, here, results, console)
    with on(Device(device)) as one:
        _sweep(effort, one, results, console)
        _memory(effort, one, results, console)
        _grow(effort, one, results, console)
    results.start_up = start_up(effort.imports)
    _show(console, start_up_sheet(results.start_up))
    results.date, results.minutes = date.today().isoformat(), (time.perf_counter() - begun) / 60
    _show(console, target_sheet(results))
    return results


def _compare(effort: Effort, device: Device, results: Results, console: Console) -> None:
    def add(measure: Callable[..., Comparison], *args: Any, **options: Any) -> None:
        _add(
            results,
            console,
            f"{measure.__name__}, {device.threads} threads",
            lambda: measure(*args, **options),
        )

    for width, steps in zip(effort.widths, effort.steps, strict=True):
        add(mlp_steps, width, device, steps=steps, blocks=effort.blocks)
    add(all_cnn_steps, effort.fraction, device, steps=effort.cnn_steps, blocks=effort.cnn_blocks)
    add(vae_epochs, effort.images, device, epochs=effort.epochs)
    if device.name == "cpu" and effort.beside_numpyro:
        add(numpyro_epochs, effort.images, effort.epochs, device.threads)


def _sweep(effort: Effort, device: Device, results: Results, console: Console) -> None:
    for runs in effort.runs:
        sizes = {"steps": effort.steps[0], "blocks": max(effort.blocks // 4, 1)}
        measure = partial(side_by_side, runs, device, **sizes, compile=effort.compiled)
        _add(results, console, f"{runs} betas side by side", measure)


def _add(results: Results, console: Console, name: str, measure: Callable[[], Comparison]) -> None:
    try:
        results.comparisons.append(measure())
    except NotMeasured as reason:
        results.not_measured[name] = str(reason)
        console.print(f"{name}: not measured: {reason}\n", highlight=False)
        return
    _show(console, comparison_sheet(results.comparisons[-1]))


def _memory(effort: Effort, device: Device, results: Results, console: Console) -> None:
    results.memory += [mlp_memory(width, batch, device) for width, batch in effort.memory]
    results.memory += [all_cnn_memory(effort.fraction, 100, device), vae_memory(device)]
    _show(console, memory_sheet(results.memory))


def _grow(effort: Effort, device: Device, results: Results, console: Console) -> None:
    for axis, values in effort.growth.items():
        try:
            results.growth.append(measure_growth(axis, values, device, blocks=effort.growth_blocks))
        except NotMeasured as reason:
            results.not_measured[f"growth along {axis}"] = str(reason)
    _show(console, growth_sheet(results.growth))


def _show(console: Console, sheet: Sheet) -> None:
    console.print(sheet.rich())
    console.print()

"""``python -m inference sweep``: fit a grid of betas and seeds, a folder a run."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from ib_pyro.choices import require_known
from inference.cli.arguments import Parser, add_settings, setting_reader, typed, whole_numbers
from inference.runs.spec import RunSpec, entries

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "fit a grid of betas and seeds, a folder a run, and print the runs as a table"
ENGINES = ("local",)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    numbers = typed("numbers such as 1e-4,1e-3", _numbers)
    parser.add_argument(
        "--betas", type=numbers, help="weights of the rate, per sample, in nats, as 1e-4,1e-3"
    )
    parser.add_argument(
        "--betas-paper", type=numbers, help="the same, times the number of training images, as in the paper"
    )
    parser.add_argument("--seeds", type=typed("seeds such as 0,1,2", whole_numbers), help="seeds, as 0,1,2")
    parser.add_needed(
        "--out", type=Path, help="folder of the sweep; each run has one in it, and is resumed there"
    )
    parser.add_argument(
        "--vectorize",
        type=setting_reader("batch_norm"),
        default=False,
        metavar="TRUE",
        help="fit all runs as one computation, each with its own numbers: true or false (default: false)",
    )
    parser.add_argument(
        "--engine", default="local", help=f"where runs are fitted one by one: {', '.join(ENGINES)}"
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="runs at a time without --vectorize, each with one thread"
    )
    add_settings(parser)


def run(options: Namespace) -> int:
    """Fit what is not done yet, and print the table."""
    jobs = _grid(options)
    from inference.runs.result_tables import comparison_table

    if options.vectorize:
        from inference.runs.vectorized_sweep import run_side_by_side

        found = dict(run_side_by_side(jobs))
    else:
        from inference.runs.pool import run_all

        found = dict(run_all(jobs, processes=options.processes))
    done = [(spec, out) for spec, out in jobs if isinstance(found[out], dict)]
    settings = [{n: v for n, v in spec.settings().items() if n != "seed"} for spec, _ in done]
    if done:
        print("\n".join(comparison_table([found[out] for _, out in done], settings)))
    print(f"written to {options.out}")
    for _, out in jobs:
        if not isinstance(found[out], dict):
            print(f"failed: {out.name}: {found[out]}", file=sys.stderr)
    return int(len(done) < len(jobs))


def _grid(options: Namespace) -> list[tuple[RunSpec, Path]]:
    """Each run of the grid, with its folder."""
    require_known("engine", options.engine, ENGINES)
    given = {e.name: getattr(options, e.name) for _, e in entries() if hasattr(options, e.name)}
    if options.betas and options.betas_paper:
        raise ValueError("--betas and --betas-paper name one weight in two units; pass one")
    for one, many in (("beta", "--betas"), ("beta_paper", "--betas-paper"), ("seed", "--seeds")):
        if given.get(one) is not None and getattr(options, many[2:].replace("-", "_")):
            raise ValueError(f"--{one.replace('_', '-')} and {many} exclude each other; pass {many}")
    unit = "beta_paper" if options.betas_paper else "beta"
    weights: list[dict[str, Any]] = [{unit: b} for b in options.betas_paper or options.betas or ()] or [{}]
    seeds: list[dict[str, Any]] = [{"seed": seed} for seed in options.seeds or ()] or [{}]
    specs = [RunSpec.of(**{**given, **weight, **seed}) for weight in weights for seed in seeds]
    return [(spec, options.out / name) for name, spec in {spec.name: spec for spec in specs}.items()]


def _numbers(value: Any) -> tuple[float, ...]:  # noqa: ANN401 - what was typed
    return tuple(float(part) for part in str(value).strip("[] ").split(",") if part.strip())

"""``python -m inference sweep``: fit a grid of betas and seeds, a folder a run."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ib_pyro.choices import require_known
from inference.cli.arguments import Parser, add_settings, setting_reader, typed, whole_numbers
from inference.runs.spec import RunSpec, entries

if TYPE_CHECKING:
    from rich.console import Console

    from inference.runs.engine import Engine
    from inference.runs.pool import Job, Outcome

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "fit a grid of betas and seeds, a folder a run, and print the runs as a table"
ENGINES = ("local", "ray")


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
        "--compile",
        action="store_true",
        help="compile the steps of --vectorize, which takes a minute and a compiler for C++; the numbers are the same "
        "to rounding",
    )
    parser.add_argument(
        "--engine",
        default="local",
        known=ENGINES,
        help=f"where runs are fitted one by one: {', '.join(ENGINES)}: processes of this machine, or a Ray cluster "
        "whose machines all see --out",
    )
    parser.add_argument(
        "--address",
        help="HOST:PORT of the Ray cluster, or auto (default: the one that this machine is part of, else this machine "
        "alone)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        help="runs at a time without --vectorize, each with one thread (default: 1; of --engine ray as many as there "
        "are processors)",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="try runs again that failed before; they are skipped otherwise",
    )
    add_settings(parser)


def run(options: Namespace) -> int:
    """Fit what is not done yet, and print the table."""
    _check(options)
    jobs = _grid(options)
    from inference.runs.failure import Failure, failed_runs

    found = _side_by_side(jobs, options) if options.vectorize else _one_by_one(jobs, options)
    failed = [found[out] for _, out in jobs if isinstance(found[out], Failure)]
    done = [job for job in jobs if not isinstance(found[job[1]], Failure)]
    if done:
        _print_table(done, found)
    for failure in failed:
        print(f"missing: {failure}")
    print(f"written to {options.out}")
    if failed:
        print(failed_runs([failure.run for failure in failed], len(jobs)), file=sys.stderr)
    return 1 if failed else 0


def _print_table(jobs: Sequence[Job], found: Mapping[Path, Outcome]) -> None:
    from inference.runs.result_tables import comparison_table

    settings = [{n: v for n, v in spec.settings().items() if n != "seed"} for spec, _ in jobs]
    results: list[Any] = [found[out] for _, out in jobs]
    print("\n".join(comparison_table(results, settings)))


def _side_by_side(jobs: Sequence[Job], options: Namespace) -> dict[Path, Outcome]:
    from inference.runs.vectorized_sweep import run_side_by_side

    return dict(run_side_by_side(jobs, retry_failed=options.retry_failed, compile=options.compile))


def _one_by_one(jobs: Sequence[Job], options: Namespace) -> dict[Path, Outcome]:
    from rich.console import Console
    from rich.progress import Progress

    from inference.runs.pool import run_all

    found: dict[Path, Outcome] = {}
    console = Console(stderr=True)
    # Elsewhere than on a terminal the lines say all. What Ray says of lost machines is none of the table.
    bars = Progress(console=console, transient=True, disable=not console.is_terminal)
    with redirect_stdout(sys.stderr), bars as bar:
        task = bar.add_task(f"{len(jobs)} runs", total=len(jobs))
        engine = _on_ray(jobs, options, console) if options.engine == "ray" else None
        jobs = [(_anywhere(spec) if engine else spec, out) for spec, out in jobs]
        for out, outcome in run_all(
            jobs,
            processes=options.processes or 1,
            engine=engine,
            retry_failed=options.retry_failed,
            console=console,
        ):
            found[out] = outcome
            bar.advance(task)
    return found


def _on_ray(jobs: Sequence[Job], options: Namespace, console: Console) -> Engine:
    from inference.runs.ray_cluster import RayCluster

    spec = _anywhere(jobs[0][0])
    return RayCluster(
        options.out,
        address=options.address,
        data_root=spec.data.data_root,
        modules={file: digest for own in spec.own_functions for file, digest in own.files().items()},
        slots=options.processes,
        cpus=spec.training.threads or 1,
        gpus=int(spec.training.accelerator in ("cuda", "gpu")),
        say=lambda text: console.print(f"sweep: on {text}", highlight=False, soft_wrap=True),
    )


def _anywhere(spec: RunSpec) -> RunSpec:
    """The run with its data under a path that depends neither on a process's folder nor on its environment."""
    from ib_pyro.data.request import data_root

    root = data_root(spec.data.data_root)
    if root is None or spec.data.stand_in or spec.data.data == "digits":
        return spec
    return spec.but(data_root=root.absolute())


def _check(options: Namespace) -> None:
    require_known("engine", options.engine, ENGINES)
    if options.processes is not None and options.processes < 1:
        raise ValueError(f"--processes must be at least 1; got {options.processes}")
    if options.address is not None and options.engine != "ray":
        raise ValueError(f"--address {options.address} goes with --engine ray")
    if options.compile and not options.vectorize:
        raise ValueError("--compile goes with --vectorize true; pass it as well, or leave --compile out")
    if options.vectorize and options.engine == "ray":
        raise ValueError(
            "--engine ray has no effect with --vectorize, which fits all runs as one; leave out one"
        )


def _grid(options: Namespace) -> list[tuple[RunSpec, Path]]:
    """Each run of the grid, with its folder."""
    given = {e.name: getattr(options, e.name) for _, e in entries() if hasattr(options, e.name)}
    if options.betas and options.betas_paper:
        raise ValueError("--betas and --betas-paper name one weight in two units; pass one")
    for one, many in (("beta", "--betas"), ("beta_paper", "--betas-paper"), ("seed", "--seeds")):
        if given.get(one) is not None and getattr(options, many[2:].replace("-", "_")):
            raise ValueError(f"--{one.replace('_', '-')} and {many} exclude each other; pass {many}")
    unit = "beta_paper" if options.betas_paper else "beta"
    weights: list[dict[str, Any]] = [{unit: b} for b in options.betas_paper or options.betas or ()] or [{}]
    seeds: list[dict[str, Any]] = [{"seed": seed} for seed in options.seeds or ()] or [{}]
    specs = [RunSpec.of(**{**given, **weight, **seed}).placed() for weight in weights for seed in seeds]
    return [(spec, options.out / name) for name, spec in {spec.name: spec for spec in specs}.items()]


def _numbers(value: Any) -> tuple[float, ...]:  # noqa: ANN401 - what was typed
    return tuple(float(part) for part in str(value).strip("[] ").split(",") if part.strip())

"""``python -m inference fit``: fit a program and keep the run."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from inference.commands.options import add_fit_options, fit_config

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "fit a Pyro program to a data set and keep settings, metrics, checkpoint and result in a folder"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--config", action="config", help="file (YAML or JSON) with any of the options below")
    add_fit_options(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --out, if there is one"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(options: Namespace) -> int:
    """Fit, and print the result."""
    config = fit_config(options)
    from inference.experiment import run as run_experiment
    from inference.tables import print_result

    result = run_experiment(config, resume=options.resume, progress=not options.quiet)
    print_result(result, config.out)
    return 0

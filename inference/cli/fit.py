"""``python -m inference fit``: fit a program and keep the run."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

from ib_pyro.choices import require_known
from inference.cli.arguments import Parser, add_settings, setting_reader
from inference.runs.settings import flag
from inference.runs.spec import RunSpec, entries

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "fit a Pyro program to a data set and keep settings, metrics, checkpoint and result in a folder"


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument(
        "--config",
        type=Path,
        help="file (YAML or JSON) with any of the options below, or the config.json of a run, which is then "
        "refitted; options that are typed as well go before it",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the run; it must be new, empty or (with --resume) this run's; by default that of a run's "
        "config.json",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --out, if there is one"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_settings(parser)


def run(options: Namespace) -> int:
    """Fit, and print the result."""
    spec, out = _asked_for(options)
    from inference.runs.result_tables import print_result
    from inference.runs.run import run as run_spec

    threads = None if options.config is None else _threads(options.config)
    result = run_spec(
        spec, out, resume=options.resume, progress=not options.quiet, threads=threads, spread=True
    )
    if result:  # of several processes the first has one
        print_result(result, out)
    return 0


def _asked_for(options: Namespace) -> tuple[RunSpec, Path]:
    """The run that options and file describe, and its folder."""
    names = [entry.name for _, entry in entries()]
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    stored = {} if options.config is None else _stored(options.config)
    place = stored.pop("out", None)
    out = options.out or place
    if out is None:
        raise ValueError("missing: --out (see --help)")
    for one, other in (("beta", "beta_paper"), ("beta_paper", "beta")):
        # Two units of one number: the one that is typed takes the place of the one in the file.
        if given.get(one) is not None:
            stored.pop(other, None)
    return RunSpec.of(**{**stored, **given}).placed(), Path(out)


def _stored(path: Path) -> dict[str, Any]:
    """Settings of a file: of the options by their names, or of the run whose ``config.json`` it is."""
    from inference.runs.older import read_spec

    content = _content(path)
    if "settings" in content:
        try:
            stored = read_spec(content).settings()
        except (TypeError, ValueError) as error:
            raise ValueError(f"--config {path}: {error}") from error
        content = {"out": path.parent, **stored}
    return {name.replace("-", "_"): _read(name.replace("-", "_"), value) for name, value in content.items()}


def _threads(path: Path) -> int | None:
    """CPU threads of the run whose ``config.json`` a file is, so that what is refitted rounds as it did."""
    threads = _content(path).get("threads")
    return threads if "settings" in _content(path) and isinstance(threads, int) else None


def _content(path: Path) -> dict[str, Any]:
    import yaml

    from inference.json_and_csv import read_json

    if path.name == "config.json":
        return read_json(path)
    try:
        text = path.read_text(encoding="utf-8")
        try:
            content = json.loads(text)  # what YAML takes for text, 1e-05, is a number there
        except ValueError:
            content = yaml.safe_load(text)
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"--config {path} is neither YAML nor JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"--config {path} holds {type(content).__name__}, not options by their names")
    return {str(name): value for name, value in content.items()}


def _read(name: str, value: Any) -> Any:  # noqa: ANN401 - a setting
    if name == "out":
        return Path(value)
    require_known("setting", name, [entry.name for _, entry in entries()])
    try:
        return setting_reader(name)(value)
    except ArgumentTypeError as error:
        raise ValueError(f"{flag(name)} {error}") from error

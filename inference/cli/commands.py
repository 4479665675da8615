"""The subcommands, and the parser that has them all."""

from __future__ import annotations

from importlib import import_module

from inference.cli.arguments import Parser
from inference.cli.called_as import called_as

__all__ = ["COMMANDS", "build_parser"]

# A subcommand is a module with SUMMARY, add_arguments(parser) and run(options) -> exit code. Such a module
# imports what is slow (torch, lightning) inside of run, so that --help answers at once.
COMMANDS = {
    "fit": "inference.cli.fit",
    "sweep": "inference.cli.sweep",
    "evaluate": "inference.cli.evaluate",
    "compare": "inference.cli.compare",
    "demo": "inference.cli.demo",
    "bench": "inference.cli.bench",
    "paper": "inference.cli.paper",
    "completion": "inference.cli.completion",
}


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the command line, and those of its subcommands by their names."""
    parser = Parser(
        prog=" ".join(called_as()),
        description="Fit Pyro programs and question them. Rates and distortions are in nats per sample.",
        epilog="With --traceback an error shows where it was raised.",
    )
    parser.add_argument("--version", action="store_true", help="say which version this is, and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    found = {}
    for name, path in COMMANDS.items():
        module = import_module(path)
        found[name] = commands.add_parser(name, description=module.SUMMARY, help=module.SUMMARY)
        module.add_arguments(found[name])
        found[name].set_defaults(run=module.run)
    return parser, found

"""The command line ``python -m inference``: ``main``, and a module for each subcommand."""

from inference.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]

"""The command line ``python -m inference``: ``main``, and a module for each subcommand."""

from inference.cli.commands import COMMANDS
from inference.cli.main import main

__all__ = ["COMMANDS", "main"]

"""Subcommands of ``python -m inference``, a module each."""

"""The command ``ib-pyro``, which is ``python -m inference`` where there is no checkout."""

from ib_pyro_cli.start import main

__all__ = ["main"]

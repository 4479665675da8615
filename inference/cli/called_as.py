"""How this process was started, as it is typed again."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["SCRIPT", "called_as"]

SCRIPT = "ib-pyro"


def called_as() -> list[str]:
    """Return the words before a subcommand: those of the installed command, or of ``python -m inference``.

    >>> called_as()
    ['python', '-m', 'inference']
    """
    return [SCRIPT] if Path(sys.argv[0]).stem == SCRIPT else ["python", "-m", "inference"]

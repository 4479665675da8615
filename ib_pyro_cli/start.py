"""Start the command line, wherever its rooms lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["main"]

# In the wheel `models` and `inference` lie here: their names are too common for somebody's site-packages, so that this
# process and those that it starts find them, and no other.
ROOMS = Path(__file__).parent / "rooms"


def main() -> int:
    """Run a subcommand; see ``inference.cli.main`` for its exit code."""
    if ROOMS.is_dir():
        sys.path.insert(0, str(ROOMS))
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(ROOMS) if not others else f"{ROOMS}{os.pathsep}{others}"
    from inference.cli import main as run

    return run()

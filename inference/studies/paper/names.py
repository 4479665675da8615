"""Names of the figures: those of the files ``fig<number>.py`` and ``table<number>.py``, without importing them."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

__all__ = ["FIGURES"]

_NAME = re.compile(r"(fig|table)\d+[a-z]?")

FIGURES = sorted(
    info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]) if _NAME.fullmatch(info.name)
)
"""Names of the figures, in their order."""

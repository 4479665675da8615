"""Types of an export's arguments and results."""

from collections.abc import Callable
from typing import Any

from ib_pyro.bottleneck import Bottleneck

__all__ = ["InferenceTree", "ProgramLike"]

InferenceTree = Any
"""An ``arviz.InferenceData`` or an ``xarray.DataTree``, as the installed ArviZ has it."""

ProgramLike = Bottleneck | tuple[Callable[..., Any], Callable[..., Any]]
"""A Bottleneck, or a pair of a model and a guide."""

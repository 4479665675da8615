"""What a fit is made of, as far as plain values say it: what goes on from a checkpoint must be made of the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.plain_values import plain
from ib_pyro.saving.module_options import difference_of, options_of

__all__ = ["Description", "describe_fit", "describe_program", "difference_to"]

Description = dict[str, dict[str, Any]]
"""Classes and plain options of all parts, by name."""

# How a step is computed, on whichever device; its numbers are meant to be the same.
ELSEWHERE = {"capturable", "device", "differentiable", "foreach", "fused"}


def describe_program(program: nn.Module) -> Description:
    """Describe the modules of a program."""
    return _without_places(options_of({"": program}))


def describe_fit(program: Description, optimizer: Optimizer, scheduler: LRScheduler | None) -> Description:
    """Describe a fit: its program as described, the optimiser and the schedule of the learning rate."""
    found = dict(program)
    for number, group in enumerate(optimizer.param_groups):
        name = f"the optimizer's group {number}" if number else "the optimizer"
        found[name] = {"class": type(optimizer).__name__, "options": _plain(group)}
    if scheduler is not None:
        found["the schedule"] = {
            "class": type(scheduler).__name__,
            "options": _plain(scheduler.state_dict()),
        }
    return _without_places(found)


def difference_to(here: Description, there: Description, last: Description) -> str:
    """Return the first difference between a fit and one that a checkpoint is of; "" where there is none.

    Args:
        here: The fit.
        there: The other one at its beginning.
        last: The same when the checkpoint was written: what counts steps has another value then, and who goes on with
            the same objects has that.
    """
    for name in [*there, *(name for name in here if name not in there)]:
        mine = _alone(here, name)
        difference = difference_of(_alone(there, name), mine, sides=("there", "here"))
        if difference and difference_of(_alone(last, name), mine):
            return difference.replace("module the ", "the ")
    return ""


def _without_places(description: Description) -> Description:
    return {
        name: {**part, "options": {n: value for n, value in part["options"].items() if n not in ELSEWHERE}}
        for name, part in description.items()
    }


def _alone(description: Description, name: str) -> Description:
    return {name: description[name]} if name in description else {}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, and what holds them, as values that a checkpoint has; the rest is left out."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name == "params" or name.startswith("_"):
            continue
        value = plain(value)
        if isinstance(value, Tensor) and value.numel() == 1:
            found[name] = value.item()
        elif isinstance(value, int | float | str | None):
            found[name] = value
        elif isinstance(value, list | tuple | dict) and all(
            isinstance(each, int | float | str) for each in value
        ):
            # In words, which hold the numbers of milestones too.
            found[name] = repr(dict(value) if isinstance(value, dict) else list(value))
    return found

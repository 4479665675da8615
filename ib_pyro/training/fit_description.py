"""What a fit is made of, as far as plain values say it: what goes on from a checkpoint must be made of the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.weak import WeakIdKeyDictionary

from ib_pyro.data.cache import fingerprint
from ib_pyro.plain_values import plain
from ib_pyro.saving.module_options import difference_of, options_of

__all__ = ["OBJECTIVE", "Description", "describe_fit", "describe_program", "difference_to", "told"]

Description = dict[str, dict[str, Any]]
"""Classes and plain options of all parts, by name."""
OBJECTIVE = "the objective"
"""What the names of an objective and its parts begin with."""

# How a step is computed, on whichever device; its numbers are meant to be the same.
ELSEWHERE = {"capturable", "device", "differentiable", "foreach", "fused"}
# More numbers than a message shows are told by a digest.
SHOWN = 32
_DIGESTS = WeakIdKeyDictionary()


def describe_program(program: nn.Module) -> Description:
    """Describe the modules of a program, with the numbers that no state of them holds, such as weights of classes."""
    found = options_of({"": program})
    for path, module in program.named_modules(remove_duplicate=False):
        beside = {name: told(module._buffers[name]) for name in sorted(module._non_persistent_buffers_set)}
        found[path] = {**found[path], "options": {**found[path]["options"], **beside}}
    return _without_places(found)


def told(value: object) -> Any:  # noqa: ANN401 (whatever a checkpoint holds)
    """Return a value as plain ones that tell it exactly; what is none is told by the name of its class.

    Args:
        value: Numbers, strings, tensors and arrays, and lists, sets and mappings of them. Tensors of many numbers are
            told by a digest.

    >>> told({"z2": torch.tensor(0.5), "z1": {"b", "a"}})
    {'z1': ['a', 'b'], 'z2': 0.5}
    """
    value = plain(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        return _told_tensor(value)
    if isinstance(value, Mapping):
        return {str(key): told(each) for key, each in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, set | frozenset):
        return sorted(str(each) for each in value)
    if isinstance(value, list | tuple):
        return [told(each) for each in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None if value is None else f"a {type(value).__qualname__}"


def _told_tensor(value: Tensor) -> Any:  # noqa: ANN401 (a number, a list of them, or words)
    shape = "x".join(map(str, value.shape)) if not is_lazy(value) else "no"
    if is_lazy(value) or value.is_meta or value.layout != torch.strided or value.is_quantized:
        return f"a tensor of {shape} numbers"
    return (
        value.tolist() if value.numel() <= SHOWN else f"{shape} numbers with the digest {_digest_of(value)}"
    )


def _digest_of(value: Tensor) -> str:
    """Return a digest of a tensor's numbers, which are gone through again only once they have been written to."""
    if value.is_inference():
        return fingerprint(value)
    version, digest = _DIGESTS.get(value, (None, ""))
    if version != value._version:
        digest = fingerprint(value.detach())
        _DIGESTS[value] = value._version, digest
    return digest


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

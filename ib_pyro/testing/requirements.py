"""What the contracts share: a sentence for each failure, and a state of the process that they leave as it was."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import pyro
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.utils import lazy_property

from ib_pyro.distributions.placement import moved
from ib_pyro.handlers import unwrap

__all__ = [
    "in_type",
    "parameter_tensors",
    "prefixed",
    "require",
    "says",
    "unchecked",
    "undisturbed",
    "with_leaves",
]

D = TypeVar("D", bound=Distribution)


def require(condition: bool | Tensor, sentence: str) -> None:
    """Raise an AssertionError with this sentence unless the condition holds; ``python -O`` does not leave it out."""
    if not bool(condition):
        raise AssertionError(sentence)


@contextmanager
def says(what: str) -> Iterator[None]:
    """Make whatever error is raised inside an AssertionError that begins with what was asked for."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Seed PyTorch, validate, keep Pyro's store empty and gradients on, and put all of it back afterwards."""
    with torch.random.fork_rng(), pyro.validation_enabled(True), pyro.get_param_store().scope():  # noqa: FBT003
        torch.manual_seed(seed)
        with torch.enable_grad():
            yield


@contextmanager
def prefixed(name: str) -> Iterator[None]:
    """Let each AssertionError begin with the name of what it is about."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error


def parameter_tensors(fn: Distribution) -> dict[str, Tensor]:
    """Return the floating tensors among a distribution's parameters, by name."""
    # Not those that are computed when asked for: some laws cannot be expanded any more once they are there.
    names = [name for name in fn.arg_constraints if name in vars(fn) or not _is_lazy(type(fn), name)]
    known = {name: getattr(fn, name, None) for name in names}
    return {name: v for name, v in known.items() if isinstance(v, Tensor) and v.is_floating_point()}


def _is_lazy(kind: type[Distribution], name: str) -> bool:
    return isinstance(getattr(kind, name, None), lazy_property)


def in_type(fn: D, dtype: torch.dtype) -> D:
    """Return a distribution with its floating tensors in another type, and without their graph."""
    detached = {id(v): v.detach().to(dtype) for v in parameter_tensors(unwrap(fn)).values()}
    other = moved(fn, lambda v: v.to(dtype) if v.is_floating_point() else v, detached)
    return cast(D, other)


def unchecked(fn: D) -> D:
    """Return a copy in double precision that takes any value."""
    other: Any = in_type(copy.deepcopy(fn), torch.float64)
    unwrap(other)._validate_args = other._validate_args = False
    return cast(D, other)


def with_leaves(fn: D) -> tuple[D, dict[str, Tensor]]:
    """Return a distribution with parameters that ask for a gradient, and these parameters by name."""
    given = parameter_tensors(unwrap(fn))
    leaves = {name: v.detach().clone().requires_grad_() for name, v in given.items()}
    other = moved(fn, lambda v: v, {id(v): leaves[name] for name, v in given.items()})
    return cast(D, other), leaves

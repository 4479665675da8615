"""What an objective is made of, exactly: weights, penalty, estimators and options, as plain values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.weights import Weight
from ib_pyro.training.fit_description import OBJECTIVE, Description, describe_program, told

__all__ = ["describe_objective"]

# How a value is computed, and what Pyro finds out by itself.
HOW = {
    "ignore_jit_warnings",
    "jit_options",
    "max_plate_nesting",
    "retain_graph",
    "strict_enumeration_warning",
}
TOLD = Tensor, Mapping, str, int, float, list, tuple, set, frozenset
FUNCTIONS = BuiltinFunctionType, FunctionType, MethodType, functools.partial, type


def describe_objective(
    elbo: InformationBottleneckELBO, targets: Mapping[str, Weight] | None = None
) -> Description:
    """Describe an objective by its attributes, and its penalty and estimators by theirs.

    Functions are told by their names, and modules as those of a program are; those that do not learn by their numbers
    too, since nothing else keeps these.

    Args:
        elbo: The objective.
        targets: Values of attributes that a schedule moves, in the place of those that it has now.

    >>> found = describe_objective(InformationBottleneckELBO({"z1": 0.1}, num_particles=2))
    >>> (
    ...     found["the objective"]["options"]["beta"],
    ...     found["the objective's total_correlation"]["class"],
    ... )
    ({'z1': 0.1}, 'GaussianTotalCorrelation')
    """
    found: Description = {}
    options: dict[str, Any] = {}
    for name, value in _attributes(elbo):
        value = (targets or {}).get(name, value)
        if _has_parts(value):
            found |= _describe_part(value, f"{OBJECTIVE}'s {name}")
        else:
            options[name] = told(value)
    return {OBJECTIVE: {"class": type(elbo).__qualname__, "options": options}, **found}


def _describe_part(part: object, title: str) -> Description:
    if isinstance(part, nn.Module):
        return _describe_module(part, title)
    if isinstance(part, FUNCTIONS):
        return {title: _describe_function(part)}
    found: Description = {}
    options = {}
    for name, value in _attributes(part):
        if isinstance(value, nn.Module):
            found |= _describe_module(value, f"{title}'s {name}")
        else:
            options[name] = told(value)
    return {title: {"class": type(part).__qualname__, "options": options}, **found}


def _describe_module(module: nn.Module, title: str) -> Description:
    found = {f"{title}'s {path}" if path else title: part for path, part in describe_program(module).items()}
    if not any(parameter.requires_grad for parameter in module.parameters()):
        numbers = {name: told(parameter) for name, parameter in module.named_parameters()}
        found[title] = {**found[title], "options": {**found[title]["options"], **numbers}}
    return found


def _describe_function(function: Any) -> dict[str, Any]:  # noqa: ANN401 (whatever is called)
    if isinstance(function, functools.partial):
        options = {str(place): told(value) for place, value in enumerate(function.args)}
        options |= {name: told(value) for name, value in function.keywords.items()}
        return {"class": _name_of(function.func), "options": options}
    return {"class": _name_of(function), "options": {}}


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _has_parts(value: object) -> bool:
    return isinstance(value, FUNCTIONS) or (hasattr(value, "__dict__") and not isinstance(value, TOLD))


def _attributes(part: object) -> Iterator[tuple[str, Any]]:
    """Go through public attributes, and properties whose value is kept under their name with an underscore."""
    for kept in getattr(part, "__dict__", {}):
        name = kept.lstrip("_")
        if name not in HOW and (name == kept or isinstance(getattr(type(part), name, None), property)):
            yield name, getattr(part, name)

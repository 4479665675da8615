"""One line of the differential table: a program, and what the ELBO shall make of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

__all__ = ["NO_CLOSED_FORM", "RIGHT", "Case", "Leaves", "Program", "program", "table"]

RIGHT = "right"
NO_CLOSED_FORM = r".*no closed.form"
"""What the refusal of a rate that can be sampled says, beside the name of the site."""

Callback = Callable[..., Any]


class Leaves:
    """A source of parameters: each call draws a leaf tensor of the given shape and remembers it."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    def __call__(self, *shape: int, scale: float = 0.3) -> Tensor:
        self.tensors.append((scale * torch.randn(shape)).requires_grad_())
        return self.tensors[-1]


@dataclass(frozen=True)
class Program:
    """A model and a guide with their arguments and the leaves that a gradient is asked for."""

    model: Callback
    guide: Callback
    args: tuple[Any, ...]
    leaves: tuple[Tensor, ...]

    def parameters(self) -> list[Tensor]:
        """Leaves, those of modules, and those of the parameter store, unconstrained; each once, in a fixed order."""
        modules = [side for side in (self.model, self.guide, *self.args) if isinstance(side, nn.Module)]
        found = [*self.leaves, *(value for module in modules for value in module.parameters())]
        found += [value for _, value in pyro.get_param_store().named_parameters()]
        return list({id(value): value for value in found if value.requires_grad}.values())


@dataclass(frozen=True)
class Case:
    """A program of the table.

    Attributes:
        section: Section of the compatibility page.
        name: What the program shows; the test's id.
        build: Takes a :class:`Leaves` and returns model, guide and any arguments.
        error: What becomes of it under ``on_no_closed_form="error"``: ``RIGHT``, or a regular expression that the
            message of the refusal matches.
        sampled: The same under ``"monte-carlo"``.
        forced: The same where ``sampled_rates`` names all latent sites; by default as ``sampled``.
        nesting: Number of plate dimensions, so that particles can be vectorised; None where the program allows
            none.
        gradient: Whether the gradients' expectations are compared too.
        exact: The expected loss in nats, where it is known in closed form.
    """

    section: str
    name: str
    build: Callback
    error: str = RIGHT
    sampled: str = RIGHT
    forced: str = ""
    nesting: int | None = 1
    gradient: bool = True
    exact: float | None = None

    def program(self) -> Program:
        """Build the program, and run the guide once, so that lazy parameters exist."""
        leaves = Leaves()
        model, guide, *args = self.build(leaves)
        if self.error == RIGHT or self.sampled == RIGHT:
            with poutine.trace():
                guide(*args)
        return Program(model, guide, tuple(args), tuple(leaves.tensors))


_BY_NAME: dict[str, Case] = {}


def table() -> list[Case]:
    """All programs, in the order of their sections."""
    return list(_BY_NAME.values())


def program(section: str, name: str, **fields: Any) -> Callable[[Callback], Callback]:
    """Add the decorated builder to the table.

    ``refused=...`` is short for the same refusal in every mode, ``closed_form=site`` for a rate of that site that has
    no closed form and can be sampled.
    """
    if (site := fields.pop("closed_form", None)) is not None:
        fields |= {"error": rf"site '{site}'{NO_CLOSED_FORM}"}
    if (message := fields.pop("refused", None)) is not None:
        fields |= {"error": message, "sampled": message}

    def add(build: Callback) -> Callback:
        known = _BY_NAME.get(name)
        # A module that is collected for its doctests runs a second time.
        if known is not None and _place(known.build) != _place(build):
            raise ValueError(f"two programs are called {name!r}; the name is the test's id")
        _BY_NAME[name] = Case(section, name, build, **fields)
        return build

    return add


def _place(build: Callback) -> tuple[str, int]:
    return build.__code__.co_filename, build.__code__.co_firstlineno

"""A mistake: what is asked with it, what a refusal must name, and what is right if it is answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ib_pyro import InformationBottleneckELBO

__all__ = ["MISTAKES", "Answer", "Draw", "Wrong", "asked", "mistake"]

Answer = Callable[[], Tensor]
"""What is asked, under PyTorch's ambient generator; numbers of any shape."""

NAMES = ("z", "z1", "code", "w_2", "latent.a", "upper", "z0", "noise_b")
NUMBERS = (-0.5, -1e-9, float("nan"), float("inf"), float("-inf"))
"""Numbers that are no weight."""


@dataclass(frozen=True)
class Wrong:
    """A question with a mistake in it.

    Args:
        answer: Asks.
        names: A refusal must name one of these: sites, arguments, parameters.
        truth: The right numbers, computed in another way, whose mean over draws is that of the answer's; None if
            nothing is right but to refuse.
        draws: How many seeds means are taken over, where there is an answer.
    """

    answer: Answer
    names: tuple[str, ...]
    truth: Answer | None = None
    draws: int = 1


class Draw:
    """What a mistake is drawn from.

    Args:
        generator: Draws.
    """

    def __init__(self, generator: random.Random) -> None:
        self.random = generator
        self.batch, self.dims = generator.randint(3, 7), generator.randint(2, 4)
        self._torch = torch.Generator().manual_seed(generator.randrange(2**31))

    def choice(self, *values: Any) -> Any:  # noqa: ANN401 - one of the values
        """One of them."""
        return self.random.choice(values)

    def names(self, number: int) -> tuple[str, ...]:
        """Names of sites."""
        return tuple(self.random.sample(NAMES, number))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float64."""
        return torch.randn(shape, generator=self._torch, dtype=torch.float64)

    def positive(self, *shape: int) -> Tensor:
        """Numbers in [0.3, 1.3), float64."""
        return 0.3 + torch.rand(shape, generator=self._torch, dtype=torch.float64)

    def labels(self, number: int, classes: int) -> Tensor:
        """Labels, int64, every class among them where there is room."""
        return torch.arange(number) % classes


Make = Callable[[Draw], Wrong]
MISTAKES: dict[str, Make] = {}
"""Mistakes by name, each a function that draws one of its forms."""


def mistake(make: Make) -> Make:
    """Add the decorated function to ``MISTAKES`` under its own name."""
    name = make.__name__.replace("_", " ")
    if name in MISTAKES and MISTAKES[name].__module__ != make.__module__:
        raise ValueError(f"two mistakes are called {name!r}")
    MISTAKES[name] = make
    return make


def asked(
    draw: Draw,
    elbo: InformationBottleneckELBO,
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Answer:
    """Return a question for the loss of a program, in one of the ways in which that can be asked."""
    given = dict(kwargs or {})
    ways: dict[str, Answer] = {
        "differentiable_loss": lambda: elbo.differentiable_loss(model, guide, *args, **given),
        "terms": lambda: elbo.terms(model, guide, *args, **given).loss,
        "module": lambda: elbo(model, guide)(*args, **given),
        "loss": lambda: torch.tensor(elbo.loss(model, guide, *args, **given)),
        "loss_and_grads": lambda: torch.tensor(elbo.loss_and_grads(model, guide, *args, **given)),
    }
    return ways[draw.choice(*ways)]

"""Models and guides with a mistake: a right pair is drawn, and one thing in it is done wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor

from ib_pyro import InformationBottleneckELBO
from ib_pyro.distributions import MultiplicativeLogNormal, ZeroInflatedLogUniform
from inference.studies.attack.mistakes.mistake import Draw, Wrong, asked

__all__ = ["DRAWS", "Latent", "Pair", "Side", "judged", "refused", "right_pair", "sampled_loss"]

Handler = Callable[[], AbstractContextManager[Any]]
Law = Callable[[Mapping[str, Tensor]], Any]
DRAWS = 150


@dataclass
class Latent:
    """A latent site of one side.

    Args:
        name: Its name.
        law: From the values so far to its elementwise law, of batch shape ``[batch, dims]``.
        event_dim: What ``to_event`` takes.
        handlers: What is put around it.
        options: Of ``pyro.sample``.
    """

    name: str
    law: Law
    event_dim: int = 1
    handlers: list[Handler] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Side:
    """A model or a guide: latents in a plate, and what is observed of their sum.

    Args:
        latents: The latent sites, in order.
        size: Samples in the plate; None for no plate.
        full: Size of the set that the plate is a subsample of.
        dim: Dimension of the plate.
        y: What is observed, ``[batch]``; None for a guide.
        handlers: What is put around the observation.
        before: What is done before anything else.
    """

    latents: list[Latent]
    size: int | None
    full: int | None = None
    dim: int = -1
    y: Tensor | None = None
    handlers: list[Handler] = field(default_factory=list)
    before: Callable[[], Any] = lambda: None

    def __call__(self) -> None:
        """Run it."""
        self.before()
        values: dict[str, Tensor] = {}
        with self._plate():
            for latent in self.latents:
                with ExitStack() as stack:
                    for handler in latent.handlers:
                        stack.enter_context(handler())
                    law = latent.law(values).to_event(latent.event_dim)
                    values[latent.name] = pyro.sample(latent.name, law, **latent.options)
            if self.y is not None:
                with ExitStack() as stack:
                    for handler in self.handlers:
                        stack.enter_context(handler())
                    total = sum(value.sum(-1) for value in values.values())
                    pyro.sample("y", dist.Normal(total, 1.0), obs=self.y)

    def _plate(self) -> AbstractContextManager[Any]:
        if self.size is None:
            return ExitStack()
        subsample = None if self.full is None else torch.arange(self.size)
        return pyro.plate("data", self.full or self.size, subsample=subsample, dim=self.dim)


@dataclass
class Pair:
    """A model and a guide, the names of their latents, and what gradients are asked for."""

    model: Side
    guide: Side
    leaves: list[Tensor]

    @property
    def names(self) -> tuple[str, ...]:
        """What there is to name."""
        sites = (*self.model.latents, *self.guide.latents)
        return (*dict.fromkeys(latent.name for latent in sites), "y", "data")


def right_pair(draw: Draw, *, latents: int | None = None, family: str | None = None) -> Pair:
    """Draw a model and a guide without a mistake: one to three latents, each under a prior of its own kind.

    Args:
        draw: Draws.
        latents: Number of latents, if it matters.
        family: Kind of all of them, if it matters: a key of ``FAMILIES``.
    """
    names, leaves = draw.names(latents or draw.random.randint(1, 3)), list[Tensor]()
    sides: tuple[list[Latent], list[Latent]] = ([], [])
    for name in names:
        loc, scale = draw.normal(draw.batch, draw.dims), draw.positive(draw.batch, draw.dims)
        leaves += [loc.requires_grad_(), scale.requires_grad_()]
        kinds = FAMILIES[family or draw.choice(*FAMILIES)]
        for side, kind in zip(sides, kinds, strict=True):
            side.append(Latent(name, lambda _, kind=kind, loc=loc, scale=scale: kind(loc, scale)))
    model = Side(sides[0], draw.batch, y=draw.normal(draw.batch))
    return Pair(model, Side(sides[1], draw.batch), leaves)


def _zeros(loc: Tensor) -> Tensor:
    return torch.zeros_like(loc)


FAMILIES: dict[str, tuple[Callable[[Tensor, Tensor], Any], Callable[[Tensor, Tensor], Any]]] = {
    "normal": (lambda loc, _: dist.Normal(_zeros(loc), 1.0), dist.Normal),
    "log-normal": (lambda loc, _: dist.LogNormal(_zeros(loc), 1.0), dist.LogNormal),
    "noise on positive": (
        lambda loc, _: dist.LogNormal(_zeros(loc), 1.0),
        lambda loc, scale: MultiplicativeLogNormal(loc.exp(), scale / 2),
    ),
    "noise with atoms": (
        lambda loc, _: ZeroInflatedLogUniform(torch.full_like(loc, 0.5)),
        lambda loc, scale: MultiplicativeLogNormal(loc.relu(), scale / 2),
    ),
}
"""Prior and posterior of a latent, as functions of two parameters of the posterior."""


def judged(draw: Draw, pair: Pair, *names: str, elbo: InformationBottleneckELBO | None = None) -> Wrong:
    """A question whose answer, and its gradient, must be what the densities at the draws say, or be refused."""
    beta = draw.choice(1.0, 0.3, {pair.names[0]: 0.5})
    how = draw.choice("error", "error", "monte-carlo")
    elbo = elbo or InformationBottleneckELBO(beta, on_no_closed_form=how)

    def with_gradient(loss: Tensor) -> Tensor:
        gradients: Any = [None] * len(pair.leaves)
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, pair.leaves, allow_unused=True)
        flat = [
            torch.zeros_like(leaf).flatten() if gradient is None else gradient.flatten()
            for leaf, gradient in zip(pair.leaves, gradients, strict=True)
        ]
        return torch.cat([loss.detach().reshape(1).double(), *flat])

    return Wrong(
        lambda: with_gradient(elbo.differentiable_loss(pair.model, pair.guide)),
        names or pair.names,
        truth=lambda: with_gradient(sampled_loss(pair.model, pair.guide, elbo.beta)),
        draws=DRAWS,
    )


def refused(draw: Draw, pair: Pair, *names: str) -> Wrong:
    """A question that nothing but a refusal answers."""
    elbo = InformationBottleneckELBO(on_no_closed_form=draw.choice("error", "monte-carlo"))
    return Wrong(asked(draw, elbo, pair.model, pair.guide), names or pair.names)


def sampled_loss(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    beta: Any,  # noqa: ANN401 - a weight
    args: tuple[Any, ...] = (),
) -> Tensor:
    """``-log p(y|z) + sum_l beta_l (log p(z_l|x) - log q(z_l))`` at one draw, by Pyro's own traces.

    Args:
        model: The model.
        guide: The guide.
        beta: One weight, or one by site, which is 1 of others.
        args: What both are called with.
    """
    with poutine.trace() as guide_trace:
        guide(*args)
    with poutine.trace() as model_trace:
        poutine.replay(model, guide_trace.trace)(*args)
    loss = torch.zeros((), dtype=torch.float64)
    for trace, sign in ((guide_trace.trace, 1.0), (model_trace.trace, -1.0)):
        trace.compute_log_prob()
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and name != "data":
                weight = 1.0 if site["is_observed"] else _weight(beta, name)
                loss = loss + sign * weight * site["log_prob_sum"]
    return loss


def _weight(beta: Any, name: str) -> float:  # noqa: ANN401
    weight = beta.get(name, 1.0) if isinstance(beta, Mapping) else beta
    return float(torch.as_tensor(weight, dtype=torch.float64).mean())


def nan_in(draw: Draw, value: Tensor) -> Tensor:
    """The tensor with one element that is NaN."""
    flat = value.detach().flatten().clone()
    flat[draw.random.randrange(len(flat))] = math.nan
    return flat.reshape(value.shape)

"""Weights, targets and options of an objective that are none, or of sites that there are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor

from ib_pyro import InformationBottleneckELBO
from ib_pyro.elbo import Capacity, CapacityELBO, FreeBits, FreeBitsELBO
from inference.studies.attack.mistakes.mistake import NUMBERS, Draw, Wrong, asked, mistake
from inference.studies.attack.mistakes.pairs import Pair, judged, right_pair

__all__: list[str] = []

Make = Callable[[Any], InformationBottleneckELBO]
WEIGHTS: dict[str, Make] = {
    "beta": lambda value: InformationBottleneckELBO(value),
    "gamma": lambda value: InformationBottleneckELBO(gamma=value),
    "capacity": lambda value: CapacityELBO(value),
    "free_nats": lambda value: FreeBitsELBO(value),
}
"""Objectives by the name of a weight or target of theirs."""


def refused_by(draw: Draw, pair: Pair, make: Callable[[], InformationBottleneckELBO], *names: str) -> Wrong:
    """A question to an objective that is refused, when it is made or when it is asked."""
    return Wrong(lambda: asked(draw, make(), pair.model, pair.guide)(), names)


@mistake
def a_weight_that_is_no_weight(draw: Draw) -> Wrong:
    """A number that is negative or not finite, alone, in a tensor or for a site."""
    pair, name = right_pair(draw), draw.choice(*WEIGHTS)
    number = draw.choice(*NUMBERS)
    vector = torch.full((draw.batch,), 0.5)
    vector[draw.random.randrange(draw.batch)] = number
    forms = [number, torch.tensor(number), np.float32(number), {pair.names[0]: number}]
    forms += [vector, {pair.names[0]: vector}]
    form = draw.choice(*forms)
    return refused_by(draw, pair, lambda: WEIGHTS[name](form), name)


@mistake
def a_weight_of_another_type(draw: Draw) -> Wrong:
    """Words, lists, arrays, complex numbers and nothing."""
    pair, name = right_pair(draw), draw.choice(*WEIGHTS)
    forms: list[Any] = ["0.1", "", None, [0.1], (0.1,), np.ones(3), 1j, object(), {pair.names[0]: "0.1"}]
    forms += [{pair.names[0]: [1.0]}, {pair.names[0]: {pair.names[0]: 1.0}}, torch.tensor([1j, 1j])]
    form = draw.choice(*forms)
    return refused_by(draw, pair, lambda: WEIGHTS[name](form), name)


@mistake
def a_weight_of_a_site_that_is_not_there(draw: Draw) -> Wrong:
    """A name with a mistake in it, of a plate or of what is observed."""
    pair, name = right_pair(draw), draw.choice(*WEIGHTS)
    first = pair.names[0]
    wrong = draw.choice(first + "_", first.upper() + "x", "y", "data", "", f"{first} ")
    return refused_by(draw, pair, lambda: WEIGHTS[name]({wrong: 0.5}), name)


@mistake
def a_weight_set_to_what_is_none(draw: Draw) -> Wrong:
    """The same, set after the objective was made, as a schedule does."""
    pair, name = right_pair(draw), draw.choice(*WEIGHTS)
    value = draw.choice(*NUMBERS, None, "0.1", {pair.names[0]: -1.0})

    def make() -> InformationBottleneckELBO:
        elbo = WEIGHTS[name](0.5 if name != "gamma" else 0.0)
        setattr(elbo, name, value)
        return elbo

    return refused_by(draw, pair, make, name)


@mistake
def a_beta_for_other_samples(draw: Draw) -> Wrong:
    """A tensor that does not broadcast to a site's batch, or broadcasts beyond it."""
    pair = right_pair(draw)
    shape = draw.choice((draw.batch, 1), (2, draw.batch), (draw.batch + 1,), (draw.batch, draw.batch))
    beta: Any = torch.full(shape, 0.5)
    form = draw.choice(beta, {pair.names[0]: beta})
    return refused_by(draw, pair, lambda: InformationBottleneckELBO(form), "beta")


@mistake
def a_beta_written_otherwise(draw: Draw) -> Wrong:
    """Whole numbers, truth values, NumPy's numbers, tensors of one element: all right."""
    pair = right_pair(draw)
    one = torch.ones(())
    forms = [
        1,
        True,
        np.float64(1),
        np.int64(1),
        torch.tensor(1),
        one,
        one.reshape(1),
        one.expand(draw.batch),
    ]
    return judged(draw, pair, elbo=InformationBottleneckELBO(beta=draw.choice(*forms)))


@mistake
def a_vector_where_one_number_is_meant(draw: Draw) -> Wrong:
    """A gamma, a target, or the weight of a penalty, for each sample."""
    pair, vector = right_pair(draw), torch.full((draw.batch,), 0.5)
    makes: dict[str, Callable[[], InformationBottleneckELBO]] = {
        "gamma": lambda: InformationBottleneckELBO(gamma=vector),
        "capacity": lambda: CapacityELBO(vector),
        "free_nats": lambda: FreeBitsELBO({pair.names[0]: vector}),
        "beta": lambda: draw.choice(CapacityELBO, FreeBitsELBO)(1.0, beta=vector),
    }
    name = draw.choice(*makes)
    return refused_by(draw, pair, makes[name], name)


@mistake
def options_that_are_none(draw: Draw) -> Wrong:
    """Words with a mistake in them, numbers for words, particles that are none."""
    pair = right_pair(draw)
    wrong: dict[str, tuple[Any, ...]] = {
        "on_no_closed_form": ("sample", "montecarlo", 3, ""),
        "on_missing_kl": ("warn", "Error"),
        "total_correlation": ("gauss", "mws", 3),
        "sampled_rates": (["there is no such"], ["y"], "y", 3),
        "num_particles": (0, -1, 2.5, "2"),
        "penalty": (20.0, "capacity", Capacity),
        "gama": (0.5,),
    }
    name = draw.choice(*wrong)
    options = {name: draw.choice(*wrong[name])}
    return refused_by(draw, pair, lambda: InformationBottleneckELBO(gamma=0.0, **options), name)


@mistake
def two_names_of_one_option(draw: Draw) -> Wrong:
    """They say different things."""
    pair = right_pair(draw)
    options = {"on_missing_kl": "error", "on_no_closed_form": "monte-carlo"}
    return refused_by(draw, pair, lambda: InformationBottleneckELBO(**options), *options)


@mistake
def a_gamma_where_no_total_correlation_is(draw: Draw) -> Wrong:
    """Of samples that are masked, scaled, in particles, too few, or in no plate."""
    pair = right_pair(draw, latents=1, family="normal")
    name = pair.names[0]
    options: dict[str, Any] = {}
    how = draw.choice("mask", "scale", "particles", "few", "global", "two plates")
    sides = (pair.model, pair.guide)
    mask, scale = torch.arange(draw.batch) > 0, draw.positive(draw.batch)
    if how == "mask":
        [side.latents[0].handlers.append(lambda: poutine.mask(mask=mask)) for side in sides]
    elif how == "scale":
        [side.latents[0].handlers.append(lambda: poutine.scale(scale=scale)) for side in sides]
    elif how == "particles":
        options = {"num_particles": 2, "vectorize_particles": True, "max_plate_nesting": 1}
    else:
        laws = {
            "few": lambda: dist.Normal(torch.zeros(draw.batch, draw.batch), 1.0).to_event(1),
            "global": lambda: dist.Normal(torch.zeros(draw.dims), 1.0).to_event(1),
            "two plates": lambda: dist.Normal(torch.zeros(2, draw.batch, draw.dims), 1.0).to_event(1),
        }
        pair = Pair(*(_alone(name, how, laws[how], draw.batch) for _ in sides), [])  # type: ignore[arg-type]
    gamma = draw.choice(0.5, {name: 0.5})
    elbo = InformationBottleneckELBO(gamma=gamma, **options)
    return Wrong(asked(draw, elbo, pair.model, pair.guide), (name, "gamma", "samples"))


def _alone(name: str, how: str, law: Callable[[], Any], batch: int) -> Callable[[], None]:
    def run() -> None:
        with pyro.plate_stack("plates", {"few": (batch,), "two plates": (2, batch)}.get(how, ())):
            pyro.sample(name, law())

    return run


@mistake
def a_rate_that_is_infinite(draw: Draw) -> Wrong:
    """The prior has bounds that the posterior's noise does not know, or lacks its atom."""
    from ib_pyro.distributions import MultiplicativeLogNormal, ZeroInflatedLogUniform

    pair = right_pair(draw, latents=1)
    (prior,), (posterior,) = pair.model.latents, pair.guide.latents
    one = torch.ones(draw.batch, draw.dims, dtype=torch.float64)
    f = draw.choice(
        one, torch.where(torch.rand_like(one) < 0.5, 0.0, 1.0).index_fill(0, torch.tensor(0), 0.0)
    )
    posterior.law = lambda _: MultiplicativeLogNormal(f, 0.3 * one)
    without_atom = dist.LogNormal(0 * one, one)
    bounded = ZeroInflatedLogUniform(0.5 * one, 1e-3, 1e3)
    prior.law = (lambda _: bounded) if bool((f > 0).all()) else (lambda _: draw.choice(without_atom))
    elbo = draw.choice(InformationBottleneckELBO(), InformationBottleneckELBO(0.1), CapacityELBO(1.0))
    return Wrong(asked(draw, elbo, pair.model, pair.guide), (prior.name,))


@mistake
def a_penalty_of_a_rate_that_has_none(draw: Draw) -> Wrong:
    """A capacity or free nats, whose value is known, of a rate that is known: right by hand."""
    pair = right_pair(draw, latents=1, family="normal")
    (posterior,) = pair.guide.latents
    target, free = draw.choice(0.0, 0.5, 50.0), draw.choice(True, False)
    elbo = InformationBottleneckELBO(penalty=FreeBits(target) if free else Capacity(target))

    def by_hand() -> Tensor:
        law = posterior.law({})
        loc, scale = law.loc.detach(), law.scale.detach()
        rate = (0.5 * (scale**2 + loc**2 - 1) - scale.log()).sum()
        z = pyro.sample(posterior.name, law.to_event(1)).detach().sum(-1)
        assert pair.model.y is not None
        distortion = 0.5 * ((pair.model.y - z) ** 2 + math.log(2 * math.pi)).sum()
        total = target * draw.batch
        return distortion + (torch.clamp(rate, min=total) if free else (rate - total).abs())

    def answer() -> Tensor:
        return elbo.differentiable_loss(pair.model, pair.guide).detach()

    return Wrong(answer, (posterior.name,), truth=by_hand)


@mistake
def sites_of_one_guide_site(draw: Draw) -> Wrong:
    """A beta for one latent of an automatic guide that draws all of them together."""
    from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal

    pair = right_pair(draw, latents=2, family="normal")
    guide = draw.choice(AutoDiagonalNormal, AutoMultivariateNormal)(pair.model)
    with pyro.get_param_store().scope():
        guide()
    elbo = InformationBottleneckELBO({draw.choice(*pair.names[:2]): 0.5})
    return Wrong(asked(draw, elbo, pair.model, guide), pair.names[:2])

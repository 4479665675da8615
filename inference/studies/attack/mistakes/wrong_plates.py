"""Plates, scales and masks that are missing, of another size, or on one side alone."""

from __future__ import annotations

import math
from typing import Any

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine

from ib_pyro import InformationBottleneckELBO
from inference.studies.attack.mistakes.mistake import Draw, Wrong, mistake
from inference.studies.attack.mistakes.pairs import Handler, Pair, Side, judged, refused, right_pair

__all__: list[str] = []


def one_side(draw: Draw, pair: Pair) -> Side:
    """One of both sides."""
    side: Side = draw.choice(pair.model, pair.guide)
    return side


@mistake
def no_plate_on_one_side(draw: Draw) -> Wrong:
    """The batch is no plate's there."""
    pair = right_pair(draw)
    one_side(draw, pair).size = None
    return judged(draw, pair)


@mistake
def no_plate_at_all(draw: Draw) -> Wrong:
    """The batch is no plate's anywhere."""
    pair = right_pair(draw)
    pair.model.size = pair.guide.size = None
    return judged(draw, pair)


@mistake
def a_plate_of_another_size(draw: Draw) -> Wrong:
    """The plate is larger or smaller than the batch."""
    pair, size = right_pair(draw), draw.batch + draw.choice(-1, 1, 5)
    for side in draw.choice([pair.model], [pair.guide], [pair.model, pair.guide]):
        side.size = size
    return refused(draw, pair)


@mistake
def a_plate_in_another_dimension(draw: Draw) -> Wrong:
    """The plate is not where the batch is."""
    pair = right_pair(draw)
    one_side(draw, pair).dim = -2
    return judged(draw, pair)


@mistake
def a_subsample_on_one_side(draw: Draw) -> Wrong:
    """One side takes the batch for a part of a larger set."""
    pair = right_pair(draw)
    one_side(draw, pair).full = draw.batch * draw.choice(2, 3, 10)
    return judged(draw, pair)


@mistake
def subsamples_of_sets_of_different_size(draw: Draw) -> Wrong:
    """Both sides do, but of sets that differ."""
    pair = right_pair(draw)
    pair.model.full, pair.guide.full = 2 * draw.batch, 2 * draw.batch + draw.choice(1, draw.batch)
    return judged(draw, pair)


@mistake
def a_set_that_is_smaller_than_its_subsample(draw: Draw) -> Wrong:
    """The size of the set is less than that of the batch."""
    pair = right_pair(draw)
    for side in (pair.model, pair.guide):
        side.full = draw.batch - draw.choice(1, 2)
    return judged(draw, pair, *pair.names, "subsample", "size")


@mistake
def a_scale_on_one_side(draw: Draw) -> Wrong:
    """A latent is scaled in the model or in the guide alone, or to different numbers."""
    pair, scale = right_pair(draw), draw.choice(0.5, 3.0, draw.positive(draw.batch))
    side = one_side(draw, pair)
    draw.choice(*side.latents).handlers.append(lambda: poutine.scale(scale=scale))
    if draw.choice(True, False):
        other = pair.guide if side is pair.model else pair.model
        other.latents[0].handlers.append(lambda: poutine.scale(scale=0.7))
    return judged(draw, pair)


@mistake
def a_mask_on_one_side(draw: Draw) -> Wrong:
    """A latent is masked in the model or in the guide alone."""
    pair, mask = right_pair(draw), draw.choice(torch.arange(draw.batch) > 0, torch.tensor(False))
    draw.choice(*one_side(draw, pair).latents).handlers.append(lambda: poutine.mask(mask=mask))
    return judged(draw, pair)


@mistake
def a_mask_inside_of_one_law(draw: Draw) -> Wrong:
    """The law of a latent is masked on one side."""
    pair, mask = right_pair(draw), torch.arange(draw.batch) > 0
    latent = draw.choice(*one_side(draw, pair).latents)
    inner = latent.law
    latent.law = lambda values: inner(values).mask(mask.unsqueeze(-1))
    return judged(draw, pair)


@mistake
def a_scale_or_mask_of_the_observation(draw: Draw) -> Wrong:
    """What is observed is weighted, which is right."""
    pair = right_pair(draw)
    handlers: list[Handler] = [
        lambda: poutine.scale(scale=0.3),
        lambda: poutine.mask(mask=torch.arange(draw.batch) > 1),
    ]
    pair.model.handlers.append(draw.choice(*handlers))
    return judged(draw, pair)


@mistake
def a_scale_that_is_no_weight(draw: Draw) -> Wrong:
    """Both sides have the same scale, which is none."""
    pair, scale = right_pair(draw), draw.choice(-1.0, 0.0, math.nan, math.inf, torch.tensor(-2.0))
    for side in (pair.model, pair.guide):
        side.latents[0].handlers.append(lambda: poutine.scale(scale=scale))
    return refused(draw, pair, pair.model.latents[0].name, "scale")


@mistake
def a_mask_or_scale_of_another_shape(draw: Draw) -> Wrong:
    """Both sides, or the observation, have the same mask or scale, of more samples than there are."""
    pair = right_pair(draw)
    shape = draw.choice((draw.batch + 1,), (draw.batch, 1), (2, draw.batch))
    mask, scale = torch.ones(shape, dtype=torch.bool), torch.full(shape, 0.5)
    handler: Handler = draw.choice(lambda: poutine.mask(mask=mask), lambda: poutine.scale(scale=scale))
    handlers = draw.choice(
        [pair.model.handlers], [pair.model.latents[0].handlers, pair.guide.latents[0].handlers]
    )
    for each in handlers:
        each.append(handler)
    return refused(draw, pair, pair.model.latents[0].name, "y", "mask", "scale")


@mistake
def one_plate_inside_of_itself(draw: Draw) -> Wrong:
    """The plate is entered twice."""
    pair = right_pair(draw)
    latent = draw.choice(*one_side(draw, pair).latents)
    dim = draw.choice(-1, -2)
    latent.handlers.append(lambda: pyro.plate("data", draw.batch, dim=dim))
    return judged(draw, pair)


@mistake
def too_few_plate_dimensions_for_particles(draw: Draw) -> Wrong:
    """Particles are vectorised into a dimension that the plate has."""
    pair = right_pair(draw)
    particles: dict[str, Any] = {"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 0}
    elbo = InformationBottleneckELBO(**particles)
    return judged(draw, pair, *pair.names, "max_plate_nesting", "num_particles_vectorized", elbo=elbo)


@mistake
def a_loop_for_a_plate(draw: Draw) -> Wrong:
    """The guide goes through the samples one by one, under names of their own."""
    pair = right_pair(draw, latents=1, family="normal")
    (latent,) = pair.guide.latents

    def guide() -> None:
        for i in pyro.plate("data", draw.batch):
            pyro.sample(f"{latent.name}_{i}", dist.Normal(draw.normal(draw.dims), 1.0).to_event(1))

    pair.guide = guide  # type: ignore[assignment]
    return refused(draw, pair, latent.name)

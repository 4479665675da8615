"""Sites that one side lacks, observes or samples otherwise: names, orders, laws, supports and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor

from inference.studies.attack.mistakes.mistake import Draw, Wrong, mistake
from inference.studies.attack.mistakes.pairs import Latent, judged, nan_in, refused, right_pair

__all__: list[str] = []


@mistake
def a_site_that_the_model_lacks(draw: Draw) -> Wrong:
    """The guide samples one more."""
    pair = right_pair(draw)
    extra = Latent("extra", lambda _: dist.Normal(torch.zeros(draw.batch, draw.dims), 1.0))
    pair.guide.latents.insert(draw.random.randint(0, len(pair.guide.latents)), extra)
    return refused(draw, pair, "extra")


@mistake
def a_site_that_the_guide_lacks(draw: Draw) -> Wrong:
    """The model samples one more, and maybe enumerates it."""
    pair = right_pair(draw)
    options = draw.choice({}, {"infer": {"enumerate": "parallel"}})
    extra = Latent(
        "extra", lambda _: dist.Bernoulli(torch.full((draw.batch, draw.dims), 0.5)), options=options
    )
    pair.model.latents.insert(0, extra)
    return refused(draw, pair, "extra")


@mistake
def a_site_of_another_name(draw: Draw) -> Wrong:
    """The guide's name has a mistake in it."""
    pair = right_pair(draw)
    latent = draw.choice(*pair.guide.latents)
    before = latent.name
    latent.name = draw.choice(before + "_", before.upper() + "0", f"guide.{before}")
    return refused(draw, pair, before)


@mistake
def a_site_that_the_guide_blocks(draw: Draw) -> Wrong:
    """A handler hides the guide's site."""
    pair = right_pair(draw)
    name = draw.choice(*pair.guide.latents).name
    pair.guide = poutine.block(pair.guide, hide=[name])
    return refused(draw, pair, name)


@mistake
def model_and_guide_swapped(draw: Draw) -> Wrong:
    """The guide's place is the model's."""
    pair = right_pair(draw)
    pair.model, pair.guide = pair.guide, pair.model
    return refused(draw, pair)


@mistake
def data_that_nobody_passes(draw: Draw) -> Wrong:
    """What should be observed is sampled."""
    pair = right_pair(draw)
    pair.model = poutine.uncondition(pair.model)
    return refused(draw, pair, "y")


@mistake
def a_latent_that_one_side_observes(draw: Draw) -> Wrong:
    """A latent has a value in the model or in the guide."""
    pair = right_pair(draw)
    latent = draw.choice(*draw.choice(pair.model, pair.guide).latents)
    latent.options["obs"] = draw.positive(draw.batch, draw.dims)
    return refused(draw, pair, latent.name)


@mistake
def a_latent_that_the_model_computes(draw: Draw) -> Wrong:
    """The model has a deterministic site where the guide samples."""
    pair = right_pair(draw, latents=draw.choice(2, 3))
    name = draw.choice(*pair.guide.latents).name
    pair.model.latents = [latent for latent in pair.model.latents if latent.name != name]
    pair.model.before = lambda: pyro.deterministic(name, torch.zeros(draw.batch, draw.dims), event_dim=2)
    return refused(draw, pair, name)


@mistake
def a_site_that_is_sampled_twice(draw: Draw) -> Wrong:
    """Both sites have one name."""
    pair = right_pair(draw)
    side = draw.choice(pair.model, pair.guide)
    latent = draw.choice(*side.latents)
    side.latents.append(latent)
    return refused(draw, pair, latent.name)


@mistake
def a_factor_in_the_guide(draw: Draw) -> Wrong:
    """The guide says what only a model says."""
    pair = right_pair(draw)
    pair.guide.before = lambda: pyro.factor("bonus", torch.tensor(1.5))
    return refused(draw, pair, "bonus")


@mistake
def a_factor_in_the_model(draw: Draw) -> Wrong:
    """The model has a potential, which is part of the distortion, and right."""
    pair, potential = right_pair(draw), draw.normal(1)[0]
    pair.model.before = lambda: pyro.factor("bonus", potential)
    return judged(draw, pair)


@mistake
def draws_without_a_gradient(draw: Draw) -> Wrong:
    """The guide's law is detached, or has discrete values."""
    # Pyro itself loses the flag of its own laws where a plate expands them.
    pair = right_pair(draw, family="noise with atoms")
    latent = draw.choice(*pair.guide.latents)
    law = latent.law
    shape = (draw.batch, draw.dims)
    other: Any = draw.choice(
        lambda values: law(values).has_rsample_(False),
        lambda _: dist.Bernoulli(torch.full(shape, 0.5)),
        lambda _: dist.Poisson(torch.ones(shape)),
        lambda _: dist.Categorical(torch.ones(*shape, 3)),
    )
    latent.law = other
    return refused(draw, pair, latent.name)


@mistake
def a_prior_with_another_support(draw: Draw) -> Wrong:
    """The prior has no mass where the posterior has some, or the other way round."""
    pair, shape = right_pair(draw), (draw.batch, draw.dims)
    latent = draw.choice(*pair.model.latents)
    one = torch.ones(shape, dtype=torch.float64)
    laws: tuple[Any, ...] = (
        dist.LogNormal(0 * one, one),
        dist.Uniform(0 * one, one),
        dist.Gamma(2 * one, one),
        dist.HalfNormal(one),
        dist.Beta(one, one),
        dist.Normal(0 * one, one),
        dist.Exponential(one),
    )
    law = draw.choice(*laws)
    latent.law = lambda _: law
    return judged(draw, pair)


@mistake
def other_event_dimensions(draw: Draw) -> Wrong:
    """What is one event on one side is several, or part of a larger one, on the other."""
    pair = right_pair(draw)
    side = draw.choice(pair.model, pair.guide)
    draw.choice(*side.latents).event_dim = draw.choice(0, 2)
    return judged(draw, pair)


@mistake
def events_of_another_size(draw: Draw) -> Wrong:
    """Both sides differ in the number of units, which may broadcast."""
    pair = right_pair(draw, family="normal")
    latent = draw.choice(*draw.choice(pair.model, pair.guide).latents)
    dims = draw.choice(1, draw.dims + 1)
    loc = draw.normal(draw.batch, dims)
    latent.law = lambda _: dist.Normal(loc, 1.0)
    return refused(draw, pair)


@mistake
def batches_of_another_size(draw: Draw) -> Wrong:
    """A latent has other samples than the plate, or one for all."""
    pair = right_pair(draw, family="normal")
    latent = draw.choice(*draw.choice(pair.model, pair.guide).latents)
    loc = draw.normal(draw.choice(1, draw.batch + 1, 2 * draw.batch), draw.dims)
    latent.law = lambda _: dist.Normal(loc, 1.0)
    return judged(draw, pair)


@mistake
def another_order_of_dependent_sites(draw: Draw) -> Wrong:
    """The model's prior depends on what the guide samples later."""
    pair = right_pair(draw, latents=draw.choice(2, 3), family="normal")
    first, *_, last = pair.model.latents

    def given_first(values: Mapping[str, Tensor]) -> Any:  # noqa: ANN401
        return dist.Normal(0.7 * values[first.name], 1.0)

    last.law = given_first
    pair.guide.latents.reverse()
    return judged(draw, pair)


@mistake
def a_point_for_a_posterior(draw: Draw) -> Wrong:
    """The guide has a value and no law, so that the rate is a density alone."""
    pair = right_pair(draw, family=draw.choice("normal", "log-normal"))
    latent = draw.choice(*pair.guide.latents)
    at, log_density = draw.positive(draw.batch, draw.dims), draw.choice(0.0, 0.4)
    latent.law = lambda _: dist.Delta(at, log_density=torch.full_like(at, log_density))
    return judged(draw, pair)


@mistake
def a_posterior_of_another_kind(draw: Draw) -> Wrong:
    """The guide's law is a transform, or of heavy tails, with no divergence to the prior."""
    pair, shape = right_pair(draw, family="normal"), (draw.batch, draw.dims)
    latent = draw.choice(*pair.guide.latents)
    one = torch.ones(shape, dtype=torch.float64)
    affine = dist.transforms.AffineTransform(0.3, 0.5)
    latent.law = draw.choice(
        lambda _: dist.TransformedDistribution(dist.Normal(0 * one, one), [affine]),
        lambda _: dist.Logistic(0 * one, 0.5 * one),
        lambda _: dist.Laplace(0 * one, one),
        lambda _: dist.TransformedDistribution(
            dist.Normal(0 * one, one), [dist.transforms.SigmoidTransform()]
        ),
    )
    return judged(draw, pair)


@mistake
def parameters_that_are_none(draw: Draw) -> Wrong:
    """A posterior or a prior has NaN in its location, or a scale that is not positive."""
    pair = right_pair(draw, family="normal")
    latent = draw.choice(*draw.choice(pair.model, pair.guide).latents)
    loc, scale = draw.normal(draw.batch, draw.dims), draw.positive(draw.batch, draw.dims)
    if draw.choice(True, False):
        loc = nan_in(draw, loc)
    else:
        scale = draw.choice(nan_in(draw, scale), -scale, 0 * scale)
    latent.law = lambda _: dist.Normal(loc, scale)
    return refused(draw, pair, latent.name, "loc", "scale")


@mistake
def types_that_differ(draw: Draw) -> Wrong:
    """The prior is in single precision, and the posterior in double: the number is right."""
    pair = right_pair(draw, family="normal")
    for latent in pair.model.latents:
        latent.law = lambda _: dist.Normal(torch.zeros(draw.batch, draw.dims), torch.ones(()))
    return judged(draw, pair)


@mistake
def what_is_observed_has_another_shape(draw: Draw) -> Wrong:
    """Targets in a column or a row, one for all, or more than there are samples."""
    pair = right_pair(draw)
    shape = draw.choice((draw.batch, 1), (1, draw.batch), (draw.batch + 1,), (2, draw.batch), (1,), ())
    pair.model.y = draw.normal(*shape)
    return judged(draw, pair)


@mistake
def what_is_observed_is_not_finite(draw: Draw) -> Wrong:
    """A target is NaN or infinite."""
    pair = right_pair(draw)
    y = nan_in(draw, draw.normal(draw.batch))
    pair.model.y = draw.choice(y, y.nan_to_num(float("inf")))
    return refused(draw, pair, "y")


@mistake
def an_auxiliary_site_that_is_not_said_to_be_one(draw: Draw) -> Wrong:
    """The guide draws noise at a site of its own; said to be auxiliary it is right."""
    pair = right_pair(draw)
    options = draw.choice({}, {"infer": {"is_auxiliary": True}})
    extra = Latent("noise", lambda _: dist.Normal(torch.zeros(draw.batch, draw.dims), 1.0), options=options)
    pair.guide.latents.insert(0, extra)
    return judged(draw, pair, "noise")

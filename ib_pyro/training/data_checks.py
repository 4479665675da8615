"""Whether all steps of a fit can be taken, looked at before the first one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any

import torch
from pyro.distributions import MaskedDistribution, constraints
from torch import Tensor, nn

from ib_pyro.buffers import buffers_kept
from ib_pyro.data import batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.weights import is_zero, weight_of
from ib_pyro.handlers import unwrap
from ib_pyro.sites import is_observation, sample_sites
from ib_pyro.traces import trace_pair
from ib_pyro.training.data_placement import placed
from ib_pyro.training.finite_data import require_finite_loss
from ib_pyro.training.model_and_guide import model_and_guide
from ib_pyro.training.randomness import seeded

__all__ = ["check_steps"]

# Targets compared with a support at a time.
_CHUNK = 4096

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Sites = Mapping[str, Mapping[str, Any]]


@torch.no_grad()
def check_steps(
    program: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    elbo: InformationBottleneckELBO,
    batch_size: int,
    transform: Transform | None = None,
) -> None:
    """Make sure that every step of a fit can be taken, not only the first, at the price of one batch.

    The program's parameters and buffers stay as they are, and so do the ambient generators.

    Args:
        program: Module with ``model`` and ``guide``.
        x: Inputs of the whole set, ``[N, ...]``.
        y: What is observed of them, ``[N, ...]``.
        elbo: The objective.
        batch_size: Samples in a step.
        transform: What a step sees of a batch; targets that it draws are looked at as they come.

    Raises:
        ValueError: If some input or target is not finite and makes the loss so, some target is not a value that its
            likelihood takes, or the last batch has too few samples for a total correlation that gamma weights; names
            the site, the value and the way out.
    """
    with seeded(0):
        require_finite_loss(x, y, partial(_loss, program, elbo, transform))
        seen = _as_steps_see(x[:batch_size], y[:batch_size], transform, program)
        with buffers_kept([program]):
            traces = trace_pair(*model_and_guide(program), seen, {})
        _require_samples(sample_sites(traces.guide.nodes), elbo, len(x), batch_size)
        for name, site in sample_sites(traces.model.nodes).items():
            if is_observation(site) and _observes(site, seen[1]):
                chunks = batches((x, y), _CHUNK, shuffle=False)
                targets = (_as_steps_see(x, y, transform, program)[1] for x, y in chunks)
                _require_in_support(name, site, targets)


def _loss(
    program: nn.Module, elbo: InformationBottleneckELBO, transform: Transform | None, x: Tensor, y: Tensor
) -> Tensor:
    seen = _as_steps_see(x, y, transform, program)
    plain = copy(elbo)
    # An estimator of total correlation may need more samples than are looked at.
    plain.gamma = 0.0
    with buffers_kept([program]):
        return plain.differentiable_loss(*model_and_guide(program), *seen)


def _as_steps_see(
    x: Tensor, y: Tensor, transform: Transform | None, program: nn.Module
) -> tuple[Tensor, Tensor]:
    x, y = placed(x, program), placed(y, program)
    return (x, y) if transform is None else transform(x, y)


def _require_samples(sites: Sites, elbo: InformationBottleneckELBO, size: int, batch_size: int) -> None:
    """Raise if the smallest batch has too few samples for a total correlation.

    An estimator without ``least_samples``, such as a function of the user's own, is not asked.
    """
    least_samples = getattr(elbo.total_correlation, "least_samples", None)
    rest = size % batch_size
    smallest = rest or min(batch_size, size)
    for name, site in sites.items():
        gamma = weight_of(elbo.gamma, name, 0.0)
        if least_samples is None or site["is_observed"] or is_zero(gamma):
            continue
        units = site["fn"].event_shape.numel()
        if smallest < least_samples(units):
            which = f"the last batch of {size} samples has {smallest}" if rest else f"a batch has {smallest}"
            raise ValueError(
                f"site {name!r}: gamma={float(gamma):g} weights the total correlation of {units} units, which takes "
                f"at least {least_samples(units)} samples, but {which} (batch_size={batch_size}); choose a batch size "
                "that leaves no such rest, or an estimator that needs fewer, such as "
                "GaussianTotalCorrelation(shrinkage=0.1)"
            )


def _observes(site: Mapping[str, Any], y: Tensor) -> bool:
    """Whether a site observes y itself, all of it."""
    value = site["value"]
    if site["mask"] is not None or value.shape != y.shape:
        return False
    return bool(((value == y) | (value.isnan() & y.isnan())).all())


def _require_in_support(name: str, site: Mapping[str, Any], targets: Iterator[Tensor]) -> None:
    support = _common_support(site)
    for y in targets:
        if support is None:
            return
        y = y.to(site["value"].dtype)
        wrong = ~support.check(y)
        if wrong.any():
            first = y[tuple(wrong.nonzero()[0])].tolist()
            raise ValueError(
                f"site {name!r}: {int(wrong.sum())} of {wrong.numel()} targets that were looked at are no values of "
                f"{type(unwrap(site['fn'])).__name__}, whose support is {support} (one is {first}); rescale or "
                "relabel y, or choose another likelihood"
            )


def _common_support(site: Mapping[str, Any]) -> constraints.Constraint | None:
    """The support of one target, if that is the same for all samples."""
    law = site["fn"]
    while law is not unwrap(law):
        if isinstance(law, MaskedDistribution):
            return None  # what it hides may be anything
        law = law.base_dist
    try:
        support = law.support
    except NotImplementedError:
        return None
    if support is None or constraints.is_dependent(support):
        return None
    differs = any(isinstance(value, Tensor) and value.numel() > 1 for value in vars(support).values())
    return None if differs else support

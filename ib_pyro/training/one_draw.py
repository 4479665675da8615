"""What is observed under one draw of the latents."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from ib_pyro.handlers import unwrap
from ib_pyro.precision import widest
from ib_pyro.sites import (
    Plate,
    is_observation,
    log_prob_of,
    masked,
    per_plate,
    plates_kept,
    plates_of,
    sample_sites,
)
from ib_pyro.traces import trace_pair
from ib_pyro.training.batch_arguments import Batch
from ib_pyro.training.programs import model_and_guide

__all__ = ["Draw", "draw_once"]


class Draw(NamedTuple):
    """What one run of a guide, and of the model against it, says of what is observed.

    Attributes:
        log_likelihood: ``log p(y|z)``, ``[B]``, or a scalar where no plate tells samples apart.
        plates: The plate of each dimension of that.
        probabilities: Of the classes, ``[B, classes]``, if one label a sample is all that is observed.
    """

    log_likelihood: Tensor
    plates: tuple[Plate, ...]
    probabilities: Tensor | None


def draw_once(program: nn.Module, batch: Batch) -> Draw:
    """Draw the latents of a batch once."""
    traces = trace_pair(*model_and_guide(program), batch.args, batch.kwargs)
    sites = {name: s for name, s in sample_sites(traces.model.nodes).items() if is_observation(s)}
    shared = set.intersection(*map(plates_of, sites.values())) if sites else set()
    total = torch.zeros(())
    plates: tuple[Plate, ...] = ()
    for name, site in sites.items():
        log_prob = log_prob_of(name, site)
        values, plates = per_plate(masked(log_prob, site), site, shared), plates_kept(log_prob, site, shared)
        total = values if total.dim() == 0 and len(sites) == 1 else total + values
    laws = [unwrap(site["fn"]) for site in sites.values()]
    is_label = len(laws) == 1 and isinstance(laws[0], Categorical) and bool(laws[0].batch_shape)
    return Draw(total.to(widest(total.device)), plates, laws[0].probs if is_label else None)  # type: ignore[attr-defined]

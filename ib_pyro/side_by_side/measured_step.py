"""What is minimised and measured at a step of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

from torch import Tensor, nn
from torch.distributions import Categorical

from ib_pyro.elbo import InformationBottleneckELBO, Terms
from ib_pyro.handlers import unwrap

__all__ = ["measured_step"]

Step = Callable[..., tuple[Tensor, dict[str, Tensor]]]


def measured_step(program: nn.Module, weights: Sequence[str], options: Mapping[str, Any]) -> Step:
    """Return a step as a function of tensors.

    Args:
        program: The program, with ``model`` and ``guide``.
        weights: Names of the weights that are its first arguments: ``beta`` or ``beta/<site>``, and ``gamma``.
        options: Options of the objective.

    Returns:
        A function of the weights, x and y. It returns the loss per sample, and sums over the batch by name: of the
        loss, the distortion, the rates and, where y are labels, the errors.
    """
    elbo = InformationBottleneckELBO(**options)

    def step(*given: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        *values, x, y = given
        weighted = copy(elbo)
        by_name = dict(zip(weights, values, strict=True))
        sites = {name.removeprefix("beta/"): v for name, v in by_name.items() if name.startswith("beta/")}
        weighted.beta = sites or by_name["beta"]
        weighted.gamma = by_name.get("gamma", 0.0)
        terms = weighted.terms(program.model, program.guide, x, y)  # type: ignore[arg-type]
        loss = terms.loss / (getattr(program, "num_data", None) or len(x))
        return loss, _sums(terms, loss * len(x), y)

    return step


def _sums(terms: Terms, loss: Tensor, y: Tensor) -> dict[str, Tensor]:
    rates = {f"rate/{name}": values.sum() for name, values in terms.rate.items()}
    sums = {"loss": loss, "distortion": terms.distortion.sum(), **rates}
    sums |= {f"total_correlation/{name}": value * len(y) for name, value in terms.total_correlation.items()}
    scores = _scores(terms, y)
    if scores is not None:
        sums["error"] = (scores.argmax(-1) != y).sum()
    return {name: value.detach().double() for name, value in sums.items()}


def _scores(terms: Terms, y: Tensor) -> Tensor | None:
    if len(terms.likelihood) != 1 or y.dim() != 1 or y.is_floating_point():
        return None
    law = unwrap(next(iter(terms.likelihood.values())))
    return law.logits.detach() if isinstance(law, Categorical) and law.logits.dim() == 2 else None

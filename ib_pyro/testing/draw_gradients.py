"""What a distribution that can be reparameterised owes: draws whose gradients are those of their law."""

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.testing.requirements import require, says, unchecked, with_leaves

__all__ = ["check_draw_gradients"]

CHUNKS, DRAWS = 20, 500


def check_draw_gradients(name: str, fn: TorchDistributionMixin) -> None:
    """Raise unless gradients through draws are what the density says that they are, element by element.

    For a bounded function h, in expectation over z::

        h'(z) dz/dtheta  =  (h(z) - b) d log p(z) / dtheta

    with any number b. Elements with atoms are left out, and parameters that move the support: the mean of
    ``d log p / dtheta`` tells, which is zero elsewhere. So is a law that holds what it has computed from its
    parameters, since it does not follow when they are replaced.

    Args:
        name: What to call the law in a sentence.
        fn: An elementwise law.

    Raises:
        AssertionError: Names the parameter.
    """
    law, leaves = with_leaves(unchecked(fn))
    if _holds_more(law, leaves):
        return
    with torch.enable_grad(), says(f"{name}: there is no gradient through rsample, or of log_prob"):
        draws = law.rsample(torch.Size([CHUNKS, DRAWS]))
        if not draws.requires_grad:
            return
        continuous = (draws.detach().flatten(0, 1).sort(0)[0].diff(dim=0) > 0).all(0)
        pathwise, scored, mean = _gradients(law, draws, leaves, continuous)
    for parameter in leaves:
        difference = pathwise[parameter] - scored[parameter]
        regular = mean[parameter].mean(0).abs() <= 5 * _error(mean[parameter]) + 1e-6
        size = scored[parameter].abs().mean(0) + pathwise[parameter].abs().mean(0)
        off = regular & (difference.mean(0).abs() > 7 * _error(difference) + 1e-3 * size)
        through_draws, by_density = (g[parameter].mean(0)[off][:3].tolist() for g in (pathwise, scored))
        require(
            not off.any(),
            f"{name}: the gradient of its draws in {parameter} is not that of its law ({int(off.sum())} of "
            f"{off.numel()} elements; of a bounded function {through_draws}, by the density {by_density}); look for "
            "detached or rounded parameters in rsample, or say has_rsample = False",
        )


def _holds_more(law: TorchDistributionMixin, leaves: dict[str, Tensor]) -> bool:
    held = {name for name, value in vars(law).items() if isinstance(value, Tensor | Distribution)}
    return held != leaves.keys()


def _gradients(
    law: TorchDistributionMixin, draws: Tensor, leaves: dict[str, Tensor], continuous: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Through the draws, by the score, and of the log density itself: by parameter, ``[chunks, *parameter]``."""
    z = draws.detach()
    low, middle, high = torch.quantile(z.flatten(0, 1), torch.tensor([0.25, 0.5, 0.75]).to(z), dim=0)
    spread = torch.where(continuous, high - low, 1.0)

    def function(value: Tensor) -> Tensor:
        bounded = torch.tanh((value - middle) / spread)
        # Not odd, so that it also tells of the spread of a symmetric law.
        return bounded + bounded.square()

    h, score = function(z), law.log_prob(z)
    seen = torch.where(continuous, function(draws), 0.0)
    weighted = torch.where(continuous, (h - h.flatten(0, 1).mean(0)) * score, 0.0)
    plain = torch.where(continuous, score, 0.0)
    return _by_chunk(seen, leaves), _by_chunk(weighted, leaves), _by_chunk(plain, leaves)


def _by_chunk(values: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    names, targets = list(leaves), list(leaves.values())
    totals = values.mean(1).flatten(1).sum(-1) if values.dim() > 2 else values.mean(1)
    rows = [torch.autograd.grad(total, targets, retain_graph=True, allow_unused=True) for total in totals]
    columns = zip(*rows, strict=True)
    return {
        name: torch.stack([torch.zeros_like(leaf) if g is None else g for g in gradients])
        for name, leaf, gradients in zip(names, targets, columns, strict=True)
    }


def _error(values: Tensor) -> Tensor:
    return values.std(0) / len(values) ** 0.5

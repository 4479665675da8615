"""The doubly reparameterised gradient: through the draws alone, each with the square of its weight."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ib_pyro.buffers import modules_behind
from ib_pyro.checks import checks_values, fails
from ib_pyro.sites import PARTICLES, Site

__all__ = ["Cut", "PathCuts", "doubly_reparameterised"]

CUT = "path_cut"


class Cut(NamedTuple):
    """A draw with its graph, and the leaf that everything after it is computed of."""

    draw: Tensor
    leaf: Tensor


class PathCuts(Messenger):
    """Cut the graph behind each draw of a guide: what follows is computed of a leaf with the same value.

    The derivative of a density in a draw, and that of the draw in the parameters, are two derivatives then.
    """

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        value = msg["value"]
        # What the model replays is a leaf already.
        if msg["is_observed"] or not isinstance(value, Tensor) or not value.requires_grad or value.is_leaf:
            return
        msg["value"] = value.detach().requires_grad_()
        msg["infer"] = {**msg["infer"], CUT: Cut(value, msg["value"])}


def doubly_reparameterised(
    log_weights: Tensor, log_joint: Tensor, guides: Sequence[Mapping[str, Site]], model: Callable[..., Any]
) -> Tensor:
    r"""Return what has the doubly reparameterised gradient of ``sum log mean_k w_k``.

    For the model that gradient is ``sum_k w_k d log p(y, z_k)``, and for the guide
    ``sum_k w_k² (d log w_k / dz_k) dz_k``, both with normalised weights (Tucker et al. 2019). The derivative in
    a draw holds the other draws, and the parameters of all laws, fixed; those draws of a guide that depend on earlier
    ones hand on to these what reaches them.

    Args:
        log_weights: ``log p(y, z_k) - log q(z_k)``, ``[K, ...]``.
        log_joint: ``log p(y, z_k)``, ``[K, ...]``.
        guides: Sites of the guide's runs under :class:`PathCuts`, of one for all particles or of one for each.
        model: The model, for what couples the samples of a batch.

    Raises:
        ValueError: If the weight of a sample depends on the draws of other samples.
    """
    weights = torch.softmax(log_weights.detach(), 0)
    surrogate = (weights * log_joint).sum()
    cuts = [[site["infer"][CUT] for site in guide.values() if CUT in site["infer"]] for guide in guides]
    leaves = [cut.leaf for run in cuts for cut in run]
    if not leaves:
        return surrogate
    total = weights.square() * log_weights
    gradients = _gradients(total.sum(), leaves)
    if checks_values() and _has_batch_norm(model):
        _require_samples_apart(total, gradients, guides)
    remaining = iter(gradients)
    for run in cuts:
        surrogate = surrogate + _through_draws(run, [next(remaining) for _ in run])
    return surrogate


def _through_draws(cuts: list[Cut], gradients: list[Tensor]) -> Tensor:
    """Return the draws of one run times what is to reach them, from the last one to the first."""
    surrogate = (
        torch.zeros((), dtype=cuts[0].draw.dtype, device=cuts[0].draw.device) if cuts else torch.zeros(())
    )
    for place in reversed(range(len(cuts))):
        surrogate = surrogate + (cuts[place].draw * gradients[place]).sum()
        earlier = [cut.leaf for cut in cuts[:place]]
        if earlier:
            more = _gradients(cuts[place].draw, earlier, gradients[place])
            gradients[:place] = [own + other for own, other in zip(gradients, more, strict=False)]
    return surrogate


def _gradients(of: Tensor, leaves: list[Tensor], outputs: Tensor | None = None) -> list[Tensor]:
    found = torch.autograd.grad(of, leaves, outputs, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


def _has_batch_norm(model: Callable[..., Any]) -> bool:
    """Whether a module behind the model normalises by the batch that it is given."""
    modules = (part for module in modules_behind(model) for part in module.modules())
    return any(isinstance(m, _BatchNorm) and (m.training or m.running_mean is None) for m in modules)


def _require_samples_apart(
    total: Tensor, gradients: list[Tensor], guides: Sequence[Mapping[str, Site]]
) -> None:
    """Raise if a sample's weight depends on others' draws, as behind batch norm: by weights of both signs."""
    if total.dim() < 2:
        return
    size = total.shape[-1]
    signs = 1.0 - 2.0 * (torch.arange(size, device=total.device) % 2).to(total.dtype)
    sites = [(n, s) for guide in guides for n, s in guide.items() if CUT in s["infer"]]
    signed = _gradients((signs * total).sum(), [site["infer"][CUT].leaf for _, site in sites])
    for (name, site), plain, other in zip(sites, gradients, signed, strict=True):
        dims = [f.dim for f in site["cond_indep_stack"] if f.vectorized and f.name != PARTICLES]
        after = -1 - max(dims) + site["fn"].event_dim
        expected = plain * signs.to(plain.dtype).view(size, *(1,) * after)
        tolerance = 1e3 * torch.finfo(plain.dtype).eps * float(plain.abs().max())
        if fails((other - expected).abs() <= tolerance):
            raise ValueError(
                f"site {name!r}: the weight of a sample depends on the draws of other samples, as behind batch norm "
                'in training mode, and gradient="dreg" holds for weights of their own; use gradient="iwae", put batch '
                "norm before the noise, another normalisation behind it, or the program into evaluation mode"
            )

"""The sanity check of maps: a network with random weights must be explained by another map."""

from copy import deepcopy

import torch
from scipy import stats
from torch import Tensor, nn

__all__ = ["randomised", "rank_correlation"]


def randomised(network: nn.Module, *, seed: int = 0, only: str = "") -> nn.Module:
    """Return a copy of a network with weights as before any training.

    A map that is the same for it does not show what the network has learned (Adebayo et al. 2018, "Sanity Checks for
    Saliency Maps").

    Args:
        network: The network.
        seed: Of the weights.
        only: Path of the one module whose weights are drawn anew, with all within it; by default all.

    Raises:
        ValueError: If a parameter belongs to a module that has no ``reset_parameters``; names it.
    """
    copy = deepcopy(network)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for path, module in copy.get_submodule(only).named_modules(prefix=only):
            own = list(module._parameters)
            reset = getattr(module, "reset_parameters", None)
            # That of attention has a name of its own.
            reset = reset or getattr(module, "_reset_parameters", None)
            if reset is not None:
                reset()
            elif own:
                raise ValueError(
                    f"{path or type(module).__name__}: parameters {own} of a module without reset_parameters(); give "
                    "it one, or randomise its parts with only="
                )
    return copy


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two maps of each image.

    Args:
        one: ``[N, ...]``.
        other: Likewise.

    Returns:
        ``[N]``, in [-1, 1]; NaN if one of the maps is the same everywhere.
    """
    if one.shape != other.shape:
        raise ValueError(f"maps of shape {list(one.shape)} and {list(other.shape)}; pass two of each image")
    pairs = zip(one.flatten(1).detach().cpu().numpy(), other.flatten(1).detach().cpu().numpy(), strict=True)
    found = [stats.spearmanr(a, b).statistic if a.std() and b.std() else float("nan") for a, b in pairs]
    return torch.tensor(found, dtype=torch.float64)

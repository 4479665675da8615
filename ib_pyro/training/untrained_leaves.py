"""Whether a loss depends on something that asks for gradients, and that nobody trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map_only

from ib_pyro.buffers import buffers_kept, modules_behind
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.batch_arguments import Batch
from ib_pyro.training.graph_leaves import leaves_behind, strangers
from ib_pyro.training.programs import ModelAndGuide, model_and_guide
from ib_pyro.training.randomness import seeded

__all__ = ["require_all_trained"]


def require_all_trained(
    program: nn.Module,
    batch: Batch,
    *,
    elbo: InformationBottleneckELBO,
    optimizer: Optimizer,
    also: Mapping[str, object] | None = None,
) -> None:
    """Evaluate a loss once, and make sure that all it learns from is known to who trains it.

    What a program reaches other than through its modules (an attribute of an imported module or of a class, what a
    cached function returns) is not among its parameters. Buffers and the ambient generators are left as they are, and
    no gradient is computed.

    Args:
        program: The program.
        batch: Some samples, as a step sees them; what they were computed from does not count.
        elbo: The objective, whose own parts may learn.
        optimizer: The optimiser, which may hold more than the program's parameters.
        also: What else learns, by name.

    Raises:
        ValueError: If the loss depends on other tensors that require gradients; says their shapes, and the way out.
    """
    known = list(_known(program, elbo, optimizer, also or {}))

    def unknown() -> list[Tensor]:
        # Anew each time: a program may ask for gradients of its inputs in place.
        args, kwargs = tree_map_only(Tensor, Tensor.detach, (batch.args, batch.kwargs))
        with seeded(0), torch.enable_grad(), buffers_kept([program]):
            return strangers(elbo.differentiable_loss(*model_and_guide(program), *args, **kwargs), known)

    found = unknown()
    if found:
        # A leaf that an evaluation makes for itself, as a gradient within a loss takes one, is another in the next.
        again = {id(leaf) for leaf in unknown()}
        found = [leaf for leaf in found if id(leaf) in again]
    if found:
        raise ValueError(_describe(found, is_pair=isinstance(program, ModelAndGuide)))


def _describe(found: Sequence[Tensor], *, is_pair: bool) -> str:
    shapes = " and ".join(str(tuple(leaf.shape)) for leaf in found[:4])
    where = "found behind model and guide" if is_pair else "of the program"
    way_out = (
        "name its module in the closure of model or guide, or pass a module with model and guide that has it"
        if is_pair
        else "make it an nn.Parameter, or its module an attribute, of the program"
    )
    return (
        f"program: the loss depends on {len(found)} tensor(s) with requires_grad, of shape {shapes}, that are in none "
        f"of the modules {where}, so that nobody would train them; {way_out}; if something else trains it, name that "
        "in also=; if nothing is to, turn its gradients off, requires_grad_(False)"
    )


def _known(
    program: nn.Module, elbo: InformationBottleneckELBO, optimizer: Optimizer, also: Mapping[str, object]
) -> Iterator[Tensor]:
    """Go through the tensors that somebody trains, or may."""
    yield from program.parameters()
    held = [value for part in also.values() for value in getattr(part, "__dict__", {}).values()]
    yield from (value for value in held if isinstance(value, Tensor))
    for each in (optimizer, *also.values(), *held):
        if isinstance(each, Optimizer):
            yield from (tensor for group in each.param_groups for tensor in group["params"])
    parts = [part for part in (elbo, *also.values()) if not isinstance(part, Optimizer)]
    for module in modules_behind(*parts):  # type: ignore[arg-type]  # any object with attributes
        yield from module.parameters()
    for weight in tree_leaves((elbo.beta, elbo.gamma)):
        if isinstance(weight, Tensor):
            yield from (weight, *leaves_behind(weight))

"""The loss of a model and guide as a module."""

from collections.abc import Callable
from typing import Any

from pyro.infer import ELBO
from pyro.infer.elbo import ELBOModule
from torch import nn

__all__ = ["LossModule"]

Program = Callable[..., Any]


class LossModule(ELBOModule):
    """The loss of a model and guide, with each of their parameters in the module tree once.

    A guide whose modules are all the model's own, as those of a :class:`~ib_pyro.Bottleneck` are, stays beside the
    tree: a module that stands twice under one root is not replaced by ``torch.func.functional_call``, nor saved by
    safetensors.

    Args:
        model: The model.
        guide: The guide.
        elbo: The objective.
    """

    def __init__(self, model: Program, guide: Program, elbo: ELBO) -> None:
        super().__init__(model, None, elbo)  # type: ignore[arg-type]
        del self.guide
        if isinstance(guide, nn.Module) and not _is_within(guide, model):
            self.guide = guide
        else:
            object.__setattr__(self, "guide", guide)


def _is_within(guide: nn.Module, model: Program) -> bool:
    if not isinstance(model, nn.Module):
        return False
    # Two views of one program may get other modules later, and always both.
    if getattr(model, "program", model) is getattr(guide, "program", guide):
        return True
    tensors = {id(t) for t in (*model.parameters(), *model.buffers())}
    own = [*guide.parameters(), *guide.buffers()]
    return bool(own) and all(id(t) in tensors for t in own)

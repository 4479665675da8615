"""One evaluation of a function of tensors, with the gradient of its loss, as a flat list of results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, keystr, tree_flatten_with_path

__all__ = ["Evaluated", "agree", "evaluate", "laid_out_as"]


@dataclass(frozen=True)
class Evaluated:
    """What a function has returned, and the gradients of its loss.

    Attributes:
        loss: The loss.
        outputs: The tensors of its other outputs, in order.
        structure: How they are put together.
        gradients: One for each parameter; None where the loss does not depend on it.
        names: What each of :attr:`results` is called.
    """

    loss: Tensor
    outputs: list[Tensor]
    structure: TreeSpec
    gradients: list[Tensor | None]
    names: list[str]

    @property
    def results(self) -> list[Tensor]:
        """The loss, the outputs and the gradients that there are."""
        return [self.loss, *self.outputs, *(g for g in self.gradients if g is not None)]


def evaluate(
    function: Callable[..., tuple[Tensor, Any]],
    parameters: Sequence[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Evaluated:
    """Evaluate a function and the gradient of its loss in some parameters.

    Raises:
        TypeError: If it returns something that is no tensor.
    """
    with torch.enable_grad():
        loss, outputs = function(*args, **kwargs)
    found, structure = tree_flatten_with_path(outputs)
    for path, value in found:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"outputs{keystr(path)} is a {type(value).__name__}; only tensors can be replayed"
            )
    gradients: list[Tensor | None] = [None] * len(parameters)
    if loss.requires_grad and parameters:
        found_gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        gradients = [
            None if g is None else laid_out_as(p, g) for p, g in zip(parameters, found_gradients, strict=True)
        ]
    names = ["loss", *(f"output{keystr(path)}" for path, _ in found)]
    names += [f"gradient of shape {tuple(g.shape)}" for g in gradients if g is not None]
    return Evaluated(loss.detach(), [value.detach() for _, value in found], structure, gradients, names)


def laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return a gradient in the memory layout of its parameter, as ``loss.backward()`` leaves it.

    Fused optimisers go over both as they lie in memory, and give wrong steps silently where they lie differently.
    """
    if gradient.layout != torch.strided or gradient.stride() == parameter.stride():
        return gradient
    laid_out = torch.empty_strided(
        parameter.shape, parameter.stride(), dtype=gradient.dtype, device=gradient.device
    )
    return laid_out.copy_(gradient)


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same to rounding, measured by the largest of their values."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point() or one.numel() == 0:
        return torch.equal(one, other)
    finite = one[one.isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    tolerance = 256 * torch.finfo(one.dtype).eps * largest
    return bool(torch.isclose(one, other, rtol=0.0, atol=tolerance, equal_nan=True).all())

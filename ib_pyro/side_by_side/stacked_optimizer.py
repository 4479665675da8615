"""Optimisers of stacked parameters, with a learning rate for each run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ib_pyro.capture.loss_and_gradient import laid_out_as
from ib_pyro.choices import require_known

__all__ = ["StackedOptimizer"]

OPTIMIZERS = ("adam", "sgd")


class StackedOptimizer:
    """SGD or Adam over parameters of K runs, the numbers of each run those of PyTorch's optimiser for it alone.

    Where all runs have one learning rate it is PyTorch's own, whose arithmetic is elementwise. Otherwise PyTorch's
    takes its step at rate 1 on a tensor of zeros, which is the direction, and each run goes along it at its own rate.

    Args:
        name: ``"sgd"`` or ``"adam"``.
        parameters: Stacked parameters, ``[K, ...]`` each, updated in place.
        rates: Each run's learning rate.
        momentum: Momentum of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: Factor of ``½ ||w||²`` added to the loss.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[Tensor],
        rates: Sequence[float],
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        require_known("optimizer", name, OPTIMIZERS)
        self._parameters = list(parameters)
        self._decay = weight_decay
        self._common = len(set(rates)) == 1
        self._moved = self._parameters if self._common else [torch.zeros_like(p) for p in parameters]
        decay = weight_decay if self._common else 0.0
        self._rates = rates
        self._optimizer: Optimizer
        if name == "adam":
            self._optimizer = Adam(self._moved, lr=rates[0], weight_decay=decay, fused=_can_fuse(parameters))
        else:
            options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
            self._optimizer = SGD(self._moved, lr=rates[0], fused=_can_fuse(parameters), **options)  # type: ignore[arg-type]
        self.set_factor(1.0)

    def set_factor(self, factor: float) -> None:
        """Multiply the learning rates that the runs began with."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rates[0] * factor if self._common else 1.0
        self._factors = [
            torch.tensor([r * factor for r in self._rates], dtype=p.dtype, device=p.device).view(
                -1, *[1] * (p.dim() - 1)
            )
            for p in self._parameters
        ]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Update the parameters.

        Args:
            gradients: Of each, ``[K, ...]``; None where the loss does not depend on it, which is left alone.
        """
        rows = zip(self._parameters, self._moved, gradients, self._factors, strict=True)
        for parameter, moved, gradient, _ in rows:
            if gradient is not None and not self._common and self._decay:
                gradient = gradient.add(parameter, alpha=self._decay)  # noqa: PLW2901
            moved.grad = None if gradient is None else laid_out_as(moved, gradient)
        if not self._common:
            torch._foreach_zero_(self._moved)
        self._optimizer.step()
        if not self._common:
            for parameter, direction, rate in zip(self._parameters, self._moved, self._factors, strict=True):
                parameter.addcmul_(direction, rate)


def _can_fuse(parameters: Sequence[Tensor]) -> bool | None:
    fits = all(
        p.device.type in ("cpu", "cuda") and p.is_floating_point() and p.dtype != torch.float16
        for p in parameters
    )
    return True if fits and parameters else None

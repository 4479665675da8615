"""Optimisers by name, in the fastest form that a device has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from inspect import Parameter, signature
from numbers import Real
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ib_pyro.choices import require_known
from ib_pyro.plain_values import plain

__all__ = [
    "LEARNING_RATES",
    "build_optimizer",
    "optimizer_for",
    "require_one_evaluation",
    "require_rate",
    "scheduler_for",
    "with_plain_numbers",
]

LEARNING_RATES = {"adam": 3e-3, "sgd": 0.07}
"""What a fit takes where none is given."""


def optimizer_for(
    program: nn.Module, optimizer: str | Optimizer | Callable[[Any], Optimizer], *, lr: float | None = None
) -> Optimizer:
    """Return the optimiser of what a program learns.

    Args:
        program: The program.
        optimizer: One by name, one that is made already, or a function from parameters to one.
        lr: Learning rate of one by name; by default that of :data:`LEARNING_RATES`.

    Raises:
        TypeError: If the function makes no optimiser.
        ValueError: If the program has nothing to learn, the optimiser is of other parameters, its steps evaluate the
            loss several times, or the name is unknown.
    """
    parameters = [p for p in program.parameters() if p.requires_grad]
    if isinstance(optimizer, Optimizer):
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not held & {id(p) for p in parameters}:
            raise ValueError(
                "optimizer: none of its parameters is the program's; make it of program.parameters()"
            )
        return with_plain_numbers(require_one_evaluation(optimizer))
    if not parameters:
        frozen = sum(1 for _ in program.parameters())
        why = f": requires_grad is False of all {frozen}; set it where it should learn" if frozen else ""
        raise ValueError(f"program: a {type(program).__name__} has no parameter to fit{why}")
    if callable(optimizer):
        made = optimizer(parameters)
        if not isinstance(made, Optimizer):
            raise TypeError(
                f"optimizer: a {type(optimizer).__name__} makes a {type(made).__name__} of the parameters, and no "
                "torch.optim.Optimizer (those of pyro.optim go with SVI); pass a name, or a function such as "
                "functools.partial(torch.optim.AdamW, lr=1e-3)"
            )
        return with_plain_numbers(require_one_evaluation(made))
    require_known("optimizer", optimizer, LEARNING_RATES)
    return build_optimizer(optimizer, parameters, lr=LEARNING_RATES[optimizer] if lr is None else lr)


def require_one_evaluation(optimizer: Optimizer) -> Optimizer:
    """Return an optimiser if its step takes the gradients as they are.

    Raises:
        ValueError: If its step needs a closure that evaluates the loss, as that of ``torch.optim.LBFGS`` does.
    """
    # Of the class, since a schedule of the learning rate wraps the method of its optimiser.
    _, *parameters = signature(type(optimizer).step).parameters.items()
    for name, parameter in parameters:
        if parameter.default is Parameter.empty and parameter.kind is Parameter.POSITIONAL_OR_KEYWORD:
            raise ValueError(
                f"optimizer: a step of {type(optimizer).__name__} takes a {name}, by which it evaluates the loss "
                "several times, and here each batch is evaluated once, under new noise each time; pass 'adam', 'sgd' "
                "or another optimizer of single gradients, such as torch.optim.AdamW, or write the loop yourself: "
                "optimizer.step(closure) with elbo.differentiable_loss under one seed"
            )
    return optimizer


def scheduler_for(
    scheduler: LRScheduler | Callable[[Optimizer], LRScheduler] | None, optimizer: Optimizer
) -> LRScheduler | None:
    """Return the schedule of an optimiser's learning rate, stepped once an epoch.

    Args:
        scheduler: One that is made already, or a function that makes one of the optimiser.
        optimizer: The optimiser.

    Raises:
        TypeError: If it is no schedule.
        ValueError: If it moves another optimiser, or waits for a number.
    """
    if scheduler is None:
        return None
    way_out = "pass a function of the optimizer, such as functools.partial(StepLR, step_size=9)"
    made = scheduler(optimizer) if callable(scheduler) else scheduler
    if not isinstance(made, LRScheduler):
        raise TypeError(f"scheduler: a {type(made).__name__} is no schedule of a learning rate; {way_out}")
    if made.optimizer is not optimizer:
        raise ValueError(
            f"scheduler: the {type(made).__name__} moves another optimizer than the fit's; {way_out}"
        )
    if isinstance(made, ReduceLROnPlateau):
        raise ValueError(
            "scheduler: a ReduceLROnPlateau waits for a number, and a fit steps it without; step it in a loop of your "
            "own, `for row in Trainer(...): plateau.step(row['validation_loss'])`, or stop by patience="
        )
    _make_plain(made)
    return made


def _make_plain(scheduler: LRScheduler) -> None:
    """Turn the rates that a schedule begins with into Python's numbers; one made of several has none of its own."""
    if hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = plain(scheduler.base_lrs)
    for part in getattr(scheduler, "_schedulers", ()):
        _make_plain(part)


def with_plain_numbers(optimizer: Optimizer) -> Optimizer:
    """Turn the numbers of NumPy among an optimiser's options into Python's; return the optimiser.

    A checkpoint holds no others, and arithmetic with a ``float32`` of NumPy rounds otherwise than with a number that
    is read back from one.

    Args:
        optimizer: The optimiser.
    """
    for group in optimizer.param_groups:
        group.update({name: plain(value) for name, value in group.items() if name != "params"})
    return optimizer


def build_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Build ``"sgd"`` or ``"adam"``.

    The fused form updates all parameters in one call: on a CPU it halves the time of SGD on a small network.

    Args:
        name: ``"sgd"`` or ``"adam"``.
        parameters: What it updates, or groups of such under ``"params"``, which may have a rate of their own.
        lr: Learning rate.
        momentum: Momentum of SGD; Adam has its own.
        nesterov: Nesterov's form of it.
        weight_decay: Factor of ``½ ||w||²`` added to the loss.

    Returns:
        The optimiser.

    Raises:
        ValueError: If the name is unknown.
    """
    require_rate(lr)
    given: list[Any] = list(parameters)
    tensors = [p for part in given for p in (part["params"] if isinstance(part, dict) else [part])]
    fused = _can_fuse(tensors)
    if require_known("optimizer", name, ("adam", "sgd")) == "adam":
        return with_plain_numbers(Adam(given, lr=lr, weight_decay=weight_decay, fused=fused))
    optimizer = SGD(
        given, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=fused
    )
    with_plain_numbers(optimizer)
    if fused and momentum:
        optimizer.register_step_pre_hook(_begin_momenta)
    return optimizer


def require_rate(lr: object) -> None:
    """Raise unless a learning rate is one.

    Raises:
        ValueError: If it is negative, not finite or no number.
    """
    if not isinstance(lr, Real) or not 0 <= float(lr) < math.inf:
        raise ValueError(f"lr must be a finite number, at least 0; got {lr!r}")


def _begin_momenta(optimizer: Optimizer, *_: object) -> None:
    """Give parameters a momentum of zero before their first gradient, which may come later than that of others.

    The numbers are the same; PyTorch's fused SGD fails where some have a momentum and some have not, as after a
    warm-up from beta = 0, which no prior's parameter has a gradient at.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _can_fuse(parameters: Sequence[nn.Parameter]) -> bool | None:
    fits = all(
        p.device.type in ("cpu", "cuda") and torch.is_floating_point(p) and p.dtype != torch.float16
        for p in parameters
    )
    return True if fits and parameters else None

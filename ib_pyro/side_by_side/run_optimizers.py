"""Optimisers of several runs whose parameters lie side by side: each run takes the steps that it would alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ib_pyro.choices import require_known
from ib_pyro.plain_values import plain
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.training.optimizers import build_optimizer, require_rate, with_plain_numbers

__all__ = ["OptimizerSettings", "RunOptimizers", "clip_norms"]

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
RATES = {"adam": 1e-3, "sgd": 0.07}


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """An optimiser by name.

    Args:
        name: ``"sgd"`` or ``"adam"``.
        lr: Learning rate; by default 0.07 for SGD and 0.001 for Adam.
        momentum: Momentum of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: Factor of ``½ ||w||²`` added to the loss.

    Raises:
        ValueError: If the name is unknown, or the rate is none.
    """

    name: str = "sgd"
    lr: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_known("optimizer", self.name, RATES)
        if self.lr is None:
            object.__setattr__(self, "lr", RATES[self.name])
        require_rate(self.lr)
        for name, value in vars(self).items():
            object.__setattr__(self, name, plain(value))

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        """Build the optimiser of groups of tensors, each with its own ``lr``."""
        return build_optimizer(
            self.name,
            groups,
            lr=self.lr or 0.0,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


class RunOptimizers:
    """Steps of an optimiser for each of several runs.

    By name, SGD and Adam go over all runs in one call where these share a learning rate, since both update each
    number on its own. Another optimiser, made by a function, has one object a run.

    Args:
        stack: The programs.
        how: What each run's optimiser is, by name, all alike but for their learning rates; or a function from a
            run's parameters to its optimiser, for all runs.
        clip_norm: Largest norm of a run's gradient, over all of its parameters; larger ones are scaled down.

    Raises:
        VectorizationError: If the optimisers differ in more than their learning rates.
    """

    def __init__(
        self,
        stack: Stack,
        how: Sequence[OptimizerSettings] | OptimizerFactory,
        *,
        clip_norm: float | None = None,
    ) -> None:
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be positive; got {clip_norm}")
        self._clip_norm, self._factor = clip_norm, 1.0
        self._wholes = list(stack.parameters.values())
        own = [dict(program.named_parameters()) for program in stack.programs]
        self._parts = [[mine[name] for name in stack.parameters] for mine in own]
        self._how, self._shared = how, False
        if callable(how):
            self._optimizers = [with_plain_numbers(how(parts)) for parts in self._parts]
            self._rates = [[float(g["lr"]) for g in o.param_groups] for o in self._optimizers]
        else:
            self._optimizers = self._by_name(how)
            self._rates = [[float(settings.lr or 0.0)] for settings in how]

    @property
    def rates(self) -> list[float]:
        """The learning rate of each run, of its first group, at the last step."""
        return [first * self._factor for first, *_ in self._rates]

    @property
    def all(self) -> tuple[Optimizer, ...]:
        """The optimisers, one for all runs or one of each."""
        return tuple(self._optimizers)

    def set_factor(self, factor: float) -> None:
        """Multiply all learning rates that the runs began with by a factor."""
        self._factor = factor
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        rates = [rate for rates in self._rates for rate in rates]
        for group, rate in zip(groups, rates[: len(groups)], strict=True):
            group["lr"] = rate * factor

    def step(self, gradients: Sequence[Tensor | None], skipped: Sequence[frozenset[int]] = ()) -> None:
        """Take a step of every run.

        Args:
            gradients: Those of the stack's parameters, ``[runs, ...]``.
            skipped: For each run, the numbers of the parameters that its loss does not depend on. An optimiser leaves
                those alone, which is not what it does with a gradient of zero: that decays, and moves on by momentum.
        """
        if self._shared and any(gradients[n] is not None for numbers in skipped for n in numbers):
            self._take_apart()
        if self._clip_norm is not None:
            gradients = clip_norms(gradients, self._clip_norm)
        if self._shared:
            for whole, gradient in zip(self._wholes, gradients, strict=True):
                whole.grad = gradient
        else:
            by_parameter = [None if g is None else g.unbind() for g in gradients]
            for run, parts in enumerate(self._parts):
                without = skipped[run] if skipped else ()
                for number, (part, pieces) in enumerate(zip(parts, by_parameter, strict=True)):
                    part.grad = None if pieces is None or number in without else pieces[run]
        for optimizer in self._optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on, made of tensors and plain values."""
        return {"shared": self._shared, "optimizers": [o.state_dict() for o in self._optimizers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        if self._shared and not state["shared"]:
            self._take_apart()
        for optimizer, one in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(one)

    def close(self) -> None:
        """Let go of the gradients."""
        for tensor in (*self._wholes, *(part for parts in self._parts for part in parts)):
            tensor.grad = None

    def _by_name(self, how: Sequence[OptimizerSettings]) -> list[Optimizer]:
        first = how[0]
        for settings in how:
            for name in ("name", "momentum", "nesterov", "weight_decay"):
                one, other = getattr(first, name), getattr(settings, name)
                if one != other:
                    raise VectorizationError(
                        f"optimizer: {name} is {one} in one run and {other} in another; side by side only the "
                        "learning rates may differ: train these runs apart, or pass a function that makes an optimiser"
                    )
        self._shared = len({settings.lr for settings in how}) == 1
        if self._shared:
            return [first.build([{"params": self._wholes, "lr": first.lr}])]
        return [self._of_each_run(how)]

    def _of_each_run(self, how: Sequence[OptimizerSettings]) -> Optimizer:
        groups: list[dict[str, Any]] = [
            {"params": parts, "lr": settings.lr} for parts, settings in zip(self._parts, how, strict=True)
        ]
        return how[0].build(groups)

    def _take_apart(self) -> None:
        """Go on with a group for each run, in which single parameters may be left alone."""
        assert not callable(self._how)
        [before] = self._optimizers
        after = self._of_each_run(self._how)
        self._optimizers, self._shared = [after], False
        for number, whole in enumerate(self._wholes):
            whole.grad = None
            for run, parts in enumerate(self._parts):
                after.state[parts[number]] = {
                    key: value[run].clone() if value.shape == whole.shape else value.clone()
                    for key, value in before.state[whole].items()
                    if value is not None
                }
        self.set_factor(self._factor)


def clip_norms(gradients: Sequence[Tensor | None], largest: float) -> list[Tensor | None]:
    """Scale each run's gradient to a norm of at most a number, as ``torch.nn.utils.clip_grad_norm_`` does for one.

    Args:
        gradients: ``[runs, ...]`` for each parameter.
        largest: The number.

    Returns:
        The gradients; the scale of a run whose norm is not finite is not, and its own alone.
    """
    known = [gradient for gradient in gradients if gradient is not None]
    if not known:
        return list(gradients)
    norms = torch.stack([torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in known])
    scale = (largest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    return [None if g is None else g * scale.view(-1, *(1,) * (g.dim() - 1)) for g in gradients]

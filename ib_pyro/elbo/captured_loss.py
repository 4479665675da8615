"""The Lagrangian of a model and guide, replayed from a recording of its tensor operations."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ib_pyro.capture import CapturedGradient, CaptureError, Identity, Settings
from ib_pyro.elbo.terms import Terms
from ib_pyro.elbo.weights import is_zero

__all__ = ["CapturedLoss", "captured"]

Program = Callable[..., Any]


class Lagrangian(Protocol):
    """An objective with weights that may be set, as :class:`ib_pyro.elbo.InformationBottleneckELBO` is."""

    beta: Any
    gamma: Any
    penalty: Any
    total_correlation: Any

    def terms(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Terms:
        """Evaluate distortion, rates and loss once."""


WEIGHTS = ("beta", "gamma")


class CapturedLoss:
    """The loss of a model and guide, recorded once for arguments of one kind and then replayed.

    Called with the arguments of model and guide it returns the loss, whose ``backward()`` gives the parameters their
    gradients. Weights of the objective that are numbers, beta and gamma, may be set between calls.

    Args:
        elbo: The objective.
        model: The model.
        guide: The guide.
        compile: Whether to compile each recording.
    """

    def __init__(self, elbo: Lagrangian, model: Program, guide: Program, compile: bool = False) -> None:
        self._elbo, self._model, self._guide, self._compile = elbo, model, guide, compile
        self._described: dict[str, Any] = {}
        self._gradient = captured(elbo, (model, guide), self._terms, compile=compile)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss, a scalar with a gradient, but without that gradient's own.

        Raises:
            CaptureError: If the program cannot be replayed; says why.
        """
        replay = self._gradient(*args, **kwargs)
        pairs = zip(replay.parameters, replay.gradients, strict=True)
        known = [(parameter, gradient) for parameter, gradient in pairs if gradient is not None]
        if not known or not torch.is_grad_enabled():
            return replay.loss
        parameters, gradients = zip(*known, strict=True)
        loss: Tensor = _WithGradients.apply(replay.loss, gradients, *parameters)
        return loss

    def loss_and_grads(self, *args: Any, **kwargs: Any) -> float:
        """Return the loss as a number, and accumulate its gradients in the parameters."""
        return self._gradient.accumulate(*args, **kwargs).loss.item()

    def terms_and_grads(self, *args: Any, **kwargs: Any) -> Terms:
        """Return distortion, rates and loss without their graphs, and accumulate the loss's gradients.

        What the observed sites' laws are is not among them.

        Args:
            *args: Arguments of the model and the guide.
            **kwargs: Their keyword arguments.
        """
        replay = self._gradient.accumulate(*args, **kwargs)
        return Terms(loss=replay.loss, **replay.outputs, **self._described)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._elbo, self._model, self._guide, self._compile)

    def _terms(self, elbo: Lagrangian, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        terms = elbo.terms(self._model, self._guide, *args, **kwargs)
        said = ("estimator", "joint", "plates", "rate_plates")
        self._described = {part: getattr(terms, part) for part in said}
        parts = ("distortion", "rate", "total_correlation", "auxiliary")
        return terms.loss, {part: getattr(terms, part) for part in parts}


def captured(
    elbo: Lagrangian,
    programs: tuple[object, ...],
    function: Callable[..., tuple[Tensor, Any]],
    *,
    compile: bool = False,
) -> CapturedGradient:
    """Return the captured gradient of a function of an objective and tensors.

    Args:
        elbo: The objective. Its beta and gamma may be set between calls; other settings lead to a new recording.
        programs: The callables that the function runs, such as a model and a guide; modules are found in them.
        function: From an objective like it and the call's arguments to a loss and other tensors.
        compile: Whether to compile each recording.
    """

    def evaluate(numbers: tuple[float | Tensor, ...], *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        other = _weighted_by(elbo, numbers)
        results = function(other, *args, **kwargs)
        _require_unchanged(elbo, other)
        return results

    return CapturedGradient(
        evaluate,
        (elbo, *programs),
        settings=lambda: _settings(elbo),
        but_not=[f"_{name}" for name in WEIGHTS],
        compiles=compile,
    )


def _split(weight: Any) -> tuple[object, list[float]]:  # noqa: ANN401  (a Weight, whose type mypy cannot narrow)
    """Return what a weight is made of, and the numbers in it that may be others at the next call."""
    if isinstance(weight, Mapping):
        parts = {site: _split(part) for site, part in weight.items()}
        kinds = tuple((site, kind) for site, (kind, _) in parts.items())
        return kinds, [number for _, numbers in parts.values() for number in numbers]
    if isinstance(weight, Tensor):
        return Identity(weight), []
    return ("zero", []) if is_zero(weight) else ("number", [float(weight)])


def _with_numbers(weight: Any, numbers: Iterator[float | Tensor]) -> Any:  # noqa: ANN401  (the same)
    if isinstance(weight, Mapping):
        return {site: _with_numbers(part, numbers) for site, part in weight.items()}
    return weight if isinstance(weight, Tensor) or is_zero(weight) else next(numbers)


def _settings(elbo: Lagrangian) -> Settings:
    kinds, numbers = zip(*(_split(getattr(elbo, name)) for name in WEIGHTS), strict=True)
    return Settings(kinds, tuple(number for part in numbers for number in part))


def _weighted_by(elbo: Lagrangian, numbers: tuple[float | Tensor, ...]) -> Lagrangian:
    """Return the same objective with other numbers as its weights."""
    other, remaining = copy(elbo), iter(numbers)
    for name in WEIGHTS:
        setattr(other, name, _with_numbers(getattr(elbo, name), remaining))
    return other


def _require_unchanged(elbo: Lagrangian, used: Lagrangian) -> None:
    """Raise if an evaluation settles something by running the program, which draws."""
    weights = {f"_{name}" for name in WEIGHTS}
    for name, value in vars(used).items():
        if name not in weights and value is not vars(elbo).get(name):
            raise CaptureError(
                f"the objective has {name}={vars(elbo).get(name)!r} and sets it to {value!r} when first evaluated, "
                f"which draws random numbers that a replay would not; give it {name}={value!r}, or do without capture"
            )


class _WithGradients(torch.autograd.Function):
    """A loss whose gradients are known."""

    @staticmethod
    def forward(ctx: FunctionCtx, loss: Tensor, gradients: tuple[Tensor, ...], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients  # type: ignore[attr-defined]
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, factor: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.gradients  # type: ignore[attr-defined]
        return None, None, *(factor.to(gradient) * gradient for gradient in gradients)

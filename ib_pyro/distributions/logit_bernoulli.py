"""Binary values given logits, with a density that is one operation: summed over the event where it is computed."""

from typing import Any

import torch
from pyro.distributions import Bernoulli, Independent
from torch import Tensor

from ib_pyro.checks import is_traced
from ib_pyro.precision import promoted, single_or_wider

__all__ = ["LogitBernoulli", "bernoulli_log_density"]


def bernoulli_log_density(logits: Tensor, value: Tensor, event_dim: int = 0) -> Tensor:
    """Return ``log p(value)`` of independent binary values, summed over the rightmost dimensions.

    ``log p = value * logits - softplus(logits)``, minus binary cross-entropy. Formula and gradient go over memory in
    vectors, where PyTorch's go element by element: in a quarter of the time, and with nothing kept between. It is
    exact to rounding at every logit: where one is infinite, the value that it makes certain costs nothing, and any
    other is infinitely unlikely.

    Args:
        logits: Logarithms of the odds, ``[..., *event]``.
        value: Zeros and ones, or numbers between, broadcastable with ``logits``.
        event_dim: Number of dimensions to sum over.

    Returns:
        Nats, ``[...]``, of the type that both promote to. Half types are summed in float32, and stay in it under
        automatic casting, as PyTorch's cross-entropies do.
    """
    casts = torch.is_autocast_enabled(logits.device.type)
    dtype = promoted(logits, value)
    # A difference of types or shapes is undone, in the gradients, outside of the operation.
    logits, value = (single_or_wider(each.to(dtype)) for each in (logits, value))
    if logits.shape != value.shape:
        logits, value = torch.broadcast_tensors(logits, value)
    # The compiler takes no function that knows its forward gradients, and has none itself.
    operation = _LogDensity if torch.compiler.is_compiling() else _LogDensityForward
    density: Tensor = operation.apply(logits, value, event_dim)
    return density if casts else density.to(dtype)


class LogitBernoulli(Bernoulli):
    """A Bernoulli law whose density is :func:`bernoulli_log_density`, as is that of an event made of it.

    Args:
        logits: Logarithms of the odds.
        validate_args: Check the arguments and values.

    >>> law = LogitBernoulli(logits=torch.zeros(5, 3)).to_event(1)
    >>> law.log_prob(torch.ones(5, 3)).shape
    torch.Size([5])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of each value."""
        return self.event_log_prob(value, 0)

    def event_log_prob(self, value: Tensor, event_dim: int) -> Tensor:
        """Return the log density of values, summed over the rightmost dimensions."""
        if self._validate_args:
            self._validate_sample(value)
        return bernoulli_log_density(self.logits, value, event_dim)

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Any:  # noqa: ANN401  (as Pyro's)
        """Take batch dimensions into the event."""
        event_dim = len(self.batch_shape) if reinterpreted_batch_ndims is None else reinterpreted_batch_ndims
        return _Event(self, event_dim) if event_dim > 0 else super().to_event(event_dim)


class _Event(Independent):
    def log_prob(self, value: Tensor) -> Tensor:
        law: LogitBernoulli = self.base_dist
        return law.event_log_prob(value, self.reinterpreted_batch_ndims)


class _LogDensity(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, value: Tensor, event_dim: int) -> Tensor:
        return -(_cost(logits, value, event_dim) + _log_of_one_more(logits, event_dim))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401  (PyTorch's)
        logits, value, ctx.event_dim = inputs
        ctx.save_for_backward(logits, value)
        ctx.save_for_forward(logits, value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  (PyTorch's)
        logits, value = ctx.saved_tensors
        gradient = gradient[(..., *[None] * ctx.event_dim)]
        of_logits = (value - logits.sigmoid()) * gradient if ctx.needs_input_grad[0] else None
        of_value = logits * gradient if ctx.needs_input_grad[1] else None
        return of_logits, of_value, None


class _LogDensityForward(_LogDensity):
    @staticmethod
    def jvp(ctx: Any, logits_t: Tensor | None, value_t: Tensor | None, _: None) -> Tensor:  # noqa: ANN401
        logits, value = ctx.saved_tensors
        change = torch.zeros_like(logits)
        if logits_t is not None:
            change = change + (value - logits.sigmoid()) * logits_t
        if value_t is not None:
            change = change + logits * value_t
        return _summed(change, ctx.event_dim)


def _cost(logits: Tensor, value: Tensor, event_dim: int) -> Tensor:
    """Return ``max(logits, 0) - value * logits``, summed."""
    miss = _where_above(torch.ones_like(logits), logits)
    # Under vmap one of them alone may have the dimension of the runs, and nothing has room for that.
    miss = miss - value if is_traced() else miss.sub_(value)
    cost = logits * miss
    # A product with an infinite logit is no number where the value is what the logit says, and misses nothing.
    return _summed(_where_above(cost, miss.abs_()), event_dim)


def _log_of_one_more(logits: Tensor, event_dim: int) -> Tensor:
    """Return ``log(1 + exp(-|logits|))``, summed: by the sum's own logarithm and what the sum has rounded off."""
    odds = logits.abs().neg_().exp_()  # log1p would be slow
    total = odds + 1
    # Without and with the 1 again, both exactly: a third tensor would be the most that a step holds.
    rounded_off = _summed(odds.sub_(total.sub_(1)), event_dim)
    return rounded_off + _summed(total.add_(1).log_(), event_dim)


def _where_above(value: Tensor, level: Tensor) -> Tensor:
    """Return a value, which may be written over, where a level is above zero or NaN, and zero elsewhere.

    See :func:`ib_pyro.atoms.on_or_off`.
    """
    operation = torch.ops.aten.threshold_backward
    if is_traced():
        return operation(value, level, 0.0)
    return operation.grad_input(value, level, 0.0, grad_input=value)


def _summed(values: Tensor, event_dim: int) -> Tensor:
    return values.sum(tuple(range(-event_dim, 0))) if event_dim else values

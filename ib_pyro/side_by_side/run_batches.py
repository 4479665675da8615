"""Batches of several runs at once: each run's samples in an order of its own, or one order for all."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from ib_pyro.side_by_side.streams import Streams

__all__ = ["RunBatches", "Transform", "placed", "repeated"]

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class RunBatches:
    """The batches of an epoch for several runs, in a new order each time it is iterated.

    Args:
        data: Inputs ``[N, ...]`` and what is observed of them, ``[N, ...]``.
        orders: A generator for each run that draws the order of its batches; one and the same for all is a common
            order.
        batch_size: Samples of a run in a step; the last, partial batch is kept.
        like: A tensor of the type and on the device that the programs compute in.
        transform: What a step sees of a run's batch x, y; it draws from the run's stream, in the type of the data.
        streams: The runs' random numbers.
    """

    def __init__(
        self,
        data: tuple[Tensor, Tensor],
        orders: Sequence[Generator],
        batch_size: int,
        *,
        like: Tensor,
        transform: Transform | None,
        streams: Streams,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        self.size, self.batch_size, self._orders = len(data[0]), batch_size, tuple(orders)
        self._transform, self._streams, self._like = transform, streams, like
        place = placed if transform is None else _moved
        self._x, self._y = (place(values, like) for values in data)

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give batches ``[runs, batch, ...]`` of inputs and of what is observed."""
        for index in self._order().to(self._x.device).split(self.batch_size, -1):
            x, y = (self._at(values, index) for values in (self._x, self._y))
            yield (x, y) if self._transform is None else self._seen(self._transform, x, y)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first samples as a step of the first run sees them, ``[batch, ...]``; streams stay."""
        x, y = self._x[: self.batch_size], self._y[: self.batch_size]
        if self._transform is None:
            return x, y
        states = self._streams.states
        with self._streams.ambient(0):
            x, y = self._transform(x, y)
        self._streams.states = states
        return placed(x, self._like), placed(y, self._like)

    @property
    def states(self) -> list[Tensor]:
        """Where the generators of the orders are; may be set."""
        return [generator.get_state() for generator in self._orders]

    @states.setter
    def states(self, values: Sequence[Tensor]) -> None:
        for generator, value in zip(self._orders, values, strict=True):
            generator.set_state(value)

    def _order(self) -> Tensor:
        """Return the order of the samples, ``[runs, N]``, or ``[N]`` where it is one for all."""
        drawn: dict[int, Tensor] = {}
        for generator in self._orders:
            if id(generator) not in drawn:
                drawn[id(generator)] = torch.randperm(self.size, generator=generator)
        orders = [drawn[id(generator)] for generator in self._orders]
        is_common = all(order is orders[0] or torch.equal(order, orders[0]) for order in orders[1:])
        return orders[0] if is_common else torch.stack(orders)

    def _at(self, values: Tensor, index: Tensor) -> Tensor:
        if index.dim() == 1:
            return repeated(values.index_select(0, index), len(self._orders))
        return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])

    def _seen(self, transform: Transform, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        pairs = []
        for run in range(len(self._orders)):
            with self._streams.ambient(run):
                pairs.append(transform(x[run], y[run]))
        inputs, observed = zip(*pairs, strict=True)
        whole = placed(torch.stack(inputs), self._like)
        # What is its own target is so side by side, too.
        same = all(one is other for one, other in pairs)
        return whole, whole if same else placed(torch.stack(observed), self._like)


def placed(values: Tensor, like: Tensor) -> Tensor:
    """Return values on a tensor's device, and in its type if they are floating-point numbers."""
    return values.to(device=like.device, dtype=like.dtype if values.is_floating_point() else values.dtype)


def repeated(values: Tensor, runs: int) -> Tensor:
    """Return values for each run, ``[runs, ...]``, without a copy."""
    return values.expand(runs, *values.shape)


def _moved(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device)

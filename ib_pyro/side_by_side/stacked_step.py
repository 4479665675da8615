"""The steps of several runs as one: the graph of one run, over stacked tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ib_pyro.capture.recording import record
from ib_pyro.capture.simplification import simplify
from ib_pyro.side_by_side.run_graph import (
    Draw,
    RunGraph,
    SideBySideError,
    Step,
    lift_differences,
    record_run,
    tensors_of,
)

__all__ = ["StackedStep", "stack_programs", "unstack_into"]


class StackedStep:
    """Steps of K runs on batches of one shape.

    Args:
        steps: Each run's step, from weights, inputs and labels to a loss and other tensors.
        programs: Each run's program.
        names: Names of the runs.
        inputs: Stacked weights, inputs and labels, ``[K, ...]``.
        alike: For each run the first one whose program is made of the same options; only those are recorded.
        shared: Whether all runs share the inputs and labels (the last two), which are then not stacked.
        with_gradients: Whether gradients are among the results.
        capture: Whether the stacked operations are recorded in turn and replayed.

    Raises:
        CaptureError: If a run cannot be recorded.
        SideBySideError: If runs cannot be stacked.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        programs: Sequence[nn.Module],
        names: Sequence[str],
        inputs: Sequence[Tensor],
        *,
        alike: Sequence[int],
        shared: bool,
        with_gradients: bool,
        capture: bool,
    ) -> None:
        dims = [0] * (len(inputs) - 2) + [None if shared else 0] * 2
        recorded: dict[int, RunGraph] = {}
        for k in sorted(set(alike)):
            own = [x if dim is None else x[k] for x, dim in zip(inputs, dims, strict=True)]
            recorded[k] = record_run(steps[k], programs[k], own, with_gradients=with_gradients)
        graphs = [recorded[k] for k in alike]
        # The first draw of a graph comes after the other inputs, and what differs after that.
        differing = lift_differences([run.graph for run in graphs], names)
        self._differing = [value.to(inputs[0].device) for value in differing]
        self._draws = [_Stack(list(draws)) for draws in zip(*(run.draws for run in graphs), strict=True)]
        self.expected = graphs[0].expected
        #: Names of the results after the loss that are no gradients.
        self.names = [name.removeprefix("output['").removesuffix("']") for name in self.expected.names[1:]]
        self.names = self.names[: len(self.expected.outputs)]
        self._run = _vmapped(graphs[0], len(steps), dims, programs[0], self._draws, self._differing)
        if capture:
            parameters, buffers = stack_programs(programs)
            buffers = {name: buffer.clone() for name, buffer in buffers.items()}
            example = [*parameters.values(), *buffers.values(), *inputs]
            self._run = _recorded(self._run, [*example, *self._values()])

    def __call__(
        self, own: Sequence[Tensor], inputs: Sequence[Tensor], streams: Sequence[torch.Generator]
    ) -> list[Tensor]:
        """Return the results, ``[K, ...]`` each; buffers are updated in place.

        Args:
            own: Stacked parameters and buffers.
            inputs: Stacked weights, inputs and labels.
            streams: Where each run's draws come from.
        """
        for draw in self._draws:
            draw.fill(streams)
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            return list(self._run(*own, *inputs, *self._values()))

    def _values(self) -> list[Tensor]:
        return [*(draw.values for draw in self._draws), *self._differing]


class _Stack:
    """One draw of each of K runs."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        like = draws[0].like
        self.values = torch.empty_strided(
            (len(draws), *like.shape), (_extent(like), *like.stride()), dtype=like.dtype, device=like.device
        )
        self._parts = [(draw, self.values[k]) for k, draw in enumerate(draws)]
        self.values.zero_()

    def fill(self, streams: Sequence[torch.Generator]) -> None:
        for (draw, part), stream in zip(self._parts, streams, strict=True):
            draw.fills(part, stream)


def stack_programs(programs: Sequence[nn.Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return stacked parameters and buffers by name, ``[K, ...]``, without graph."""
    parts = [tensors_of(program) for program in programs]
    stacked = [
        {name: torch.stack([part[kind][name].detach() for part in parts]) for name in parts[0][kind]}
        for kind in (0, 1)
    ]
    return stacked[0], stacked[1]


@torch.no_grad()
def unstack_into(programs: Sequence[nn.Module], *stacked: dict[str, Tensor]) -> None:
    """Copy stacked parameters and buffers back into the programs."""
    for k, program in enumerate(programs):
        for own, values in zip(tensors_of(program), stacked, strict=True):
            for name, tensor in own.items():
                tensor.copy_(values[name][k])


def _vmapped(
    run: RunGraph,
    size: int,
    dims: Sequence[int | None],
    program: nn.Module,
    draws: Sequence[_Stack],
    differing: Sequence[Tensor],
) -> Callable[..., Sequence[Tensor]]:
    parameters, buffers = tensors_of(program)
    in_dims = (*[0] * (len(parameters) + len(buffers)), *dims, *[0] * (len(draws) + len(differing)))
    function = torch.func.vmap(run.graph.forward, in_dims=in_dims)

    def stacked(*given: Tensor) -> Sequence[Tensor]:
        try:
            return function(*given)
        except (NotImplementedError, RuntimeError) as error:
            raise SideBySideError(
                f"the programs of {size} runs cannot be evaluated as one ({str(error).splitlines()[0]}); train them "
                "one by one"
            ) from error

    return stacked


def _recorded(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]
) -> Callable[..., Sequence[Tensor]]:
    with torch.no_grad():
        graph = record(lambda *given: tuple(function(*given)), inputs)
    simplify(graph)
    return graph.forward


def _extent(tensor: Tensor) -> int:
    """Number of elements from the first to the last in memory."""
    return 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))

"""Whether runs that are evaluated as one have each its own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyro
import torch
from torch import Tensor, nn

from ib_pyro.buffers import buffers_kept
from ib_pyro.capture.loss_and_gradient import evaluate
from ib_pyro.side_by_side.run_graph import SideBySideError, Step, tensors_of
from ib_pyro.side_by_side.stacked_step import StackedStep

__all__ = ["require_own_numbers"]


def require_own_numbers(
    stacked: StackedStep,
    steps: Sequence[Step],
    programs: Sequence[nn.Module],
    names: Sequence[str],
    own: Sequence[Mapping[str, Tensor]],
    inputs: Sequence[Tensor],
    streams: Sequence[torch.Generator],
    *,
    shared: bool,
    training: bool,
) -> None:
    """Evaluate each run alone, too, and raise where its numbers are others.

    Neither buffers nor generators move.

    Args:
        stacked: The runs as one.
        steps: Each run's step.
        programs: Their programs, with the parameters and buffers that are stacked.
        names: Names of the runs.
        own: Stacked parameters and buffers.
        inputs: Stacked weights, inputs and labels.
        streams: Their generators.
        shared: Whether inputs and labels are shared.
        training: Whether gradients are compared.

    Raises:
        SideBySideError: Names the run, and what differs.
    """
    copies = [torch.Generator(stream.device).set_state(stream.get_state()) for stream in streams]
    parameters, buffers = own[0].values(), [buffer.clone() for buffer in own[1].values()]
    dtype = next(p.dtype for p in own[0].values() if p.is_floating_point())
    together = stacked([*parameters, *buffers], inputs, copies)
    for k, (step, program, stream) in enumerate(zip(steps, programs, streams, strict=True)):
        last = inputs[-2:] if shared else [value[k] for value in inputs[-2:]]
        given = (*(value[k] for value in inputs[:-2]), *last)
        trained = [p for p in tensors_of(program)[0].values() if p.requires_grad] if training else []
        cuda = [stream.device] if stream.device.type == "cuda" else []
        with torch.random.fork_rng(cuda), buffers_kept([program]):
            set_state = torch.cuda.set_rng_state if cuda else torch.set_rng_state
            set_state(stream.get_state())
            with pyro.validation_enabled(False):
                alone = evaluate(step, trained, given, {})
            own_buffers = [buffer.clone() for buffer in tensors_of(program)[1].values()]
        if not alone.loss.isfinite():
            continue  # it has diverged, and is reported by its name
        found = [*(result[k] for result in together), *(buffer[k] for buffer in buffers)]
        labels = [*alone.names, *tensors_of(program)[1]]
        for label, one, other in zip(labels, [*alone.results, *own_buffers], found, strict=True):
            # The sums are of a wider type than what they are made of.
            if not _agree(one, other, torch.finfo(dtype).eps ** 0.5):
                raise SideBySideError(
                    f"run {names[k]!r}: evaluated beside the others it has another {label} than alone; its program "
                    "keeps tensors that are neither parameters nor buffers, draws from a generator that is not "
                    "PyTorch's, or changes from call to call. Keep its state in buffers, or train it alone"
                )


def _agree(one: Tensor, other: Tensor, precision: float) -> bool:
    if not one.is_floating_point():
        return one.shape == other.shape
    finite = one[one.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = precision * max(largest, precision)
    return bool(torch.isclose(one, other.to(one.dtype), rtol=0.0, atol=tolerance, equal_nan=True).all())

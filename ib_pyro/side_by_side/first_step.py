"""Whether runs side by side are what each is alone, looked at before the first step."""

from collections.abc import Sequence
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from ib_pyro.buffers import buffers_kept
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.evaluation import Lagrangians
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.side_by_side.streams import Streams

__all__ = ["require_same_alone"]


def require_same_alone(
    lagrangians: Lagrangians,
    stack: Stack,
    elbos: Sequence[InformationBottleneckELBO],
    streams: Streams,
    names: Sequence[str],
    batch: tuple[Tensor, Tensor],
) -> None:
    """Evaluate a batch of each run alone and side by side, with the same noise, and compare the losses.

    Alone, a program has all of its checks, so that what is wrong with it or its data is said as ever. Streams and
    statistics are left where they were.

    Args:
        lagrangians: The runs side by side.
        stack: Their programs.
        elbos: Their objectives.
        streams: Their random numbers.
        names: What they are called.
        batch: Inputs and what is observed of them, ``[runs, batch, ...]`` each.

    Raises:
        VectorizationError: If the program has parameters in Pyro's store or outside of its modules, cannot be run for
            several at once, or gives another loss then; names the run.
    """
    states = streams.states
    alone = []
    for run, (program, elbo) in enumerate(zip(stack.programs, elbos, strict=True)):
        with streams.ambient(run), buffers_kept([program]), _NoParams():
            alone.append(_loss_alone(program, elbo, batch[0][run], batch[1][run]))
    streams.states = states
    kept = [tensor.clone() for tensor in stack.others.values()]
    together = lagrangians(*batch).loss
    streams.states = states
    for tensor, old in zip(stack.others.values(), kept, strict=True):
        tensor.copy_(old)
    for name, one, other in zip(names, alone, together.tolist(), strict=True):
        tolerance = torch.finfo(together.dtype).eps ** 0.6 * (1 + abs(one))
        if abs(one - other) > tolerance:
            raise VectorizationError(
                f"run {name}: with the same noise the first loss is {one:.8g} alone and {other:.8g} side by side; the "
                "program keeps what differs between runs elsewhere than in tensors and numbers of its modules, or "
                "draws in another order. Train the runs one by one"
            )


def _loss_alone(program: Any, elbo: InformationBottleneckELBO, x: Tensor, y: Tensor) -> float:  # noqa: ANN401
    with torch.enable_grad():
        terms = elbo.terms(program.model, program.guide, x, y)
    _require_no_strangers(terms.loss, program)
    return terms.loss.item() / (getattr(program, "num_data", None) or len(x))


def _require_no_strangers(loss: Tensor, program: nn.Module) -> None:
    """Raise if a loss depends on a parameter that is not the program's, which would be the same for all runs."""
    own = {id(p) for p in program.parameters()}
    todo, seen = [loss.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in own:
            raise VectorizationError(
                f"the loss depends on a parameter of shape {tuple(leaf.shape)} that is not in the program's modules, "
                "so that runs would share it; make it an attribute of the program, which each run has of its own"
            )
        todo += [parent for parent, _ in node.next_functions]


class _NoParams(Messenger):
    """Refuse parameters of Pyro's store, which goes by name and has one for all runs."""

    def _pyro_param(self, msg: dict[str, Any]) -> None:
        raise VectorizationError(
            f"pyro.param {msg['name']!r}: runs side by side would share what Pyro's parameter store has under a name; "
            "keep parameters in modules (nn.Parameter, or PyroParam under "
            "pyro.settings.set(module_local_params=True)), or train the runs one by one"
        )

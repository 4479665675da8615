"""Whether a set is what a program takes, all of it, found out before it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import torch
from torch import Tensor, nn

from ib_pyro.buffers import buffers_kept
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.batch_arguments import Batch, Placement
from ib_pyro.training.data_checks import check_steps, look_at
from ib_pyro.training.finite_data import require_finite_loss
from ib_pyro.training.programs import model_and_guide
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import source_of

__all__ = ["BATCH_SIZE", "require_sound_set", "trying"]

BATCH_SIZE = 1000


@contextmanager
def trying(program: nn.Module, name: str) -> Iterator[None]:
    """Try a set on a program in evaluation mode, and leave its modes, buffers and the ambient generators as they are.

    Args:
        program: The program.
        name: What messages call the set.

    Raises:
        ValueError: What was raised within, with the name of the set before it.
    """
    modes = [(module, module.training) for module in program.modules()]
    program.eval()
    try:
        with seeded(0), torch.no_grad(), buffers_kept([program]):
            yield
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    finally:
        for module, training in modes:
            module.training = training


def require_sound_set(
    program: nn.Module, data: object, elbo: InformationBottleneckELBO, *, name: str
) -> None:
    """Make sure of a set in memory that a program is to be measured on, at the price of one batch; see :func:`trying`.

    Args:
        program: The program.
        data: The set, of any kind that :func:`ib_pyro.fit` takes; what makes batches itself is left as it is.
        elbo: The objective; its total correlation is not asked for.
        name: What messages call the set.

    Raises:
        ValueError: If the program does not take it, some target is no value of its likelihood, or what is not finite
            reaches the loss; says which set it is, and what is wrong with it.
    """
    device = next((parameter.device for parameter in program.parameters()), torch.device("cpu"))
    source = source_of(data, device=device, default=BATCH_SIZE, name=name)
    if source.whole is None:
        return
    placed, plain = Placement(program), copy(elbo)
    plain.gamma = 0.0

    def loss(batch: Batch) -> Tensor:
        seen = placed(batch)
        return plain.differentiable_loss(*model_and_guide(program), *seen.args, **seen.kwargs)

    with trying(program, name):
        require_finite_loss(source, loss)
        look = look_at(program, placed(source.first()))
        check_steps(look, source, placed, elbo=plain, batch_size=BATCH_SIZE)

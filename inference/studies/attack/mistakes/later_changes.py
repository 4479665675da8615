"""Programs that are changed after they have been asked: a part exchanged, an option set, parameters moved in place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from pyro import distributions as dist
from torch import Tensor, nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import InformationDropout
from inference.studies.attack.mistakes.mistake import Draw, Wrong, mistake
from inference.studies.attack.mistakes.wrong_networks import CLASSES, INPUTS

__all__: list[str] = []


def layer_of(inputs: int, outputs: int, **options: Any) -> InformationDropout:
    """A layer with a learned prior, which has all there is to change."""
    return InformationDropout.linear(
        inputs, outputs, **{"activation": "softplus", "prior": "log-normal", **options}
    )


def compared(draw: Draw, program: Bottleneck, change: Callable[[Bottleneck], object]) -> Wrong:
    """Ask, change, and ask again: as one that was built so, which has been asked nothing."""
    x, y = draw.normal(draw.batch, INPUTS).float(), draw.labels(draw.batch, CLASSES)
    elbo = InformationBottleneckELBO(draw.choice(1.0, 0.1))
    as_module = draw.choice(True, False)
    loss = elbo(program.model, program.guide) if as_module else None
    captured = elbo.capture(program.model, program.guide) if draw.choice(True, False, False) else None

    def ask(of: Bottleneck, module: Any = None) -> Tensor:  # noqa: ANN401
        torch.manual_seed(0)
        found = module(x, y) if module is not None else elbo.differentiable_loss(of.model, of.guide, x, y)
        return torch.as_tensor(found)

    def answer() -> Tensor:
        for _ in range(2):
            ask(program, captured or loss)
        change(program)
        return ask(program, captured or loss)

    def truth() -> Tensor:
        # A copy knows nothing of what its original has been asked.
        fresh = copy.deepcopy(program)
        return ask(Bottleneck(copy.deepcopy(fresh.encoder), copy.deepcopy(fresh.decoder)))

    return Wrong(answer, ("z1", "z2", "encoder", "decoder", "argument"), truth=truth)


@mistake
def a_part_that_is_exchanged(draw: Draw) -> Wrong:
    """A layer, the decoder, or a module inside of them."""
    program = Bottleneck(
        nn.Sequential(layer_of(INPUTS, draw.dims), layer_of(draw.dims, draw.dims)),
        nn.Linear(draw.dims, CLASSES),
    )
    new = layer_of(draw.dims, draw.dims, alpha_max=draw.choice(0.7, 2.0))
    changes: list[Callable[[Bottleneck], object]] = [
        lambda p: setattr(p, "decoder", nn.Linear(draw.dims, CLASSES)),
        lambda p: p.encoder.__setitem__(1, new),
        lambda p: p.encoder.append(layer_of(draw.dims, draw.dims)),
        lambda p: p.encoder.__delitem__(1),
        lambda p: setattr(p.encoder[0], "features", nn.Linear(INPUTS, draw.dims)),
        lambda p: setattr(p, "encoder", nn.Sequential(layer_of(INPUTS, draw.dims))),
    ]
    return compared(draw, program, draw.choice(*changes))


@mistake
def an_option_set_later(draw: Draw) -> Wrong:
    """What a layer's law or prior is made of is set to something else that is right."""
    options: list[tuple[str, Any]] = [
        ("alpha_max", 1.5),
        ("alpha_min", 0.1),
        ("unit_mean", True),
        ("activation", torch.exp),
        ("prior", dist.LogNormal(1.0, 2.0)),
        ("activation_floor", 0.5),
    ]
    name, value = draw.choice(*options)
    program = Bottleneck(layer_of(INPUTS, draw.dims), nn.Linear(draw.dims, CLASSES))
    return compared(draw, program, lambda p: setattr(p.encoder, name, value))


@mistake
def parameters_that_move_in_place(draw: Draw) -> Wrong:
    """By hand, by an optimiser, or from a file: also those of a prior."""
    program = Bottleneck(layer_of(INPUTS, draw.dims), nn.Linear(draw.dims, CLASSES))

    def step(p: Bottleneck) -> None:
        optimizer = torch.optim.SGD(p.parameters(), lr=0.5)
        sum((q**2).sum() for q in p.parameters()).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()

    def fill(p: Bottleneck) -> None:
        p.encoder.prior_log_scale.data.fill_(0.7)

    def load(p: Bottleneck) -> None:
        p.load_state_dict({name: value + 0.3 for name, value in p.state_dict().items()})

    return compared(draw, program, draw.choice(step, fill, load))

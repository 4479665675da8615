"""Options of layers that are out of range, of each other's kind, or set when the layer is there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro import distributions as dist
from torch import Tensor, nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.distributions import ZeroInflatedLogUniform
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout
from inference.studies.attack.mistakes.mistake import Draw, Wrong, mistake
from inference.studies.attack.mistakes.wrong_networks import INPUTS

__all__: list[str] = []

NAN = float("nan")
INFORMATION: dict[str, tuple[Any, ...]] = {
    "alpha_max": (0.0, -0.7, 1e-4, NAN, "0.7"),
    "alpha_min": (-1e-3, 0.9, NAN),
    "gate": (-0.1, 1.1, NAN),
    "atom": ("exakt", None, "Ignore"),
    "activation": ("rely", "ReLU", ""),
    "activation_floor": (-1.0, NAN),
    "prior": ("lognormal", "log_uniform", "normal", dist.Normal(0.0, 1.0)),
    "event_dim": (0, -1),
    "gates": (0.5,),
}
OTHERS: tuple[tuple[type[nn.Module], str, tuple[Any, ...]], ...] = (
    (BinaryDropout, "drop_prob", (1.0, -0.1, NAN, 1.5)),
    (ConstantDropout, "alpha", (0.0, -0.5, NAN)),
    (GaussianDropout, "approximation", ("molchanow", "")),
    (GaussianDropout, "gate", (-0.1, 2.0, NAN)),
    (AdditiveNormal, "event_dim", (0, -2)),
)


def asked_of(make: Callable[[], nn.Module], draw: Draw, *names: str) -> Wrong:
    """A question to a program with a layer, that is refused when it is built or when it is asked."""
    x, y = draw.normal(draw.batch, INPUTS).float(), draw.labels(draw.batch, 3)

    def answer() -> Tensor:
        program = Bottleneck(make(), nn.LazyLinear(3))
        return InformationBottleneckELBO().terms(program.model, program.guide, x, y).loss

    return Wrong(answer, names)


@mistake
def an_option_of_information_dropout(draw: Draw) -> Wrong:
    """Out of its range, misspelt, or set so later."""
    name = draw.choice(*INFORMATION)
    value = draw.choice(*INFORMATION[name])
    later = draw.choice(True, False) and name not in ("gates",)

    def make() -> nn.Module:
        if not later:
            return InformationDropout.linear(INPUTS, draw.dims, **{name: value})
        layer = InformationDropout.linear(INPUTS, draw.dims)
        setattr(layer, name, value)
        return layer

    return asked_of(make, draw, name, "z1")


@mistake
def an_option_of_another_layer(draw: Draw) -> Wrong:
    """Out of its range, or misspelt."""
    kind, name, values = draw.choice(*OTHERS)
    value = draw.choice(*values)
    return asked_of(lambda: kind.linear(INPUTS, draw.dims, **{name: value}), draw, name)  # type: ignore[operator]


@mistake
def a_prior_that_does_not_fit_its_activation(draw: Draw) -> Wrong:
    """An atom under a prior without one, or values below zero under one of positive values."""
    forms: tuple[dict[str, Any], ...] = (
        {"activation": "relu", "prior": "log-normal"},
        {"activation": "identity"},
        {"activation": torch.tanh},
        {"activation": "softplus", "prior": ZeroInflatedLogUniform(0.5, 1e-2, 1e2)},
        {"activation": "relu", "prior": dist.LogNormal(0.0, 1.0)},
        {"activation": "softplus", "prior": lambda shape: dist.Normal(0.0, 1.0).expand(shape)},
        {"activation": "softplus", "prior": lambda shape: dist.LogNormal(torch.zeros(7), 1.0).to_event(1)},
        {"activation": "softplus", "prior": dist.LogNormal(torch.zeros(7), 1.0)},
    )
    form = draw.choice(*forms)
    return asked_of(
        lambda: InformationDropout.linear(INPUTS, draw.dims, **form), draw, "z1", "prior", "activation"
    )


@mistake
def parts_of_a_layer_that_do_not_fit(draw: Draw) -> Wrong:
    """Features and noise of different sizes, or parameters that are NaN."""
    features, noise = nn.Linear(INPUTS, draw.dims), nn.Linear(INPUTS, draw.dims + draw.choice(0, 1))
    if noise.out_features == draw.dims:
        with torch.no_grad():
            next(draw.choice(features, noise).parameters())[0] = NAN
    return asked_of(lambda: InformationDropout(features, noise), draw, "z1", "noise", "y")

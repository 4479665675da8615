"""Programs of many kinds, in float64, for every test of the ELBO."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro import Bottleneck
from models.blocks import noisy_linear


class Program(NamedTuple):
    """A model and a guide with their arguments, and the tensors that a gradient is asked for."""

    model: Callable[..., Any]
    guide: Callable[..., Any]
    args: tuple[Any, ...]
    parameters: list[Tensor]

    @property
    def call(self) -> tuple[Any, ...]:
        return self.model, self.guide, *self.args


def parameter(*shape: int) -> Tensor:
    return (0.3 * torch.randn(shape, dtype=torch.float64)).requires_grad_()


def classifier(
    dropout: str = "information", *, batch_norm: bool = True, num_data: int | None = None, **options: Any
) -> Program:
    first = noisy_linear(dropout, 4, 5, batch_norm=batch_norm, **options)
    encoder = nn.Sequential(first, noisy_linear(dropout, 5, 3, **options))
    program = Bottleneck(encoder, nn.Linear(3, 2), num_data=num_data).double()
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1, 0])
    return Program(program.model, program.guide, (x, y), list(program.parameters()))


def softplus_classifier() -> Program:
    return classifier(activation="softplus", prior="log-normal", num_data=60)


def vae() -> Program:
    """A Gaussian VAE as anyone would write it in Pyro, without this package."""
    w, b, v = parameter(4, 2), parameter(4, 2), parameter(2, 4)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=z @ v).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ w, F.softplus(x @ b)).to_event(1))

    return Program(model, guide, ((torch.rand(6, 4) > 0.5).double(),), [w, b, v])


def nested() -> Program:
    """A global site, one for each group and one for each sample, in subsampled plates."""
    loc, scale, local, own = parameter(), parameter(), parameter(7, 1), parameter(7, 10)

    def model(data: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(data.new_zeros(()), 1.0))
        with pyro.plate("groups", 7, subsample_size=3, dim=-2) as g:
            group = pyro.sample("group", dist.Normal(mean, 1.0))
            with pyro.plate("data", 10, subsample_size=4, dim=-1) as i:
                z = pyro.sample("z", dist.Normal(group, 1.0))
                pyro.sample("x", dist.Normal(z, 0.5), obs=data[g][:, i])

    def guide(data: Tensor) -> None:
        pyro.sample("mean", dist.Normal(loc, scale.exp()))
        with pyro.plate("groups", 7, subsample_size=3, dim=-2) as g:
            pyro.sample("group", dist.Normal(local[g], scale.exp()))
            with pyro.plate("data", 10, subsample_size=4, dim=-1) as i:
                pyro.sample("z", dist.Normal(own[g][:, i], 0.4))

    return Program(model, guide, (torch.randn(7, 10, dtype=torch.float64),), [loc, scale, local, own])


def scaled_and_masked() -> Program:
    """The user's own ``scale`` and ``mask``, around the same sites on both sides."""
    loc, mask = parameter(6), torch.tensor([True, False, True, True, False, True])

    def model(x: Tensor) -> None:
        with pyro.plate("data", 6):
            with poutine.scale(scale=0.3), poutine.mask(mask=mask):
                z = pyro.sample("z", dist.Normal(x.new_zeros(6), 1.0))
            with poutine.scale(scale=2.0):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 6), poutine.scale(scale=0.3), poutine.mask(mask=mask):
            pyro.sample("z", dist.Normal(loc, 0.4))

    return Program(model, guide, (torch.randn(6, dtype=torch.float64),), [loc])


def steps_and_factors() -> Program:
    """A sequential plate, a factor on either side, a deterministic and an auxiliary site."""
    loc, weight = parameter(3), parameter()

    def model(x: Tensor) -> None:
        total = x.new_zeros(())
        for step in pyro.plate("steps", 3):
            total = total + pyro.sample(f"z{step}", dist.Normal(x.new_zeros(()), 1.0))
        pyro.deterministic("total", total)
        pyro.factor("penalty", -total.abs())
        pyro.sample("x", dist.Normal(total, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        extra = pyro.sample("extra", dist.Normal(weight, 0.5), infer={"is_auxiliary": True})
        pyro.factor("jacobian", extra * weight, has_rsample=True)
        for step in pyro.plate("steps", 3):
            pyro.sample(f"z{step}", dist.Normal(loc[step] + extra, 0.3))

    return Program(model, guide, (torch.tensor(0.7, dtype=torch.float64),), [loc, weight])


def real_model(x: Tensor) -> None:
    slope = pyro.sample("slope", dist.Normal(x.new_zeros(()), 1.0))
    offset = pyro.sample("offset", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(slope + offset.sum(), 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=x)


def automatic(kind: type) -> Program:
    x = torch.randn(6, dtype=torch.float64)
    torch.set_default_dtype(torch.float64)
    guide = kind(real_model)
    guide(x)
    return Program(real_model, guide, (x,), list(guide.parameters()))


PROGRAMS: dict[str, Callable[[], Program]] = {
    "information dropout": classifier,
    "information dropout, softplus": softplus_classifier,
    "binary dropout": lambda: classifier("binary"),
    "Gaussian dropout": lambda: classifier("gaussian"),
    "constant dropout": lambda: classifier("constant"),
    "no dropout": lambda: classifier("none"),
    "VAE": vae,
    "nested plates, subsampled": nested,
    "scale and mask": scaled_and_masked,
    "steps and factors": steps_and_factors,
    "AutoNormal": lambda: automatic(AutoNormal),
    "AutoDiagonalNormal": lambda: automatic(AutoDiagonalNormal),
    "AutoDelta": lambda: automatic(AutoDelta),
}


@pytest.fixture(params=PROGRAMS.values(), ids=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Program:
    """Each program in turn."""
    return request.param()


@pytest.fixture
def build() -> Callable[..., Program]:
    """Build one program by name, or a classifier with the dropout and options given."""

    def by_name(name: str, **options: Any) -> Program:
        return PROGRAMS[name]() if name in PROGRAMS else classifier(name, **options)

    return by_name

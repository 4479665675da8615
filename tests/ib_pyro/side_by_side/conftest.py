"""A plain loop over one run, which runs side by side are compared with."""

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.data import batches
from ib_pyro.nn import InformationDropout


def train_alone(
    make_program,
    data,
    run,
    *,
    epochs=3,
    batch_size=8,
    elbo=None,
    optimizer=lambda parameters, run: torch.optim.SGD(parameters, lr=run.lr or 0.07, momentum=0.9),
    before_step=lambda epoch, elbo, optimizer, program: None,
    before_batch=lambda epoch, elbo, optimizer: None,
    transform=lambda x, y: (x, y),
    order_seed=None,
):
    """Train one run as the documentation of `train_side_by_side` spells it out; return it with its means."""
    torch.manual_seed(run.seed)
    program = make_program(**run.options)
    order = torch.Generator().manual_seed(run.seed if order_seed is None else order_seed)
    elbo = copy(elbo or InformationBottleneckELBO())
    elbo.beta, elbo.gamma = run.beta, run.gamma
    steps = optimizer(program.parameters(), run)
    rows = []
    program.train()
    loader = batches(data, batch_size, generator=order)
    for epoch in range(epochs):
        sums: dict[str, float] = {}
        for number, batch in enumerate(loader):
            before_batch(epoch + number / len(loader), elbo, steps)
            x, y = transform(*batch)
            steps.zero_grad()
            terms = elbo.terms(program.model, program.guide, x, y)
            loss = terms.loss / (getattr(program, "num_data", None) or len(x))
            loss.backward()
            before_step(epoch, elbo, steps, program)
            steps.step()
            parts = {"loss": loss * len(x), "distortion": terms.distortion.sum()}
            parts |= {f"rate/{site}": value.sum() for site, value in terms.rate.items()}
            parts |= {f"total_correlation/{s}": v * len(x) for s, v in terms.total_correlation.items()}
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        rows.append({name: value / len(data[0]) for name, value in sums.items()})
    return program.eval(), rows


def require_same_tensors(program, expected, tolerance, what=""):
    for (name, value), other in zip(
        program.state_dict().items(), expected.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(
            value,
            other,
            rtol=tolerance,
            atol=tolerance,
            equal_nan=True,
            msg=lambda m, n=name: f"{what} {n}: {m}",
        )


@pytest.fixture(name="train_alone")
def _train_alone() -> Callable[..., Any]:
    return train_alone


@pytest.fixture(name="same_tensors")
def _same_tensors() -> Callable[..., None]:
    return require_same_tensors


@pytest.fixture
def same() -> Callable[..., None]:
    """Compare what came of runs side by side with each of them alone."""

    def compare(found: Any, make_program: Any, data: Any, tolerance: float = 1e-9, **options: Any) -> None:
        history = found.history.to_dict("records")
        epochs = max(row["epoch"] for row in history)
        for run in found.runs:
            program = found.programs[run.name]
            alone, rows = train_alone(make_program, data, run, epochs=epochs, **options)
            theirs = [row for row in history if row["run"] == run.name]
            for row, mine in zip(theirs, rows, strict=True):
                assert {n: row[n] for n in mine} == pytest.approx(mine, rel=tolerance, abs=tolerance), (
                    run.name
                )
            require_same_tensors(program, alone, tolerance, run.name)

    return compare


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    """28 samples of three classes in float64: three batches of 8 and one of 4."""
    generator = torch.Generator().manual_seed(5)
    y = torch.randint(3, (28,), generator=generator)
    x = torch.randn(28, 6, generator=generator, dtype=torch.float64)
    x[torch.arange(28), y] += 2
    return x, y


@pytest.fixture
def make() -> Callable[..., Bottleneck]:
    """A builder of classifiers of that data with a noisy layer, in float64."""

    def build(layer: Any = InformationDropout, **options: Any) -> Bottleneck:
        first = layer.linear(6, 5, batch_norm=True, **options)
        return Bottleneck(nn.Sequential(first), nn.Linear(5, 3)).double()

    return build

"""A plain loop over one run, which runs side by side are compared with."""

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.data import batches
from ib_pyro.side_by_side import Run


def train_alone(
    make_program: Callable[..., nn.Module],
    data: tuple[torch.Tensor, torch.Tensor],
    run: Run,
    *,
    epochs: int = 3,
    batch_size: int = 8,
    elbo: InformationBottleneckELBO | None = None,
    make_optimizer: Callable[..., Any] | None = None,
    step: Callable[..., None] | None = None,
    transform: Callable[..., Any] | None = None,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train one run as the documentation of `train_side_by_side` spells it out, and return its means."""
    torch.manual_seed(run.seed)
    program = make_program(**run.options)
    order = torch.Generator().manual_seed(run.seed)
    elbo = copy(elbo or InformationBottleneckELBO())
    elbo.beta, elbo.gamma = run.beta, run.gamma
    optimizer = (make_optimizer or default_optimizer)(program.parameters(), run)
    rows = []
    program.train()
    for epoch in range(epochs):
        sums: dict[str, float] = {}
        for number, (x, y) in enumerate(batches(data, batch_size, generator=order)):
            if transform is not None:
                x, y = transform(x, y)
            if step is not None:
                step(epoch, number, elbo, optimizer, run)
            optimizer.zero_grad()
            terms = elbo.terms(program.model, program.guide, x, y)
            loss = terms.loss / (program.num_data or len(x))
            loss.backward()
            if hasattr(optimizer, "before_step"):
                optimizer.before_step(program)
            optimizer.step()
            parts = {"loss": loss * len(x), "distortion": terms.distortion.sum()}
            parts |= {f"rate/{site}": value.sum() for site, value in terms.rate.items()}
            parts |= {f"total_correlation/{s}": v * len(x) for s, v in terms.total_correlation.items()}
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        rows.append({name: value / len(data[0]) for name, value in sums.items()})
    return program.eval(), rows


def default_optimizer(parameters: Any, run: Run) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=run.lr or 0.07, momentum=0.9)


@pytest.fixture(name="train_alone")
def _train_alone() -> Callable[..., Any]:
    return train_alone


@pytest.fixture
def same() -> Callable[..., None]:
    """Compare what came of runs side by side with each of them alone."""

    def compare(found: Any, make_program: Any, data: Any, tolerance: float = 1e-9, **options: Any) -> None:
        epochs = max(row["epoch"] for row in found.history)
        for number, (run, program) in enumerate(zip(found.runs, found.programs, strict=True)):
            alone, rows = train_alone(make_program, data, run, epochs=epochs, **options)
            theirs = found.history[number :: len(found.runs)]
            for row, mine in zip(theirs, rows, strict=True):
                assert {n: row[n] for n in mine} == pytest.approx(mine, rel=tolerance, abs=tolerance), run.name
            for (name, value), expected in zip(
                program.state_dict().items(), alone.state_dict().values(), strict=True
            ):
                torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance, msg=f"{run.name}, {name}")

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
def mlp() -> Callable[..., Bottleneck]:
    """A builder of classifiers of that data with a noisy layer of any kind, in float64."""

    def build(kind: type, batch_norm: bool = True, **options: Any) -> Bottleneck:
        first = kind.linear(6, 5, batch_norm=batch_norm, **options)
        second = kind.linear(5, 4, batch_norm=batch_norm, **options)
        return Bottleneck(nn.Sequential(first, second), nn.Linear(4, 3)).double()

    return build

"""A latent that all samples of a set share counts once, however many batches the set is gone through in."""

from functools import partial

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from ib_pyro import InformationBottleneckELBO, evaluate, fit, sweep
from ib_pyro.side_by_side import Run, evaluate_side_by_side, train_side_by_side
from ib_pyro.side_by_side.measuring import evaluate_alone

SIZE = 60
X = torch.randn(SIZE, 4, generator=torch.Generator().manual_seed(1))
Y = X.sum(1)
RATE = 2.0 / SIZE  # of four units with the means 1 and the prior's scale: half a nat each


class Regression(nn.Module):
    """Weights w ~ N(0, 1) behind all targets, of which a batch has a subsample."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.ones(4))
        self.scale = nn.Parameter(torch.zeros(4))

    def model(self, x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        with pyro.plate("data", SIZE, subsample=torch.arange(len(x))):
            pyro.sample("y", dist.Normal(x @ w, 1.0), obs=y)

    def guide(self, x: Tensor, y: Tensor) -> None:
        pyro.sample("w", dist.Normal(self.loc, self.scale.exp()).to_event(1))


@pytest.mark.parametrize("batch_size", [60, 20, 7])
@pytest.mark.parametrize("size", [60, 20])
def test_its_rate_does_not_depend_on_batches(batch_size: int, size: int) -> None:
    data = X[:size], Y[:size]
    found = evaluate(Regression(), data, batch_size=batch_size)
    assert found.rate["w"] == found.total_rate == pytest.approx(RATE)
    assert found.intervals["rate/w"].method == "none"
    how = partial(dict, batch_size=batch_size, num_samples=1)
    for row in (
        *evaluate_side_by_side([Regression(), Regression()], data, **how()),
        evaluate_alone(Regression(), data, **how()),
    ):
        assert row["rate/w"] == row["rate"] == pytest.approx(RATE)


def test_a_fit_says_the_same() -> None:
    [row] = fit(
        Regression(), (X, Y), epochs=1, batch_size=20, beta=1.0, lr=1e-9, validation=(X, Y), progress=False
    ).rows
    assert row["rate"] == row["validation_rate"] == pytest.approx(RATE)


@pytest.mark.parametrize("vectorize", [True, False])
def test_a_sweep_takes_the_steps_of_a_fit(vectorize: bool) -> None:
    how = {"epochs": 2, "batch_size": 20, "lr": 0.01}
    frame = sweep(Regression, (X, Y), betas=(0.5, 1.0), vectorize=vectorize, validation=(X, Y), **how)
    runs = train_side_by_side(Regression, (X, Y), [Run(beta=0.5), Run(beta=1.0)], **how)
    for row, program in zip(frame.to_dict("records"), runs.programs.values(), strict=True):
        alone = Regression()
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(alone.parameters(), lr=0.01, momentum=0.9)
        order = torch.Generator().manual_seed(0)
        elbo = InformationBottleneckELBO(beta=row["beta"])
        fit(
            alone,
            (X, Y),
            epochs=2,
            batch_size=20,
            elbo=elbo,
            optimizer=optimizer,
            order=order,
            progress=False,
        )
        assert row["rate"] == pytest.approx(evaluate(alone, (X, Y)).total_rate, rel=1e-4)
        torch.testing.assert_close(program.loc, alone.loc)

"""What a fit reports of distortion and rates adds up to its loss, whichever plates a program has."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from ib_pyro import InformationBottleneckELBO, evaluate, fit
from ib_pyro.side_by_side import Run, train_side_by_side

SIZE, BATCH = 24, 6


class Plates(PyroModule):
    """A regression whose latents and observations stand in the plates of one case."""

    def __init__(self, case: str, num_data: int) -> None:
        super().__init__()
        self.case, self.num_data = case, num_data
        self.loc = nn.Parameter(torch.tensor(0.3))
        self.width = nn.Parameter(torch.tensor(0.7))

    def samples(self, x: torch.Tensor, name: str = "data", dim: int | None = None) -> pyro.plate:
        return pyro.plate(name, self.num_data, subsample=torch.arange(len(x)), dim=dim)

    def both(self, x: torch.Tensor, law: object, y: torch.Tensor | None = None) -> None:
        getattr(self, self.case)(x, law, y)

    def model(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.both(x, dist.Normal(0.0, 1.0), y)

    def guide(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.both(x, dist.Normal(self.loc, self.width.exp()))

    def global_plate_of_the_batchs_size(self, x, law, y=None):
        with pyro.plate("units", BATCH):
            w = pyro.sample("w", law)
        with self.samples(x):
            z = pyro.sample("z", law)
            if y is not None:
                pyro.sample("y", dist.Normal(z + w.sum(), 1.0), obs=y[:, 0])

    def global_latent(self, x, law, y=None):
        w = pyro.sample("w", law)
        with self.samples(x):
            z = pyro.sample("z", law)
            if y is not None:
                pyro.sample("y", dist.Normal(z + w, 1.0), obs=y[:, 0])

    def inner_plate_of_the_batchs_size(self, x, law, y=None):
        with self.samples(x, dim=-2):
            z = pyro.sample("z", law)
            with pyro.plate("pixels", BATCH, dim=-1):
                u = pyro.sample("u", law)
                if y is not None:
                    pyro.sample("y", dist.Normal(z + u, 1.0), obs=y)

    def inner_plate_on_the_left(self, x, law, y=None):
        with pyro.plate("pixels", BATCH, dim=-2), self.samples(x, dim=-1):
            u = pyro.sample("u", law)
            if y is not None:
                pyro.sample("y", dist.Normal(u, 1.0), obs=y.T)

    def inner_subsample(self, x, law, y=None):
        with self.samples(x, dim=-2):
            z = pyro.sample("z", law)
            with pyro.plate("pixels", BATCH, subsample=torch.tensor([0, 3]), dim=-1) as pixels:
                u = pyro.sample("u", law)
                if y is not None:
                    pyro.sample("y", dist.Normal(z + u, 1.0), obs=y[:, pixels])

    def observations_in_and_out_of_it(self, x, law, y=None):
        with self.samples(x, dim=-2):
            z = pyro.sample("z", law)
            if y is not None:
                pyro.sample("first", dist.Normal(z, 1.0), obs=y[:, :1])
            with pyro.plate("pixels", BATCH, subsample=torch.tensor([0, 3, 4]), dim=-1) as pixels:
                if y is not None:
                    pyro.sample("y", dist.Normal(z, 1.0), obs=y[:, pixels])

    def plates_of_two_names(self, x, law, y=None):
        with self.samples(x, "latents"):
            z = pyro.sample("z", law)
        if y is not None:
            with self.samples(x, "observations"):
                pyro.sample("y", dist.Normal(z, 1.0), obs=y[:, 0])

    def two_observed_plates(self, x, law, y=None):
        with self.samples(x, "left"):
            z = pyro.sample("z", law)
            if y is not None:
                pyro.sample("y1", dist.Normal(z, 1.0), obs=y[:, 0])
        if y is not None:
            with self.samples(x, "right"):
                pyro.sample("y2", dist.Normal(z, 1.0), obs=y[:, 1])

    def loop_over_a_subsample(self, x, law, y=None):
        with self.samples(x):
            z = pyro.sample("z", law)
            for i in pyro.plate("pixels", BATCH, subsample=[1, 4]):
                u = pyro.sample(f"u{i}", law)
                if y is not None:
                    pyro.sample(f"y{i}", dist.Normal(z + u, 1.0), obs=y[:, i])


# How many latents there are of each site in the whole set, of N samples.
LATENTS = {
    "global_plate_of_the_batchs_size": lambda n: {"w": BATCH, "z": n},
    "global_latent": lambda n: {"w": 1, "z": n},
    "inner_plate_of_the_batchs_size": lambda n: {"z": n, "u": n * BATCH},
    "inner_plate_on_the_left": lambda n: {"u": n * BATCH},
    "inner_subsample": lambda n: {"z": n, "u": n * BATCH},
    "observations_in_and_out_of_it": lambda n: {"z": n},
    "plates_of_two_names": lambda n: {"z": n},
    "two_observed_plates": lambda n: {"z": n},
    "loop_over_a_subsample": lambda n: {"z": n, "u1": n * 3, "u4": n * 3},
}
OPTIONS = {"batch_size": BATCH, "epochs": 2, "progress": False}
each_case = pytest.mark.parametrize("case", LATENTS)
each_size = pytest.mark.parametrize("num_data", [SIZE, 10 * SIZE])


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(SIZE, 2, generator=generator), torch.randn(SIZE, BATCH, generator=generator)


def require_parts_of_the_loss(row: dict[str, float], beta: float) -> None:
    rates = [value for name, value in row.items() if name.startswith("rate/")]
    assert row["rate"] == pytest.approx(math.fsum(rates), rel=1e-6)
    assert row["loss"] == pytest.approx(row["distortion"] + beta * row["rate"], rel=1e-5)


@each_case
@each_size
@pytest.mark.parametrize("capture", ["on", "off"])
def test_the_loss_of_a_row_is_distortion_plus_rate(
    case: str, num_data: int, capture: str, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    found = fit(Plates(case, num_data), data, beta=0.3, validation=data, capture=capture, **OPTIONS)
    for row in found.rows:
        require_parts_of_the_loss(row, 0.3)
        held_out = {name: row[f"validation_{name}"] for name in ("loss", "distortion", "rate")}
        assert held_out["loss"] == pytest.approx(held_out["distortion"] + 0.3 * held_out["rate"], rel=1e-5)


@each_case
@each_size
@pytest.mark.parametrize("vectorize", [False, True])
def test_so_it_is_over_particles(
    case: str, num_data: int, vectorize: bool, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    elbo = InformationBottleneckELBO(
        beta=0.3, num_particles=3, vectorize_particles=vectorize, max_plate_nesting=2
    )
    for row in fit(Plates(case, num_data), data, elbo=elbo, **OPTIONS).rows:
        require_parts_of_the_loss(row, 0.3)


@each_case
@each_size
def test_so_it_is_side_by_side(case: str, num_data: int, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    runs = [Run(beta=beta, seed=0) for beta in (0.1, 0.3)]
    found = train_side_by_side(
        lambda: Plates(case, num_data), data, runs, epochs=2, batch_size=BATCH, lr=1e-3
    )
    for _, row in found.history.iterrows():
        require_parts_of_the_loss(dict(row), row["beta"])


@each_case
@each_size
def test_the_rates_of_an_evaluation_are_those_of_all_latents_over_all_samples(
    case: str, num_data: int, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    program = Plates(case, num_data)
    found = evaluate(program, data, batch_size=BATCH, num_samples=2)
    law = dist.Normal(program.loc.detach(), program.width.detach().exp())
    one = torch.distributions.kl_divergence(law, dist.Normal(0.0, 1.0)).item()
    expected = {name: one * count / num_data for name, count in LATENTS[case](num_data).items()}
    assert found.rate == pytest.approx(expected, rel=1e-6)
    # A rate that is not a sample's own has no spread over samples; nor has any where no plate is of all observations.
    without = {name for name in expected if found.intervals[f"rate/{name}"].method == "none"}
    assert without == ({"z"} if case == "two_observed_plates" else expected.keys() & {"w"})


def test_a_global_rate_has_no_spread_over_samples_though_there_are_as_many_of_them(
    data: tuple[torch.Tensor, torch.Tensor],
) -> None:
    found = evaluate(Plates("global_plate_of_the_batchs_size", BATCH), [part[:BATCH] for part in data])
    assert found.intervals["rate/z"].method == "normal"
    assert found.intervals["rate/w"].method == "none"

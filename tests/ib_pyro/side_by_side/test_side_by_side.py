"""Runs side by side: each has the numbers of a plain loop over it alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.schedules import linear_warm_up
from ib_pyro.nn import (
    AdditiveNormal,
    BinaryDropout,
    ConstantDropout,
    GaussianDropout,
    InformationDropout,
)
from ib_pyro.side_by_side import Run, SideBySide, train_side_by_side

LAYERS = {
    "binary": BinaryDropout,
    "constant": ConstantDropout,
    "gaussian": GaussianDropout,
    "information": InformationDropout,
}


def perceptron(
    dropout: str = "information", dtype: torch.dtype = torch.float64, **options: Any
) -> Bottleneck:
    layer = LAYERS[dropout]
    encoder = nn.Sequential(
        layer.linear(6, 5, batch_norm=True, **options), layer.linear(5, 4, batch_norm=True, **options)
    )
    return Bottleneck(encoder, nn.Linear(4, 3)).to(dtype)


def convolution(dtype: torch.dtype = torch.float64) -> Bottleneck:
    first = InformationDropout.conv2d(1, 3, 3, stride=2, padding=1, batch_norm=True)
    second = InformationDropout.conv2d(3, 4, 3, batch_norm=True, activation="softplus", prior="log-normal")
    decoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return Bottleneck(nn.Sequential(first, second), decoder).to(dtype)


def autoencoder(latent: str = "gaussian") -> Bottleneck:
    if latent == "gaussian":
        layer: nn.Module = AdditiveNormal(nn.Linear(6, 3), nn.Linear(6, 3))
    else:
        layer = InformationDropout.linear(6, 3, activation="softplus", prior="log-normal")
    decoder = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 6))
    return Bottleneck(nn.Sequential(layer), decoder, likelihood="bernoulli").double()


def labelled(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return (
        torch.rand(23, *shape, generator=generator, dtype=dtype),
        torch.randint(3, (23,), generator=generator),
    )


def binary_images() -> tuple[Tensor, Tensor]:
    x = (labelled(6)[0] > 0.5).double()
    return x, x


def alone(
    make: Callable[..., nn.Module],
    data: tuple[Tensor, Tensor],
    run: Run,
    *,
    epochs: int = 3,
    batch_size: int = 10,
    order: int | None = None,
    schedule: Callable[..., float] | None = None,
    milestones: tuple[int, ...] = (),
    transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    make_optimizer: Callable[..., torch.optim.Optimizer] | None = None,
    lr: float = 0.05,
    objective: dict[str, Any] | None = None,
) -> nn.Module:
    """Train one run by a plain loop, from the ambient generator."""
    x, y = data
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        program = make(**run.options).train()
        make_optimizer = make_optimizer or partial(torch.optim.SGD, momentum=0.9)
        optimizer = make_optimizer(program.parameters(), lr=run.lr or lr)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), gamma=0.1)
        elbo = InformationBottleneckELBO(beta=run.beta, gamma=run.gamma, **(objective or {}))
        shuffle = torch.Generator().manual_seed(run.seed if order is None else order)
        for epoch in range(epochs):
            parts = torch.randperm(len(x), generator=shuffle).split(batch_size)
            for i, index in enumerate(parts):
                if schedule is not None:
                    elbo.beta = schedule(epoch + i / len(parts), target=run.beta)
                batch = x[index], y[index]
                batch = batch if transform is None else transform(*batch)
                optimizer.zero_grad()
                loss = elbo.differentiable_loss(program.model, program.guide, *batch)
                (loss / len(index)).backward()
                optimizer.step()
            scheduler.step()
    return program.eval()


def together(
    make: Callable[..., nn.Module], data: tuple[Tensor, Tensor], runs: list[Run], **options: Any
) -> SideBySide:
    return train_side_by_side(make, data, runs, **{"epochs": 3, "batch_size": 10, "lr": 0.05, **options})


def require_same(
    found: SideBySide, runs: list[Run], one: Callable[[Run], nn.Module], tolerance: float
) -> None:
    states = []
    for run in runs:
        state, expected = found.programs[run.name].state_dict(), one(run).state_dict()
        states.append(torch.cat([value.flatten().double() for value in expected.values()]))
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=tolerance, atol=tolerance)
    for state in states[1:]:
        assert not torch.allclose(state, states[0], atol=1e-5), "the runs are all the same"


RUNS = [Run(beta=0.0), Run(beta=0.02, seed=1), Run(beta=0.3, seed=2), Run(beta=0.3, seed=3, lr=0.01)]


@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("dropout", LAYERS)
def test_each_run_has_the_numbers_of_its_own_loop(dropout: str, capture: bool) -> None:
    make, data = partial(perceptron, dropout), labelled(6)
    found = together(make, data, RUNS, capture=capture)
    require_same(found, RUNS, partial(alone, make, data), 1e-9)


def test_a_convolutional_network() -> None:
    data = labelled(1, 7, 7)
    require_same(together(convolution, data, RUNS), RUNS, partial(alone, convolution, data), 1e-9)


@pytest.mark.parametrize("latent", ["gaussian", "information"])
def test_an_autoencoder(latent: str) -> None:
    make, data = partial(autoencoder, latent), binary_images()
    require_same(together(make, data, RUNS), RUNS, partial(alone, make, data), 1e-9)


def test_single_precision() -> None:
    make, data = partial(perceptron, dtype=torch.float32), labelled(6, dtype=torch.float32)
    require_same(together(make, data, RUNS), RUNS, partial(alone, make, data), 2e-5)


ADAM = partial(torch.optim.Adam, weight_decay=0.01)
NESTEROV = partial(torch.optim.SGD, momentum=0.8, nesterov=True, weight_decay=0.01)


@pytest.mark.parametrize("runs", [RUNS, RUNS[:3]], ids=["own rates", "one rate"])
@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
def test_optimisers_with_and_without_rates_of_their_own(optimizer: str, runs: list[Run]) -> None:
    data = labelled(6)
    options: dict[str, Any] = {"weight_decay": 0.01, "lr_milestones": (1, 2), "optimizer": "adam"}
    if optimizer == "nesterov":
        options |= {"optimizer": "sgd", "momentum": 0.8, "nesterov": True}
    found = together(perceptron, data, runs, **options)
    one = {"adam": ADAM, "nesterov": NESTEROV}[optimizer]
    require_same(found, runs, partial(alone, perceptron, data, make_optimizer=one, milestones=(1, 2)), 1e-9)


def test_a_warm_up_an_order_for_all_and_a_last_batch() -> None:
    data, schedule = labelled(6), partial(linear_warm_up, warm_up=2)
    options: dict[str, Any] = {"schedule": schedule, "order": 11}
    found = together(perceptron, data, RUNS, **options)
    require_same(found, RUNS, partial(alone, perceptron, data, **options), 1e-9)


def test_a_transform_draws_from_the_runs_own_generator() -> None:
    x, _ = binary_images()
    data = (x * 0.8, x)

    def binarised(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        drawn = torch.bernoulli(x)
        return drawn, drawn

    found = together(autoencoder, data, RUNS, transform=binarised)
    require_same(found, RUNS, partial(alone, autoencoder, data, transform=binarised), 1e-9)


@pytest.mark.parametrize(
    ("dropout", "options"),
    [
        ("binary", [{"drop_prob": p} for p in (0.1, 0.3, 0.6)]),
        ("constant", [{"alpha": alpha} for alpha in (0.2, 0.7, 1.1)]),
        ("information", [{"alpha_max": alpha, "alpha_min": 0.01} for alpha in (0.3, 0.7, 1.0)]),
    ],
    ids=["binary", "constant", "information"],
)
def test_runs_that_differ_in_the_strength_of_their_noise(
    dropout: str, options: list[dict[str, float]]
) -> None:
    make, data = partial(perceptron, dropout), labelled(6)
    runs = [Run(beta=0.1, options=option) for option in options]
    require_same(together(make, data, runs), runs, partial(alone, make, data), 1e-9)


def test_total_correlations_and_weights_of_sites() -> None:
    data = labelled(6)
    runs = [Run(beta={"z1": b, "z2": 0.5}, gamma=g) for b, g in ((0.1, 0.2), (0.4, 0.05))]
    options = {"total_correlation": "minibatch-weighted"}
    found = together(perceptron, data, runs, **options)
    assert {"beta/z1", "total_correlation/z1"} <= set(found.table)
    require_same(found, runs, partial(alone, perceptron, data, objective=options), 1e-9)


def test_a_run_that_diverges_is_named_and_leaves_the_others_alone() -> None:
    data = labelled(6)
    runs = [Run(beta=0.1), Run(beta=0.1, lr=1e200, name="far")]
    with pytest.warns(UserWarning, match="run 'far' has diverged"):
        found = together(perceptron, data, runs)
    assert found.table["diverged_at"].notna().tolist() == [False, True]
    require_same(found, runs[:1], partial(alone, perceptron, data), 1e-9)


def test_the_test_set_is_measured_as_each_program_alone_measures_it() -> None:
    data = labelled(6)
    found = together(perceptron, data, RUNS, test=data)
    for run, row in zip(RUNS, found.table.to_dict("records"), strict=True):
        program = found.programs[run.name]
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(run.seed)
            terms = InformationBottleneckELBO(beta=run.beta).terms(program.model, program.guide, *data)
        wrong = terms.likelihood["y"].logits.argmax(-1) != data[1]
        assert row["test_distortion"] == pytest.approx(float(terms.distortion.mean()))
        assert row["test_rate/z2"] == pytest.approx(float(terms.rate["z2"].mean()))
        assert row["test_rate"] == pytest.approx(float(sum(r.mean() for r in terms.rate.values())))
        assert row["test_error"] == pytest.approx(float(wrong.double().mean()))
        assert row["test_loss"] == pytest.approx(float(terms.loss) / len(data[0]))


def test_the_history_has_the_means_of_each_epoch() -> None:
    found = together(perceptron, labelled(6), RUNS, epochs=2)
    assert len(found.history) == 2 * len(RUNS)
    weighted = found.history["distortion"] + [run.betas["beta"] for run in RUNS] * 2 * found.history["rate"]
    torch.testing.assert_close(
        torch.tensor(weighted.to_numpy()), torch.tensor(found.history["loss"].to_numpy())
    )
    assert found.history["train_error"].between(0, 1).all()


def test_the_ambient_generator_and_the_caller_s_modes_stay() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    together(perceptron, labelled(6), RUNS[:2], epochs=1)
    assert torch.equal(before, torch.get_rng_state())


class Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


class Remembering(nn.Module):
    """Has a random tensor that is no buffer, so that each run's is another."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.rand(6)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.hidden.to(x)


class Drawing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.bernoulli(x.sigmoid())


def with_first(first: Callable[[], nn.Module]) -> Bottleneck:
    encoder = nn.Sequential(first(), InformationDropout.linear(6, 4))
    return Bottleneck(encoder, nn.Linear(4, 3)).double()


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (Deciding, "reads a value"),
        (Remembering, "run 'beta=1.0, seed=1': evaluated beside the others it has another"),
        (Drawing, "depends on its inputs or parameters"),
    ],
    ids=["deciding", "remembering", "drawing"],
)
def test_what_cannot_be_stacked_is_refused(first: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        together(partial(with_first, first), labelled(6), [Run(seed=0), Run(seed=1)])


def test_runs_of_other_shapes_and_of_other_operations_are_refused() -> None:
    def make(width: int = 4, activation: str = "relu") -> Bottleneck:
        return Bottleneck(
            ConstantDropout.linear(6, width, activation=activation), nn.Linear(width, 3)
        ).double()

    with pytest.raises(RuntimeError, match=r"run 'beta=1.0, seed=0, width=5': .*same names, shapes"):
        together(make, labelled(6), [Run(), Run(options={"width": 5})])
    with pytest.raises(RuntimeError, match="run 'b': its program computes other operations than that of run"):
        together(make, labelled(6), [Run(), Run(options={"activation": "softplus"}, name="b")])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "runs is empty"),
        ([Run(), Run()], "more than once"),
        ([Run(beta={"z1": 1.0}), Run()], "weights"),
        ([Run(), Run(gamma=0.1)], "gamma=0"),
    ],
    ids=["none", "twice", "sites", "gamma"],
)
def test_runs_that_do_not_go_together_are_refused(runs: list[Run], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        together(perceptron, labelled(6), runs)

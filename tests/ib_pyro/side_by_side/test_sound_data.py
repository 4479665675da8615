"""A sweep refuses what `fit` and `evaluate` refuse of a set, before the first step, and leaves all else as it was."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from ib_pyro import Bottleneck, choose_beta, fit, sweep
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import Run, evaluate_side_by_side, train_side_by_side
from ib_pyro.side_by_side.measuring import evaluate_alone

SIZE = 20
X = torch.randn(SIZE, 4, generator=torch.Generator().manual_seed(1))
BINARY, COUNTS, LABELS = (X > 0).float(), (3 * X.abs()).round(), (X[:, 0] > 0).long()


def scalar_normal(output: Tensor) -> dist.Normal:
    return dist.Normal(output[:, 0], 1.0)


def build(outputs: int, likelihood: Any) -> Bottleneck:
    return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, outputs), likelihood)


def with_one(values: Tensor, value: float) -> Tensor:
    """Values of which one, in the last batch, is another."""
    values = values.clone()
    values.view(SIZE, -1)[SIZE - 1, 0] = value
    return values


# A program, a sound target, and x and y of which some sample is wrong, with what is said of it.
WRONG: dict[str, tuple[Callable[[], Bottleneck], Tensor, Tensor, Tensor, str]] = {
    "255 of a bernoulli": (partial(build, 4, "bernoulli"), BINARY, X, with_one(BINARY, 255.0), r"255"),
    "a negative count": (partial(build, 4, "poisson"), COUNTS, X, with_one(COUNTS, -4.0), r"-4"),
    "half a count": (partial(build, 4, "poisson"), COUNTS, X, with_one(COUNTS, 2.5), r"2\.5"),
    "a label too many": (
        partial(build, 2, "categorical"),
        LABELS,
        X,
        with_one(LABELS, 2),
        r"(site 'y'|labels y).* 2",
    ),
    "NaN in x": (partial(build, 2, "categorical"), LABELS, with_one(X, torch.nan), LABELS, r"x .*nan"),
    "infinite y": (partial(build, 4, "normal"), BINARY, X, with_one(BINARY, torch.inf), r"y .*inf"),
}
# Of the whole set, so that no batch is right.
SHAPES: dict[str, tuple[Callable[[], Bottleneck], Tensor, Tensor]] = {
    "a column": (partial(build, 1, scalar_normal), X[:, 0], X[:, :1]),
    "a column of labels": (partial(build, 2, "categorical"), LABELS, LABELS[:, None]),
}
options = partial(dict, betas=(0.1, 0.2), epochs=1, batch_size=8)


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("name", ["validation", "test", "data"])
def test_a_sample_that_is_wrong_is_refused_before_the_first_step(
    kind: str, vectorize: bool, name: str
) -> None:
    make, y, wrong_x, wrong_y, message = WRONG[kind]
    sets: dict[str, Any] = {"data": (X, y), name: (wrong_x, wrong_y)}
    built: list[Bottleneck] = []

    def remembered() -> Bottleneck:
        built.append(make())
        return built[-1]

    with pytest.raises(ValueError, match=rf"(?is){message}") as caught:
        sweep(remembered, sets.pop("data"), vectorize=vectorize, **options(**sets))
    assert name == "data" or str(caught.value).startswith(f"{name}: ")
    torch.manual_seed(0)
    fresh = make()
    for program in built:
        assert all(map(torch.equal, program.state_dict().values(), fresh.state_dict().values()))


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("vectorize", [True, False])
def test_a_held_out_target_of_another_shape_is_refused(kind: str, vectorize: bool) -> None:
    make, y, wrong = SHAPES[kind]
    with pytest.raises(ValueError, match=r"validation: site 'y': one target has shape \(1,\)"):
        sweep(make, (X, y), vectorize=vectorize, **options(validation=(X, wrong)))
    with pytest.raises(ValueError, match="another number of features|validation: .*shape"):
        sweep(make, (X, y), vectorize=vectorize, **options(validation=(X[:, :3], y)))


def test_choose_beta_has_no_table_of_a_wrong_set() -> None:
    make, y, _, wrong, _ = WRONG["255 of a bernoulli"]
    with pytest.raises(ValueError, match="255"):
        choose_beta(sweep(make, (X, y), **options(validation=(X, wrong))), knee=True)


@pytest.mark.parametrize("kind", WRONG)
def test_evaluation_refuses_it_by_any_number_of_programs(kind: str) -> None:
    make, y, wrong_x, wrong_y, message = WRONG[kind]
    programs = [make(), make()]
    for measure in (partial(evaluate_side_by_side, programs), partial(evaluate_alone, programs[0])):
        assert measure((X, y), num_samples=1)
        with pytest.raises(ValueError, match=rf"(?is)data: .*{message}"):
            measure((wrong_x, wrong_y), num_samples=1, batch_size=8)


def test_a_program_that_has_diverged_is_not_asked() -> None:
    programs = [build(2, "categorical") for _ in range(3)]
    for program, value in zip(programs, (torch.nan, 1e38), strict=False):
        nn.init.constant_(program.decoder.weight, value)
        nn.init.constant_(program.encoder.features.weight, value)
    rows = evaluate_side_by_side(programs, (X, LABELS), num_samples=1)
    alone = evaluate_alone(programs[2], (X, LABELS), num_samples=1)
    assert rows[2] == pytest.approx(alone)
    # Where none is sound, it is not the set's fault either.
    assert evaluate_side_by_side(programs[:1], (X, LABELS), num_samples=1)[0]["distortion"] != 0.0


def test_a_finished_sweep_that_is_taken_up_checks_what_it_is_measured_on(tmp_path: Any) -> None:
    make, y, _, wrong, _ = WRONG["255 of a bernoulli"]
    runs, how = [Run(beta=0.1)], {"epochs": 1, "batch_size": 8, "checkpoint": tmp_path / "runs.pt"}
    train_side_by_side(make, (X, y), runs, **how)
    with pytest.raises(ValueError, match="255"):
        train_side_by_side(make, (X, y), runs, validation=(X, wrong), **how)


def test_looking_changes_nothing(make: Callable[[], Bottleneck], data: tuple[Tensor, Tensor]) -> None:
    runs, state = [Run(beta=0.1), Run(beta=0.2)], torch.get_rng_state()
    tables = []
    for held_out in ({}, {"validation": data, "test": (data[0][:9], data[1][:9])}):
        found = train_side_by_side(make, data, runs, epochs=2, batch_size=8, **held_out)
        tables.append([{k: v.tolist() for k, v in p.state_dict().items()} for p in found.programs.values()])
    assert torch.equal(torch.get_rng_state(), state)
    assert tables[0] == tables[1]


@pytest.mark.parametrize("off", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("vectorize", ["auto", True, False])
def test_nothing_is_learned_without_gradients_and_nothing_pretends_to(off, vectorize):
    data = torch.rand(20, 4), torch.arange(20) % 2

    def make():
        return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))

    options = {"betas": [0.1], "epochs": 1, "batch_size": 10, "vectorize": vectorize}
    with off():
        with pytest.raises(RuntimeError, match=f"sweep within torch.{off.__name__}.. would learn nothing"):
            sweep(make, data, **options)
        with pytest.raises(RuntimeError, match=f"fit within torch.{off.__name__}"):
            fit(make(), data, epochs=1, progress=False)
        with pytest.raises(RuntimeError, match=f"train_side_by_side within torch.{off.__name__}"):
            train_side_by_side(make, data, [Run(beta=0.1, seed=0)], epochs=1)
    with torch.no_grad(), torch.enable_grad():
        assert len(sweep(make, data, **options)) == 1

"""A fit learns, tells what it did, and goes on after a break as if there had been none."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import InformationDropout
from ib_pyro.training import FitResult, evaluate, fit
from ib_pyro.training.checkpoint import load_checkpoint
from ib_pyro.training.optimizers import build_optimizer

Build = Callable[..., Bottleneck]


def run(
    program: Bottleneck, data: SimpleNamespace, *, epochs: int = 4, optimizer: str = "sgd", **options: Any
) -> FitResult:
    torch.manual_seed(11)
    optimiser = build_optimizer(optimizer, program.parameters(), lr=0.02)
    return fit(
        program,
        data,
        epochs=epochs,
        batch_size=32,
        elbo=InformationBottleneckELBO(beta=0.01),
        optimizer=optimiser,
        scheduler=MultiStepLR(optimiser, [2], gamma=0.1),
        order=torch.Generator().manual_seed(7),
        fabric=Fabric(accelerator="cpu", devices=1),
        progress=False,
        **options,
    )


def without_seconds(result: FitResult) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in result.rows]


def test_users_own_program_and_data(stripes: SimpleNamespace) -> None:
    layers = OrderedDict(flat=nn.Flatten(), code=InformationDropout.linear(16, 6))
    program = Bottleneck(nn.Sequential(layers), nn.Linear(6, 3))
    result = fit(program, stripes, epochs=30, batch_size=30, progress=False)
    assert not program.training
    assert result.epochs == 30
    assert result.rows[-1]["loss"] < 0.5 * result.rows[0]["loss"]
    assert "rate/code" in result.rows[0]
    assert result.rows[0]["beta_paper"] == pytest.approx(1.0)
    assert evaluate(program, stripes).error_deterministic < 0.1


def test_rows_say_what_was_done(stripes: SimpleNamespace, build: Build) -> None:
    result = run(build(), stripes, validation=stripes)
    columns = [
        "epoch",
        "loss",
        "distortion",
        "rate",
        "rate/z1",
        "rate/z2",
        "rate/z3",
        "train_error",
        "seconds",
    ]
    validation = [f"validation_{name}" for name in ("loss", "distortion", "rate", "error")]
    assert list(result.rows[0]) == [*columns, "beta", "beta_paper", "lr", *validation]
    assert [row["epoch"] for row in result.rows] == [1, 2, 3, 4]
    assert [row["lr"] for row in result.rows] == pytest.approx([0.02, 0.02, 0.002, 0.002])
    for row in result.rows:
        assert row["loss"] == pytest.approx(row["distortion"] + 0.01 * row["rate"], rel=1e-5)
        assert row["beta_paper"] == pytest.approx(0.01 * 90)
    assert result.seconds == pytest.approx(sum(row["seconds"] for row in result.rows))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("every", [1, 2])
def test_resumed_fit_equals_uninterrupted_bit_by_bit(
    stripes: SimpleNamespace, build: Build, tmp_path: Path, optimizer: str, every: int
) -> None:
    whole = build(dropout="binary")
    expected = run(whole, stripes, epochs=5, optimizer=optimizer, validation=stripes)
    options = {"out": tmp_path / "state.pt", "checkpoint_every": every, "validation": stripes}

    def stop(history: list[dict[str, Any]]) -> None:
        if len(history) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(build(dropout="binary"), stripes, epochs=5, optimizer=optimizer, on_epoch=stop, **options)
    # Also between two checkpoints, what was finished is kept.
    assert len(load_checkpoint(tmp_path / "state.pt")["history"]) == 3
    program = build(dropout="binary")
    torch.rand(100)
    resumed = run(program, stripes, epochs=5, optimizer=optimizer, resume=True, **options)
    assert without_seconds(resumed) == without_seconds(expected)
    for name, value in program.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name


def test_validation_and_checkpoints_do_not_change_the_fit(
    stripes: SimpleNamespace, build: Build, tmp_path: Path
) -> None:
    plain, watched = build(), build()
    run(plain, stripes)
    run(watched, stripes, validation=stripes, out=tmp_path / "state.pt")
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_loss_that_is_not_finite_keeps_the_last_checkpoint(
    stripes: SimpleNamespace, build: Build, tmp_path: Path
) -> None:
    program = build()

    def spoil(history: list[dict[str, Any]]) -> None:
        if len(history) == 2:
            program.encoder.z2.noise.bias.data.fill_(float("nan"))

    path = tmp_path / "state.pt"
    with pytest.raises((FloatingPointError, ValueError), match="'z2'"):
        run(program, stripes, out=path, on_epoch=spoil)
    content = load_checkpoint(path)
    assert len(content["history"]) == 2
    assert all(value.isfinite().all() for value in content["program"].values())


def test_loss_that_overflows_names_epoch_and_values(stripes: SimpleNamespace, build: Build) -> None:
    program = build(batch_norm=False)
    with pytest.raises(FloatingPointError, match=r"epoch 1: .*not finite.*learning rate"):
        fit(
            program,
            stripes,
            epochs=3,
            batch_size=15,
            optimizer=build_optimizer("sgd", program.parameters(), lr=1e30),
            progress=False,
        )


def test_parameters_that_are_not_finite_are_not_saved(build: Build, tmp_path: Path) -> None:
    from ib_pyro.training.checkpoint import Checkpoint

    program = build()
    state = Checkpoint(
        tmp_path / "state.pt",
        program,
        build_optimizer("sgd", program.parameters(), lr=1.0),
        torch.Generator(),
    )
    program.decoder.bias.data[0] = float("inf")
    with pytest.raises(FloatingPointError, match="'decoder.bias' is not finite after epoch 1"):
        state.save([{"epoch": 1}])
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_is_not_overwritten_unasked(
    stripes: SimpleNamespace, build: Build, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    run(build(), stripes, epochs=2, out=path)
    with pytest.raises(ValueError, match="pass resume=True"):
        run(build(), stripes, epochs=2, out=path)
    with pytest.raises(ValueError, match="at epoch 2, beyond epochs=1"):
        run(build(), stripes, epochs=1, out=path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": torch.zeros(0, 1, 4, 4), "y": torch.zeros(0, dtype=torch.int64)},
            "data: its parts have 0, 0 samples",
        ),
        ({"y": torch.zeros(3, dtype=torch.int64)}, "data: its parts have 90, 3 samples"),
        ({"y": torch.full((90,), 3)}, "labels y go from 3 to 3; the program has the classes 0 to 2"),
        ({"x": torch.zeros(90, 1, 5, 5)}, r"images have shape \(1, 5, 5\)"),
        (
            {"x": torch.zeros(33, 1, 4, 4), "y": torch.zeros(33, dtype=torch.int64)},
            "a batch of a single sample",
        ),
    ],
)
def test_set_that_does_not_fit_the_program(
    stripes: SimpleNamespace, build: Build, change: dict[str, torch.Tensor], message: str
) -> None:
    data = SimpleNamespace(**{"x": stripes.x, "y": stripes.y, **change})
    with pytest.raises(ValueError, match=message):
        run(build(), data)


def test_binary_targets_out_of_range_are_found_before_the_fit() -> None:
    """They may be in a batch that no check of Pyro's sees."""
    program = Bottleneck(InformationDropout.linear(8, 4), nn.Linear(4, 3), "bernoulli")
    y = torch.ones(300, 3)
    y[5] = 7.0
    # Which check finds them first depends on the order that the first batch is drawn in.
    with pytest.raises(
        ValueError, match="site 'y': (binary y is 0 or 1, but y has values from 1 to 7|3 of 900)"
    ):
        fit(program, SimpleNamespace(x=torch.rand(300, 8), y=y), epochs=1, batch_size=50, progress=False)


def test_weights_for_each_site_have_columns_of_their_own(stripes: SimpleNamespace, build: Build) -> None:
    elbo = InformationBottleneckELBO(beta={"z1": 0.1, "z2": torch.tensor(0.2)})
    row = fit(build(), stripes, epochs=1, batch_size=30, elbo=elbo, progress=False).rows[0]
    assert row["beta/z1"] == pytest.approx(0.1)
    assert row["beta_paper/z2"] == pytest.approx(0.2 * 90)
    assert "beta" not in row


def test_validation_switch_is_restored(stripes: SimpleNamespace, build: Build) -> None:
    import pyro

    before = pyro.settings.get()
    fit(build(), stripes, epochs=1, batch_size=30, progress=False)
    assert pyro.settings.get() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 1.5}, "epochs must be a whole number, at least 1; got 1.5"),
        ({"epochs": "3"}, "epochs must be a whole number"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"patience": 0.5, "validation": "itself"}, "patience must be a whole number"),
        ({"warm_up": float("nan")}, "warm_up must be a finite number of epochs"),
        ({"lr": float("nan")}, "lr must be a finite number, at least 0; got nan"),
        ({"lr": -0.1}, "lr must be a finite number"),
        ({"lr": "fast"}, "lr must be a finite number"),
        (
            {"schedules": {"lr": lambda _: 0.1}},
            r"schedules\['lr'\]: InformationBottleneckELBO has no lr to move",
        ),
        ({"schedules": {"beta": 0.1}}, r"schedules\['beta'\] is 0.1; pass a function"),
    ],
    ids=["half", "text", "batch", "patience", "warm-up", "NaN rate", "rate below 0", "word", "lr", "number"],
)
def test_options_that_are_none(
    options: dict[str, Any], message: str, build: Build, stripes: SimpleNamespace
) -> None:
    if options.get("validation"):
        options = {**options, "validation": stripes}
    with pytest.raises((TypeError, ValueError), match=message):
        fit(build(), stripes, **{"epochs": 1, "progress": False, **options})


def test_a_set_of_other_arguments_than_the_programs_is_refused(
    build: Build, stripes: SimpleNamespace
) -> None:
    for data in ((stripes.x, stripes.y, stripes.y), {"x": stripes.x, "z": stripes.y}):
        with pytest.raises(TypeError, match="data: a batch has .*, which the model does not take"):
            fit(build(), data, epochs=1, progress=False)

"""A fit that goes on returns the program of the epoch that it names as kept, or is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from ib_pyro.training import FitResult, fit
from ib_pyro.training.checkpoint import load_checkpoint, restore_program

GENERATOR = torch.Generator().manual_seed(1)
X = torch.randn(60, 4, generator=GENERATOR)
Y = (X[:, 0] > 0).long()
# Of others, with wrong labels: their loss falls, and rises as the program fits.
HELD_OUT = X[:20], torch.where(torch.arange(20) < 8, 1 - Y[:20], Y[:20])
EPOCHS = 6


def build(seed: int = 0) -> Bottleneck:
    torch.manual_seed(seed)
    return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))


def go(out: Path | None, epochs: int, seed: int = 0, **options: Any) -> tuple[Bottleneck, FitResult]:
    program = build(seed)
    order = torch.Generator().manual_seed(seed)
    how = {"validation": HELD_OUT, "beta": 0.1, "lr": 0.2, "order": order, "progress": False, **options}
    return program, fit(
        program, (X, Y), epochs=epochs, out=out, resume=out is not None and epochs > EPOCHS, **how
    )


def held_out(program: nn.Module) -> tuple[float, float]:
    found = fit(
        program, (X, Y), epochs=1, beta=0.1, lr=0.0, optimizer="sgd", validation=HELD_OUT, progress=False
    )
    return found.rows[0]["validation_loss"], found.rows[0]["validation_error"]


def require_kept(program: nn.Module, found: FitResult) -> None:
    row = found.rows[found.kept_epoch - 1]
    loss, error = held_out(program)
    assert loss == pytest.approx(row["validation_loss"], rel=1e-5), found.kept_epoch
    assert error == pytest.approx(row["validation_error"])


def seeds_by_best(*, apart: bool, last: bool = False) -> int:
    """A seed of a fit whose best epochs by loss and error differ or not, before the last epoch or there."""
    for seed in range(200):
        _, found = go(None, EPOCHS, seed)
        columns = [[row[f"validation_{name}"] for row in found.rows] for name in ("loss", "error")]
        loss, error = (column.index(min(column)) + 1 for column in columns)
        if (loss != error) == apart and (error == EPOCHS) == last and loss < EPOCHS:
            return seed
    raise AssertionError


def test_another_monitor_is_refused_where_its_best_epoch_was_not_kept(tmp_path: Path) -> None:
    seed = seeds_by_best(apart=True)
    go(tmp_path, EPOCHS, seed, patience=50, monitor="loss")
    with pytest.raises(
        ValueError,
        match=r"best by monitor='error', and the program of that epoch was not kept \(that of epoch . by .*'loss' was",
    ):
        go(tmp_path, EPOCHS + 1, seed, patience=50, monitor="error")
    require_kept(*go(tmp_path, EPOCHS + 1, seed, patience=50, monitor="loss"))


@pytest.mark.parametrize("last", [False, True])
def test_another_monitor_goes_on_where_its_best_epoch_is_there(last: bool, tmp_path: Path) -> None:
    seed = seeds_by_best(apart=last, last=last)
    go(tmp_path, EPOCHS, seed, patience=50, monitor="loss")
    program, found = go(tmp_path, EPOCHS + 1, seed, patience=50, monitor="error")
    assert found.best_epoch == found.kept_epoch
    require_kept(program, found)


def test_patience_that_comes_later_knows_what_was_not_kept(tmp_path: Path) -> None:
    seed = seeds_by_best(apart=False)
    go(tmp_path, EPOCHS, seed)
    with pytest.raises(
        ValueError, match=r"was not kept \(there was no patience=\); go on with patience= and"
    ):
        go(tmp_path, EPOCHS + 1, seed, patience=2)
    program, found = go(tmp_path, EPOCHS + 1, seed)
    assert found.kept_epoch == EPOCHS + 1
    require_kept(program, found)


def test_without_patience_the_last_epoch_is_kept_whatever_was_before(tmp_path: Path) -> None:
    seed = seeds_by_best(apart=False)
    go(tmp_path, EPOCHS, seed, patience=50)
    program, found = go(tmp_path, EPOCHS + 1, seed)
    assert found.kept_epoch == EPOCHS + 1
    require_kept(program, found)
    program = build()
    restore_program(tmp_path / "checkpoint.pt", program)
    require_kept(program, found)


def test_another_patience_stops_at_the_epoch_that_is_kept(tmp_path: Path) -> None:
    seed = seeds_by_best(apart=False)
    go(tmp_path, EPOCHS, seed, patience=50)
    program, found = go(tmp_path, EPOCHS + 30, seed, patience=EPOCHS)
    assert found.kept_epoch == found.best_epoch < len(found.rows) < EPOCHS + 30
    require_kept(program, found)


class Items(Dataset[tuple[torch.Tensor, ...]]):
    """Not in memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: int) -> tuple[torch.Tensor, ...]:
        return X[place], Y[place]


@pytest.mark.parametrize("patience", [None, 50])
def test_other_held_out_data_are_refused(patience: int | None, tmp_path: Path) -> None:
    go(tmp_path / "a", EPOCHS, patience=patience)
    for other in ((X[20:40], Y[20:40]), (HELD_OUT[0], Y[:20])):
        with pytest.raises(ValueError, match="is of a fit with validation=.*, and this one has validation="):
            go(tmp_path / "a", EPOCHS + 1, patience=patience, validation=other)
    # Nor after a fit that did not look at any.
    go(tmp_path / "a", EPOCHS + 1, validation=None)
    with pytest.raises(ValueError, match="is of a fit with validation="):
        go(tmp_path / "a", EPOCHS + 2, validation=(X[20:40], Y[20:40]))
    go(tmp_path / "b", EPOCHS, patience=patience, validation=Items(20))
    with pytest.raises(
        ValueError, match="with validation_samples=20, and this one has validation_samples=21"
    ):
        go(tmp_path / "b", EPOCHS + 1, patience=patience, validation=Items(21))


def test_a_checkpoint_of_before_the_best_epoch_was_named_is_taken(tmp_path: Path) -> None:
    seed = seeds_by_best(apart=False)
    go(tmp_path, EPOCHS, seed, patience=50)
    content = load_checkpoint(tmp_path / "checkpoint.pt")
    for name in ("best_epoch", "monitor"):
        del content[name]
    for name in ("validation", "validation_samples"):
        del content["settings"][name]
    torch.save(content, tmp_path / "checkpoint.pt")
    require_kept(*go(tmp_path, EPOCHS + 1, seed, patience=50))

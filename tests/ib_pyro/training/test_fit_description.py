"""A fit goes on from a checkpoint only if it is made of what that was made of."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR, StepLR

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from ib_pyro.training import fit
from ib_pyro.training.checkpoint import load_checkpoint

Change = dict[str, Any]


class Counts(nn.Module):
    """Plain attributes: one that it never changes, and one that counts its calls."""

    def __init__(self, scale: float = 1.0, device: str = "cpu") -> None:
        super().__init__()
        self.scale, self.device, self.calls = scale, device, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.scale * x


def build(*, scale: float = 1.0, device: str = "cpu", **options: Any) -> Bottleneck:
    torch.manual_seed(3)
    layer = InformationDropout.linear(6, 5, **options)
    return Bottleneck(nn.Sequential(Counts(scale, device), layer), nn.Linear(5, 2))


def data(seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x, (x[:, 0] > 0.5).to(torch.int64)


def go(out: Path, epochs: int, program: Bottleneck | None = None, **changes: Any) -> Any:
    options: Change = {
        "beta": 0.1,
        "batch_size": 20,
        "progress": False,
        "capture": "off",
        "data": data(),
        **changes,
    }
    made = {
        name: options.pop(name) for name in ("scale", "device", "alpha_max", "activation") if name in options
    }
    program = program or build(**made)
    torch.manual_seed(5)
    order = torch.Generator().manual_seed(2)
    return fit(program, options.pop("data"), epochs=epochs, out=out, order=order, **options)


def losses(found: Any) -> list[float]:
    return [row["loss"] for row in found.rows]


adam = partial(torch.optim.Adam, lr=0.01)
drops = partial(MultiStepLR, milestones=[1, 3], gamma=0.1)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, {"alpha_max": 0.5}, r"encoder\.1\.alpha_max is 0\.7 there and 0\.5 here"),
        ({}, {"scale": 2.0}, r"encoder\.0\.scale is 1\.0 there and 2\.0 here"),
        ({"lr": 0.01}, {"lr": 0.1}, r"the optimizer\.lr is 0\.01 there and 0\.1 here"),
        ({}, {"lr": 0.1}, r"the optimizer\.lr is 0\.003 there and 0\.1 here"),
        (
            {"optimizer": "sgd"},
            {"optimizer": partial(torch.optim.SGD, lr=0.07)},
            r"momentum is 0\.9 there and 0 here",
        ),
        (
            {"optimizer": adam},
            {"optimizer": partial(adam, betas=(0.5, 0.9))},
            r"betas is '\[0\.9, 0\.999\]' there",
        ),
        ({}, {"scheduler": drops}, "the schedule is here alone"),
        ({"scheduler": drops}, {}, "the schedule is there alone|initial_lr"),
        (
            {"scheduler": drops},
            {"scheduler": partial(drops, milestones=[1, 4])},
            r"the schedule\.milestones is ",
        ),
        (
            {"scheduler": drops},
            {"scheduler": partial(StepLR, step_size=1)},
            "the schedule is a MultiStepLR there",
        ),
        ({"warm_up": 1}, {}, r"is of a fit with warm_up=1\.0, and this one has warm_up=0\.0"),
        ({}, {"data": data(7)}, "is of a fit with data=.*, and this one has data="),
    ],
)
def test_what_has_changed_is_named(before: Change, after: Change, message: str, tmp_path: Path) -> None:
    """Each would have gone on half as before and half as now, and with the old learning rate."""
    go(tmp_path, 2, **before)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match=message):
        go(tmp_path, 4, resume=True, **after)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": adam, "scheduler": drops}, {"warm_up": 1}, {"data": data(dtype=torch.bfloat16)}],
    ids=["plain", "schedule", "warm-up", "bfloat16"],
)
def test_what_is_the_same_goes_on_as_if_uninterrupted(options: Change, tmp_path: Path) -> None:
    expected = losses(go(tmp_path / "whole", 5, **options))
    for epochs in (2, 3, 5):
        found = go(tmp_path / "parts", epochs, resume=True, **options)
    assert losses(found) == expected


def test_the_same_objects_go_on_too(tmp_path: Path) -> None:
    """Their counts and learning rates are those of the end, and of no beginning."""
    expected = losses(go(tmp_path / "whole", 4, optimizer=adam, scheduler=drops))
    program = build()
    optimizer = adam(program.parameters())
    how: Change = {"optimizer": optimizer, "scheduler": drops(optimizer), "resume": True}
    go(tmp_path / "parts", 2, program, **how)
    assert program.encoder[0].calls > 0
    assert losses(go(tmp_path / "parts", 4, program, **how)) == expected
    # From a fresh beginning again, though it was gone on with by others.
    assert losses(go(tmp_path / "parts", 4, optimizer=adam, scheduler=drops, resume=True)) == expected


def test_where_and_how_it_is_computed_may_change(tmp_path: Path) -> None:
    go(tmp_path, 2, optimizer=partial(adam, foreach=True))
    found = go(tmp_path, 3, optimizer=partial(adam, foreach=False), device="cuda:1", resume=True)
    assert len(found.rows) == 3


def test_an_order_is_a_generator() -> None:
    with pytest.raises(TypeError, match=r"order is a generator .*; got a int: pass torch\.Generator"):
        fit(build(), data(), epochs=1, beta=0.1, order=3, progress=False)  # type: ignore[arg-type]


def test_a_checkpoint_of_before_there_were_descriptions_is_taken(tmp_path: Path) -> None:
    go(tmp_path, 2)
    content = load_checkpoint(tmp_path / "checkpoint.pt")
    for name in ("description", "described_last"):
        del content[name]
    torch.save(content, tmp_path / "checkpoint.pt")
    assert len(go(tmp_path, 3, resume=True).rows) == 3

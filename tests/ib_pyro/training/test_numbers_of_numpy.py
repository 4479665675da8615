"""What NumPy's numbers go into can be gone on with, or is refused when it is written."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, StepLR

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import Run, train_side_by_side
from ib_pyro.training import fit
from ib_pyro.training.checkpoint import load_checkpoint

Options = dict[str, Any]
X = torch.rand(20, 4, generator=torch.Generator().manual_seed(1))
DATA = X, (X[:, 0] > 0.5).long()


def build() -> Bottleneck:
    torch.manual_seed(3)
    return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))


def go(epochs: int, **options: Any) -> list[float]:
    program = build()
    if "groups" in options:
        options["optimizer"] = torch.optim.Adam(options.pop("groups")(program))
    torch.manual_seed(5)
    how: Options = {"beta": 0.1, "batch_size": 10, "progress": False, "capture": "off", **options}
    order = torch.Generator().manual_seed(2)
    return [row["loss"] for row in fit(program, DATA, epochs=epochs, order=order, **how).rows]


def groups(program: Bottleneck) -> list[Options]:
    rate = np.float32(1e-3)
    return [
        {"params": list(program.encoder.parameters()), "lr": rate, "betas": (np.float64(0.8), 0.9)},
        {"params": list(program.decoder.parameters())},
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"lr": np.float64(1e-3)},
        {"lr": np.float32(1e-3), "optimizer": "sgd"},
        {"beta": np.float64(0.1)},
        {"beta": {"z1": np.float32(0.1)}},
        {"optimizer": partial(torch.optim.AdamW, lr=np.float64(1e-3))},
        {"groups": groups},
        {"scheduler": lambda optimizer: LambdaLR(optimizer, lambda epoch: np.exp(-0.1 * epoch))},
        {"scheduler": partial(StepLR, step_size=1, gamma=np.float64(0.5))},
        {"schedules": {"beta": lambda epoch: np.float64(0.1) * min(1.0, 2 * epoch)}},
    ],
    ids=["lr", "float32", "beta", "betas", "function", "groups", "lambda", "steps", "schedule"],
)
def test_a_fit_with_numbers_of_numpy_goes_on_as_if_uninterrupted(options: Options, tmp_path: Path) -> None:
    expected = go(3, **options)
    go(1, out=tmp_path, **options)
    load_checkpoint(tmp_path / "checkpoint.pt")
    assert go(3, out=tmp_path, resume=True, **options) == expected


def test_a_number_is_the_same_whoever_made_it(tmp_path: Path) -> None:
    go(1, out=tmp_path, lr=np.float64(1e-3), beta=np.float64(0.1))
    assert len(go(2, out=tmp_path, lr=1e-3, beta=0.1, resume=True)) == 2


class Keeps:
    """Has a state that cannot be read back."""

    def state_dict(self) -> Options:
        return {"seen": [1, np.arange(3)]}

    def load_state_dict(self, state: Options) -> None:
        raise AssertionError(state)


@pytest.mark.parametrize("every", [1, 9])
def test_a_state_that_is_not_read_back_is_refused_by_name_after_the_first_epoch(
    every: int, tmp_path: Path
) -> None:
    finished = []
    with pytest.raises(
        TypeError, match=r"its \['also'\]\['mine'\]\['seen'\]\[1\] is a ndarray, which is not"
    ):
        go(
            3,
            out=tmp_path,
            also={"mine": Keeps()},
            checkpoint_every=every,
            transform=lambda x, y: finished.append(1) or (x, y),
        )
    assert len(finished) <= 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"lr": np.float64(0.01)},
        {"optimizer": partial(torch.optim.Adam, lr=np.float64(0.01))},
        {"lr_schedule": lambda epoch: np.float64(0.5) ** epoch},
    ],
    ids=["lr", "function", "schedule"],
)
def test_runs_side_by_side_go_on_too(options: Options, tmp_path: Path) -> None:
    train = partial(train_side_by_side, lambda: build(), DATA, [Run(beta=0.1), Run(beta=0.2)], **options)
    whole = train(epochs=2)
    train(epochs=1, checkpoint=tmp_path / "runs.pt")
    assert train(epochs=2, checkpoint=tmp_path / "runs.pt").history.equals(whole.history)

"""Where a fit keeps its checkpoint: a folder that is there is one, whatever its name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from ib_pyro.training import fit
from ib_pyro.training.checkpoint import checkpoint_path


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("new", "new/checkpoint.pt"),
        ("new.pt", "new.pt"),
        ("beta0.1/", "beta0.1/checkpoint.pt"),
        ("there", "there/checkpoint.pt"),
        ("there0.1", "there0.1/checkpoint.pt"),
        ("file", "file"),
    ],
)
def test_a_folder_is_known_by_itself_or_its_name(out: str, expected: str, tmp_path: Path) -> None:
    for name in ("there", "there0.1"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert checkpoint_path(f"{tmp_path}/{out}") == tmp_path / expected


def test_a_fit_goes_on_in_a_folder_with_a_dot_in_its_name(tmp_path: Path) -> None:
    out = tmp_path / "beta0.1"
    out.mkdir()
    data = torch.rand(20, 4), torch.arange(20) % 2
    for epochs in (1, 2):
        program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
        found = fit(program, data, epochs=epochs, beta=0.1, out=out, resume=epochs > 1, progress=False)
    assert len(found.rows) == 2
    assert [path.name for path in out.iterdir()] == ["checkpoint.pt"]

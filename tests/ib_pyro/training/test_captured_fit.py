"""A fit whose steps are replayed ends in the numbers of one whose steps are not, bit by bit; or it says why not."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric import Fabric

from ib_pyro import Bottleneck
from ib_pyro.capture import CaptureError
from ib_pyro.elbo import GaussianTotalCorrelation, InformationBottleneckELBO
from ib_pyro.training import FitResult, fit
from models.all_cnn import AllCNN32
from models.mlp import MLP
from models.vae import VAE


def images(side: int, channels: int = 1) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(30, channels, side, side, generator=generator)
    return SimpleNamespace(x=x, y=torch.arange(30) % 10)


def mlp() -> tuple[Bottleneck, SimpleNamespace]:
    return MLP(hidden=8), images(28)


def vae() -> tuple[Bottleneck, SimpleNamespace]:
    x = images(28).x.round()
    return VAE(k=1), SimpleNamespace(x=x, y=x)


def all_cnn() -> tuple[Bottleneck, SimpleNamespace]:
    return AllCNN32(fraction=0.05), images(32, 3)


def fitted(build, capture: str, **options) -> tuple[Bottleneck, FitResult]:
    torch.manual_seed(0)
    program, data = build()
    options = {"epochs": 3, "batch_size": 12, "elbo": InformationBottleneckELBO(beta=0.01)} | options
    result = fit(
        program,
        data,
        fabric=Fabric(accelerator="cpu", devices=1),
        order=torch.Generator().manual_seed(1),
        progress=False,
        capture=capture,
        **options,
    )
    return program, result


def numbers(result: FitResult) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in result.rows]


@pytest.mark.parametrize("build", [mlp, vae, all_cnn], ids=["mlp", "vae", "all-cnn"])
def test_the_parameters_are_the_same_to_the_last_bit(build) -> None:
    (one, on), (other, off) = fitted(build, "on"), fitted(build, "off")
    assert on.not_captured is None
    assert numbers(on) == numbers(off)
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("ways", [("on", "off"), ("off", "on")], ids="-".join)
def test_a_resumed_fit_may_be_captured_or_not(tmp_path: Path, ways: tuple[str, str]) -> None:
    whole, _ = fitted(mlp, "off", epochs=4)
    path = tmp_path / "checkpoint.pt"
    fitted(mlp, ways[0], epochs=2, out=path)
    resumed, _ = fitted(mlp, ways[1], epochs=4, out=path, resume=True)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_schedule_of_beta_is_replayed_too() -> None:
    schedules = {"beta": lambda epoch: 0.01 * min(1.0, epoch / 2)}
    (_, on), (_, off) = (fitted(mlp, way, schedules=schedules) for way in ("on", "off"))
    for row, other in zip(numbers(on), numbers(off), strict=True):
        assert row == pytest.approx(other, rel=1e-6)


def test_auto_does_not_record_for_a_few_steps() -> None:
    _, result = fitted(mlp, "auto")
    assert result.not_captured is not None
    assert "9 steps are too few" in result.not_captured


def test_what_cannot_be_replayed_is_fitted_all_the_same_and_said() -> None:
    elbo = InformationBottleneckELBO(
        beta=0.01, gamma={"z1": 0.1}, total_correlation=GaussianTotalCorrelation(shrinkage=0.1)
    )
    _, result = fitted(mlp, "auto", elbo=elbo, epochs=400)
    assert result.not_captured is not None
    assert "reads a value" in result.not_captured
    with pytest.raises(CaptureError, match=r"reads a value.*capture='off'"):
        fitted(mlp, "on", elbo=elbo)


def test_automatic_casting_is_refused() -> None:
    program, data = mlp()
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    with pytest.raises(CaptureError, match="bf16-mixed casts"):
        fit(program, data, epochs=1, fabric=fabric, progress=False, capture="on")


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="'sometimes' is unknown"):
        fitted(mlp, "sometimes")

"""A fit that is interrupted and resumed ends in the bits of one that was not, whatever learns or counts in it."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.elbo import CriticTotalCorrelation
from ib_pyro.information import DensityRatioCritic, critic_step
from ib_pyro.nn import InformationDropout
from ib_pyro.training import fit
from ib_pyro.training.checkpoint import load_checkpoint

WHOLE, HALF = 6, 3
Make = Callable[..., Any]


def data(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(70, 6, generator=generator).to(dtype)
    return x, (x[:, 0] > 0.5).to(torch.int64)


def build(dtype: torch.dtype = torch.float32, *, batch_norm: bool = True) -> Bottleneck:
    torch.manual_seed(3)
    layer = InformationDropout.linear(6, 5, activation="softplus", prior="log-normal", batch_norm=batch_norm)
    return Bottleneck(layer, nn.Linear(5, 2)).to(dtype)


def ended(
    program: Bottleneck, *, stop: int | None = None, dtype: torch.dtype = torch.float32, **options: Any
) -> Any:
    """Fit, or go on; leave after some epochs as one who presses a key."""
    torch.manual_seed(5)
    stopped = options.pop("on_epoch", None)

    def watch(history: list[dict[str, Any]]) -> None:
        if stopped is not None:
            stopped(history)
        if len(history) == stop:
            raise KeyboardInterrupt

    options = {"fabric": None, "beta": 0.01, "order": torch.Generator().manual_seed(2), **options}
    if options.get("elbo") is not None:
        options.pop("beta")
    return fit(program, data(dtype), epochs=WHOLE, batch_size=16, progress=False, on_epoch=watch, **options)


def rows(found: Any) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0} for row in found.rows]


def require_same(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


OPTIMIZERS: dict[str, Any] = {
    "sgd": "sgd",
    "adam": "adam",
    "AdamW": partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "NAdam": partial(torch.optim.NAdam, lr=0.01),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.01, centered=True, momentum=0.5),
    "Adagrad": partial(torch.optim.Adagrad, lr=0.01),
    "Rprop": partial(torch.optim.Rprop, lr=0.01),
    "ASGD": partial(torch.optim.ASGD, lr=0.01),
}
SCHEDULERS: dict[str, Any] = {
    "none": None,
    "steps": partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[2, 4]),
    "cosine": partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=WHOLE),
}


@pytest.mark.parametrize("every", [1, WHOLE])
@pytest.mark.parametrize(
    ("optimizer", "scheduler", "dtype"),
    [
        *((name, "steps", torch.float32) for name in OPTIMIZERS),
        ("adam", "cosine", torch.float64),
        ("adam", "none", torch.bfloat16),
        ("sgd", "cosine", torch.bfloat16),
        ("AdamW", "none", torch.float64),
    ],
    ids=str,
)
def test_three_and_three_epochs_are_six(
    tmp_path: Path, optimizer: str, scheduler: str, dtype: torch.dtype, every: int
) -> None:
    options = {"optimizer": OPTIMIZERS[optimizer], "scheduler": SCHEDULERS[scheduler], "dtype": dtype}
    kept = {"out": tmp_path / "state.pt", "checkpoint_every": every}
    whole, half, again = build(dtype), build(dtype), build(dtype)
    expected = ended(whole, **options)
    with pytest.raises(KeyboardInterrupt):
        ended(half, stop=HALF, **options, **kept)
    assert len(load_checkpoint(tmp_path / "state.pt")["history"]) == HALF
    found = ended(again, resume=True, **options, **kept)
    assert rows(found) == rows(expected)
    require_same(whole, again)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_precision_that_casts_or_scales_is_kept(tmp_path: Path, precision: str) -> None:
    def devices() -> Fabric:
        # As on a GPU: the loss is scaled, and how much depends on the steps so far.
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=4)
        plugin = MixedPrecision(precision, "cpu", scaler if precision == "16-mixed" else None)
        return Fabric(accelerator="cpu", devices=1, plugins=[plugin])

    kept = {"out": tmp_path / "state.pt"}
    whole, half, again = build(), build(), build()
    expected = ended(whole, fabric=devices())
    with pytest.raises(KeyboardInterrupt):
        ended(half, stop=HALF, fabric=devices(), **kept)
    state = load_checkpoint(tmp_path / "state.pt")["also"]
    if precision == "16-mixed":
        assert state["precision"]["scale"] != 2.0**24
    found = ended(again, resume=True, fabric=devices(), **kept)
    assert rows(found) == rows(expected)
    require_same(whole, again)


def with_critic() -> tuple[DensityRatioCritic, torch.optim.Optimizer, InformationBottleneckELBO]:
    torch.manual_seed(9)
    critic = DensityRatioCritic(5, hidden=(8,))
    elbo = InformationBottleneckELBO(beta=0.01, gamma=0.1, total_correlation=CriticTotalCorrelation(critic))
    return critic, torch.optim.Adam(critic.parameters(), lr=0.01), elbo


def test_a_critic_that_learns_is_kept(tmp_path: Path) -> None:
    def run(**options: Any) -> tuple[Bottleneck, nn.Module, Any]:
        program = build()
        critic, optimizer, elbo = with_critic()

        def beside(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            with torch.no_grad():
                (z,) = program.latents(x).values()
            critic_step(critic, optimizer, z)
            return x, y

        also = {"critic": critic, "critic optimizer": optimizer}
        return program, critic, partial(ended, program, elbo=elbo, also=also, transform=beside, **options)

    whole, critic, fitted = run(out=tmp_path / "whole.pt")
    expected = fitted()
    _, _, fitted = run(out=tmp_path / "state.pt", stop=HALF)
    with pytest.raises(KeyboardInterrupt):
        fitted()
    again, critic_again, fitted = run(out=tmp_path / "state.pt", resume=True)
    assert rows(fitted()) == rows(expected)
    require_same(whole, again)
    require_same(critic, critic_again)


@pytest.mark.filterwarnings("ignore:total_correlation. the DensityRatioCritic")
def test_a_critic_that_nobody_names_is_refused_where_a_checkpoint_would_lack_it(tmp_path: Path) -> None:
    _, _, elbo = with_critic()
    with pytest.raises(
        ValueError, match=r"total_correlation of the objective learns \(DensityRatioCritic\).*also="
    ):
        ended(build(), elbo=elbo, out=tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()
    ended(build(), elbo=elbo)


@pytest.mark.filterwarnings("ignore:total_correlation. the DensityRatioCritic")
def test_what_is_named_and_what_is_there_must_agree(tmp_path: Path) -> None:
    critic, optimizer, elbo = with_critic()
    path = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        ended(build(), elbo=elbo, also={"critic": critic}, stop=HALF, out=path)
    also = {"critic": critic, "critic optimizer": optimizer}
    with pytest.raises(ValueError, match=r"state\.pt has the state of another optimizer, or of another fit"):
        ended(build(), elbo=elbo, also=also, out=path, resume=True)


def test_a_stamp_that_differs_is_refused_and_one_that_lacks_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        ended(build(), stop=HALF, out=path, stamp={"settings": "a", "data": "b"})
    with pytest.raises(ValueError, match=r"state\.pt is of another fit \(data b there, c here\)"):
        ended(build(), out=path, stamp={"settings": "a", "data": "c"}, resume=True)
    ended(build(), out=path, stamp={"settings": "a", "data": "b"}, resume=True)
    bare = tmp_path / "bare.pt"
    with pytest.raises(KeyboardInterrupt):
        ended(build(), stop=HALF, out=bare)
    with pytest.warns(UserWarning, match=r"bare\.pt is unverified"):
        ended(build(), out=bare, stamp={"settings": "a"}, resume=True)


@pytest.mark.parametrize("how", ["idle", "stepped", "frozen", "not weighted"])
def test_a_critic_that_nobody_trains_is_warned_of(how: str) -> None:
    program = build()
    critic, optimizer, elbo = with_critic()

    def step(_rows: Any) -> None:
        sum(parameter.sum() for parameter in critic.parameters()).backward()
        optimizer.step()

    if how == "frozen":
        critic.requires_grad_(False)
    if how == "not weighted":
        elbo.gamma = 0.0
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit(program, data(), epochs=3, elbo=elbo, progress=False, on_epoch=step if how == "stepped" else None)
    told = [warning for warning in found if "learns by steps of its own" in str(warning.message)]
    assert len(told) == (how == "idle")
    if told:
        assert "total_correlation: the DensityRatioCritic" in str(told[0].message)
        assert told[0].filename == __file__

"""Measuring runs, in turn, and counts what it should; no time is judged."""

import gc

import pytest
import torch
from torch import Tensor

from inference.cli import main
from inference.studies.bench.device import Device, on
from inference.studies.bench.effort import QUICK, WHOLE
from inference.studies.bench.growth import AXES, measure_growth
from inference.studies.bench.memory import mlp_memory, peak_bytes
from inference.studies.bench.mlp_steps import mlp_steps
from inference.studies.bench.not_measured import NotMeasured
from inference.studies.bench.numpyro_vae import numpyro_epochs
from inference.studies.bench.runs_together import ONE_BY_ONE, TOGETHER, betas_of, side_by_side
from inference.studies.bench.taking_turns import Comparison, take_turns


def test_ways_take_turns() -> None:
    order: list[str] = []
    times = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, blocks=2)
    assert order == ["a", "b"] * 3
    assert {name: len(found) for name, found in times.items()} == {"a": 2, "b": 2}


def test_times_are_a_step() -> None:
    spent = take_turns({"a": lambda: sum(range(200_000))}, blocks=1, parts=1)["a"][0]
    shared = take_turns({"a": lambda: sum(range(200_000))}, blocks=1, parts=1000)["a"][0]
    assert shared.processor < 0.1 * spent.processor
    assert shared.wall < 0.1 * spent.wall


def test_steps_are_measured_in_five_ways_and_leave_no_trace() -> None:
    threads = torch.get_num_threads()
    with on(Device("cpu", 1)) as device:
        found = mlp_steps(4, device, steps=2, blocks=2)
    assert list(found.times) == ["captured", "uncaptured", "by hand", "by hand, no atom", "Pyro's SVI"]
    assert all(len(blocks) == 2 for blocks in found.times.values())
    assert found.clock == "processor"
    assert torch.get_num_threads() == threads


def test_peak_memory_is_the_most_that_is_held_at_a_time() -> None:
    def block() -> Tensor:
        first = torch.ones(1000, 250)
        del first
        return torch.ones(1000, 500) + torch.ones(1000, 500)

    assert peak_bytes(block, Device()) == pytest.approx(3 * 2_000_000, rel=0.01)


def test_peak_memory_is_the_same_at_every_run() -> None:
    first = mlp_memory(4, 30, Device())
    gc.disable()  # nothing waits for the garbage collector
    try:
        assert mlp_memory(4, 30, Device()).bytes == pytest.approx(first.bytes, rel=0.01)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "axis", ["width", "sites", "particles", "particles, vectorised", "betas, vectorised"]
)
def test_growth_is_measured_along_an_axis(axis: str) -> None:
    found = measure_growth(axis, (1, 2), Device(), blocks=1)
    assert found.work[0] == 1
    assert found.work[1] == pytest.approx(2, rel=0.01)
    assert all(len(curve.seconds) == len(curve.bytes) == 2 for curve in found.curves.values())


def test_every_effort_asks_for_axes_that_there_are() -> None:
    assert set(WHOLE.growth) == set(AXES)
    assert set(QUICK.growth) <= set(AXES)


def test_betas_are_spread_evenly() -> None:
    betas = betas_of(3)
    assert betas == pytest.approx([1e-4, 1e-3, 1e-2])


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.studies.bench.numpyro_vae.find_spec", lambda name: None)
    with pytest.raises(NotMeasured, match=r"jax and numpyro not installed: pip install 'ib-pyro\[bench\]'"):
        numpyro_epochs(10, 1, 1)


def test_a_gpu_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "--quick", "--device", "cuda"]) == 2
    assert "--device cuda: PyTorch finds no GPU here" in capsys.readouterr().err


def test_clock_of_several_threads_and_of_gpus_is_the_walls() -> None:
    assert [Device("cpu", 2).clock, Device("cuda", 1).clock] == ["wall", "wall"]
    assert Comparison("", "step", 1, "wall", {}).clock == "wall"


@pytest.mark.slow
def test_an_epoch_of_numpyro_is_measured_beside_ours() -> None:
    pytest.importorskip("numpyro", reason="needs the extra bench")
    found = numpyro_epochs(512, 2, 1)
    assert {way: len(blocks) for way, blocks in found.times.items()} == {"captured": 2, "NumPyro, jitted": 2}
    assert min(each.processor for blocks in found.times.values() for each in blocks) > 0


@pytest.mark.slow
def test_all_of_it_runs_quickly(tmp_path, capsys) -> None:
    assert main(["bench", "--quick", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "RESULTS.md").read_text()
    for words in ("MLP, H = 16, 1 thread", "MNIST VAE", "## Growth", "## Start-up", "peak memory"):
        assert words in text
    assert "written: " in capsys.readouterr().out


def test_runs_together_are_measured_beside_single_ones_of_both_kinds() -> None:
    with on(Device("cpu", 1)) as device:
        found = side_by_side(2, device, steps=2, blocks=2)
    assert list(found.times) == [*TOGETHER, *ONE_BY_ONE]
    assert all(len(blocks) == 2 for blocks in found.times.values())

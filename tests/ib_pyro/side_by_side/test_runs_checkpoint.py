"""Runs side by side that were stopped go on as if they had not been."""

import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from ib_pyro.elbo import Capacity, InformationBottleneckELBO
from ib_pyro.elbo.schedules import linear_warm_up
from ib_pyro.side_by_side import Run, train_side_by_side

RUNS = [Run(beta=0.0), Run(beta=0.1, seed=2), Run(beta=0.4, seed=1)]
HOW = {
    "sgd": {},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "own": {"optimizer": partial(torch.optim.Adagrad, lr=0.01)},
    "replayed": {"replay": "on", "order": "shared"},
    "schedules": {
        "replay": "on",
        "beta_schedule": lambda epoch: linear_warm_up(int(epoch), target=1.0, warm_up=2),
        "lr_schedule": lambda epoch: 0.5**epoch,
    },
    "rates": {"lr": 0.01},
}
train = partial(train_side_by_side, batch_size=8)


class Stopped(Exception):
    pass


def stop_after(epochs):
    def look(history):
        if history[-1]["epoch"] == epochs:
            raise Stopped

    return look


def bitwise(one, other):
    for name, program in one.programs.items():
        for key, value in program.state_dict().items():
            assert torch.equal(value, other.programs[name].state_dict()[key]), (name, key)
    assert one.history.equals(other.history)
    assert one.table.equals(other.table)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("stop", [1, 2])
def test_runs_that_stop_go_on_to_the_same_bits(how, stop, data, make, tmp_path):
    runs = RUNS if how != "rates" else [Run(beta=0.1, seed=s, lr=r) for s, r in ((0, None), (1, 0.1))]
    options = {"epochs": 4, "validation": data, **HOW[how]}
    whole = train(make, data, runs, **options)
    path = tmp_path / "runs.pt"
    with pytest.raises(Stopped):
        train(make, data, runs, checkpoint=path, on_epoch=stop_after(stop), **options)
    seen = []
    again = train(
        make, data, runs, checkpoint=path, on_epoch=lambda h: seen.append(h[-1]["epoch"]), **options
    )
    assert seen == list(range(stop + 1, 5))
    bitwise(whole, again)


def test_a_finished_fit_is_not_repeated_and_can_be_extended(data, make, tmp_path):
    path = tmp_path / "runs.pt"
    first = train(make, data, RUNS, epochs=2, checkpoint=path)
    bitwise(first, train(make, data, RUNS, epochs=2, checkpoint=path, on_epoch=stop_after(0)))
    bitwise(train(make, data, RUNS, epochs=3), train(make, data, RUNS, epochs=3, checkpoint=path))
    with pytest.raises(ValueError, match="checkpoint is at epoch 3, beyond epochs=2"):
        train(make, data, RUNS, epochs=2, checkpoint=path)


def test_checkpoints_of_others_are_refused_by_name(data, make, tmp_path):
    path = tmp_path / "runs.pt"
    train(make, data, RUNS, epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match=r"of other runs: the run beta=0\.4, seed=1 is there alone"):
        train(make, data, RUNS[:2], epochs=2, checkpoint=path)
    with pytest.raises(ValueError, match="of runs with batch_size=8, and these have 7"):
        train_side_by_side(make, data, RUNS, epochs=2, batch_size=7, checkpoint=path)
    with pytest.raises(ValueError, match="of runs with data=.*, and these have"):
        train(make, (data[0] + 1, data[1]), RUNS, epochs=2, checkpoint=path)
    with pytest.raises(ValueError, match=r"of other runs: encoder.*alpha_max is 0\.7 there and 0\.5 here"):
        train(partial(make, alpha_max=0.5), data, RUNS, epochs=2, checkpoint=path)
    with pytest.raises(ValueError, match=r"of runs with clip_norm=None, and these have 0\.1"):
        train(make, data, RUNS, epochs=2, clip_norm=0.1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"runs\.pt cannot be read"):
        train(make, data, RUNS, epochs=2, checkpoint=path)
    torch.save({"kind": "else"}, path)
    with pytest.raises(ValueError, match="is no checkpoint of runs side by side"):
        train(make, data, RUNS, epochs=2, checkpoint=path)


def adam(lr):
    return {"optimizer": partial(torch.optim.Adam, lr=lr)}


E = InformationBottleneckELBO


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (adam(1e-3), adam(0.3), r"the optimizer\.lr is 0\.001 there and 0\.3 here"),
        ({}, adam(0.3), r"the optimizer is a SGD there and a Adam here"),
        ({}, {"elbo": E(num_particles=3)}, r"seed=0: the objective\.num_particles is 1 there and 3 here"),
        (
            {"elbo": E(penalty=Capacity(1.0))},
            {"elbo": E(penalty=Capacity(2.0))},
            r"penalty\.target is 1\.0 there",
        ),
        ({}, {"lr_schedule": lambda epoch: 1.0}, "of runs with lr_schedule=False, and these have True"),
        ({"transform": lambda x, y: (x, y)}, {}, "of runs with transform=True, and these have False"),
        (
            {"runs": [Run(beta=0.1, name="a")]},
            {"runs": [Run(beta=0.2, name="a")]},
            r"the run a\.beta is 0\.1 there",
        ),
    ],
)
def test_another_objective_optimiser_or_run_of_the_same_name_is_refused(
    before, after, message, data, make, tmp_path
):
    path = tmp_path / "runs.pt"
    how = {"runs": RUNS[:2], "checkpoint": path}
    train(make, data, epochs=1, **{**how, **before})
    with pytest.raises(ValueError, match=message):
        train(make, data, epochs=2, **{**how, **after})
    assert len(train(make, data, epochs=2, **{**how, **before}).history) == 2 * len(
        before.get("runs", RUNS[:2])
    )


def test_a_checkpoint_of_before_runs_were_described_is_taken(data, make, tmp_path):
    path = tmp_path / "runs.pt"
    train(make, data, RUNS, epochs=1, checkpoint=path)
    content = torch.load(path, weights_only=True)
    del content["made_of"]
    for name in ("lr_schedule", "beta_schedule", "transform"):
        del content["settings"][name]
    torch.save(content, path)
    bitwise(train(make, data, RUNS, epochs=2), train(make, data, RUNS, epochs=2, checkpoint=path))


def test_checkpoints_keep_their_distance_in_time(data, make, tmp_path):
    path = tmp_path / "runs.pt"
    there = []
    how = {"checkpoint": path, "on_epoch": lambda history: there.append(path.exists())}
    train(make, data, RUNS, epochs=3, checkpoint_seconds=1e6, **how)
    assert there == [False, False, True]


def test_a_run_that_has_diverged_stays_so(data, make, tmp_path):
    runs = [Run(beta=0.1), Run(beta=0.1, seed=1, lr=1e200)]
    path = tmp_path / "runs.pt"
    with pytest.raises(Stopped):
        train(make, data, runs, epochs=3, checkpoint=path, on_epoch=stop_after(1))
    with pytest.warns(UserWarning, match="epoch 1: not finite"):
        found = train(make, data, runs, epochs=3, checkpoint=path)
    assert found.table["diverged"].tolist() == [False, True]


SCRIPT = """
import sys, time, torch
from torch import nn
from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import Run, train_side_by_side

torch.set_num_threads(1)
data = torch.rand(60, 6, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
make = lambda: Bottleneck(InformationDropout.linear(6, 5, batch_norm=True), nn.Linear(5, 3))
runs = [Run(beta=b, seed=s) for b in (0.0, 0.1) for s in (0, 1)]
slow = lambda history: time.sleep(float(sys.argv[2]))
found = train_side_by_side(make, data, runs, epochs=12, batch_size=16, checkpoint=sys.argv[1], on_epoch=slow)
torch.save({name: program.state_dict() for name, program in found.programs.items()}, sys.argv[1] + ".end")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal of POSIX")
def test_a_process_that_is_killed_and_begun_again_has_the_numbers_of_one_that_was_not(tmp_path):
    def start(path, pause):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), str(pause)])

    killed, whole = tmp_path / "killed.pt", tmp_path / "whole.pt"
    process = start(killed, 0.5)
    until = time.monotonic() + 120
    while not killed.exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "killed.pt.end").exists()
    reached = len(torch.load(killed, weights_only=True)["history"]) // 4
    assert 1 <= reached < 12
    for path in (killed, whole):
        assert start(path, 0).wait(120) == 0
    ends = [torch.load(f"{path}.end", weights_only=True) for path in (killed, whole)]
    for name, state in ends[0].items():
        for key, value in state.items():
            assert torch.equal(value, ends[1][name][key]), (name, key)

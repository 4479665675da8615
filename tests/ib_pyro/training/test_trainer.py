"""A fit as a loop of one's own, its checkpoints, and what survives a process that is killed."""

import inspect
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
import torch

from ib_pyro import fit
from ib_pyro.training import Trainer
from ib_pyro.training.checkpoint import restore_program
from ib_pyro.training.fit_options import FitOptions

ROOT = Path(__file__).parents[3]
OPTIONS = {"batch_size": 32, "beta": 0.01, "progress": False}


def same(program, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in program.state_dict().items())


def ordered(**options):
    torch.manual_seed(11)
    return {"order": torch.Generator().manual_seed(7), **OPTIONS, **options}


def test_fit_and_trainer_have_the_same_options_and_defaults():
    of_fit = dict(list(inspect.signature(fit).parameters.items())[2:])
    of_trainer = {field.name: field.default for field in fields(FitOptions)}
    del of_fit["on_epoch"]
    assert of_fit.keys() == of_trainer.keys()
    for name, parameter in of_fit.items():
        if name != "epochs":
            assert parameter.default == of_trainer[name], name


def test_a_loop_of_ones_own_is_the_fit(stripes, build):
    whole, looped = build(), build()
    expected = fit(whole, stripes, epochs=3, validation=stripes, **ordered())
    trainer = Trainer(looped, stripes, epochs=3, validation=stripes, **ordered())
    epochs = []
    for row in trainer:
        # What is done between epochs, drawing apart, changes nothing.
        looped.eval()
        epochs.append(row["epoch"])
    assert epochs == [1, 2, 3]
    assert same(whole, looped)
    assert trainer.result.stopped == expected.stopped == "all 3 epochs are done"
    assert trainer.result.history.drop(columns="seconds").equals(expected.history.drop(columns="seconds"))


def test_to_leave_the_loop_ends_the_fit_where_it_is(stripes, build):
    left, short = build(), build()
    trainer = Trainer(left, stripes, epochs=9, warm_up=1, **ordered())
    for row in trainer:
        if row["epoch"] == 2:
            break
    assert trainer.result.stopped == "it was left after epoch 2"
    assert not left.training
    fit(short, stripes, epochs=2, warm_up=1, **ordered())
    assert same(left, short)


def test_a_loop_that_was_left_goes_on(stripes, build):
    program, whole = build(), build()
    trainer = Trainer(program, stripes, epochs=4, **ordered())
    for row in trainer:
        if row["epoch"] == 2:
            break
    assert [row["epoch"] for row in trainer] == [3, 4]
    assert trainer.result.stopped == "all 4 epochs are done"
    fit(whole, stripes, epochs=4, **ordered())
    assert same(program, whole)
    assert list(trainer) == []


@pytest.mark.parametrize("suffix", ["", "state.pt"])
def test_a_finished_fit_is_extended_as_if_it_had_been_longer(stripes, build, tmp_path, suffix):
    out = tmp_path / "fit" / suffix if suffix else tmp_path / "fit"
    whole, parts = build(), build()
    expected = fit(whole, stripes, epochs=6, **ordered())
    fit(parts, stripes, epochs=3, out=out, **ordered())
    fresh = build()
    torch.rand(10)
    found = fit(fresh, stripes, epochs=6, out=out, resume=True, **OPTIONS)
    assert same(whole, fresh)
    assert found.history.drop(columns="seconds").equals(expected.history.drop(columns="seconds"))
    assert (out if suffix else out / "checkpoint.pt").exists()
    done = fit(build(), stripes, epochs=6, out=out, resume=True, **OPTIONS)
    assert done.epochs == 6
    assert done.stopped == "all 6 epochs are done"


def test_a_loader_with_a_generator_is_resumed_too(stripes, build, tmp_path):
    def loader():
        data = torch.utils.data.TensorDataset(stripes.x, stripes.y)
        generator = torch.Generator().manual_seed(5)
        return torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, generator=generator)

    options = {"beta": 0.01, "progress": False}
    whole, begun, program = build(), build(), build()
    torch.manual_seed(1)
    fit(whole, loader(), epochs=4, **options)
    torch.manual_seed(1)
    fit(begun, loader(), epochs=2, out=tmp_path, **options)
    fit(program, loader(), epochs=4, out=tmp_path, resume=True, **options)
    assert same(whole, program)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": 0.02}, r"is of another fit: the objective\.beta is 0\.01 there and 0\.02 here"),
        ({"batch_size": 45}, "with steps=3, and this one has steps=2"),
        ({"optimizer": "sgd"}, "with optimizer=Adam, and this one has optimizer=SGD"),
        ({"epochs": 1}, "is at epoch 2, beyond epochs=1"),
        ({"resume": False}, "exists; pass resume=True to go on from it, or another path"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(stripes, build, tmp_path, change, message):
    fit(build(), stripes, epochs=2, out=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match=message):
        fit(build(), stripes, **{"epochs": 3, "out": tmp_path, "resume": True, **OPTIONS, **change})


def test_a_checkpoint_of_another_program_or_none_is_refused(stripes, build, tmp_path):
    fit(build(), stripes, epochs=2, out=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match=r"of another fit: .*out_features is 8 there and 5 here"):
        fit(build(hidden=5), stripes, epochs=3, out=tmp_path, resume=True, **OPTIONS)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no file of tensors, or damaged"):
        fit(build(), stripes, epochs=3, out=tmp_path, resume=True, **OPTIONS)


def test_a_checkpoint_restores_the_best_program(stripes, build, tmp_path):
    program, other = build(), build()
    fit(program, stripes, epochs=6, validation=stripes, patience=6, out=tmp_path, **ordered(lr=0.5))
    assert len(restore_program(tmp_path / "checkpoint.pt", other)) == 6
    assert same(program, other)


def test_functions_make_optimiser_and_schedule(stripes, build):
    make = partial(torch.optim.AdamW, lr=0.01)
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    found = fit(build(), stripes, epochs=3, optimizer=make, scheduler=schedule, **OPTIONS)
    assert [row["lr"] for row in found.rows] == pytest.approx([0.01, 0.005, 0.0025])
    with pytest.raises(ValueError, match="optimizer: none of its parameters is the program's"):
        fit(build(), stripes, epochs=1, optimizer=make(build().parameters()), **OPTIONS)


KILLED = """
import os, signal, sys, torch
from types import SimpleNamespace
from ib_pyro import fit
from models.mlp import MLP

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(1)
x, y = torch.rand(90, 1, 4, 4, generator=generator), torch.arange(90) % 3
torch.manual_seed(3)
program = MLP(hidden=8, image_shape=(1, 4, 4), num_classes=3)
torch.manual_seed(11)
when, out = int(sys.argv[1]), sys.argv[2]

def stop(rows):
    if len(rows) == when:
        os.kill(os.getpid(), signal.SIGKILL)

fit(program, (x, y), epochs=6, batch_size=32, beta=0.01, validation=(x, y), patience=6, progress=False,
    order=torch.Generator().manual_seed(7), out=out, resume=True, on_epoch=stop, warm_up=2)
torch.save(program.state_dict(), out + ".done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_is_resumed_bit_by_bit(tmp_path):
    def start(when, out):
        command = [sys.executable, "-c", KILLED, str(when), str(out)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    assert start(0, whole).returncode == 0
    for when in (2, 4):
        assert start(when, parts).returncode == -signal.SIGKILL
    done = start(0, parts)
    assert done.returncode == 0, done.stderr
    expected = torch.load(f"{whole}.done")
    for name, value in torch.load(f"{parts}.done").items():
        assert torch.equal(value, expected[name]), name


def test_progress_is_a_line_an_epoch_where_it_is_piped(stripes, build, capsys):
    start = time.perf_counter()
    fit(build(), stripes, epochs=3, **{**OPTIONS, "progress": True})
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0].startswith("epoch 1/3 ")
    assert lines[-1].startswith("epoch 3/3 ")
    assert len(lines) <= 2 + (time.perf_counter() - start)

"""Runs that are fitted side by side lie in their folders as if each had been fitted alone."""

import csv
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference import RunSpec, evaluate_run, run
from inference.cli.main import main
from inference.runs.failure import Failure
from inference.runs.folder import RunFolder
from inference.runs.run import OutOfTime
from inference.runs.vectorized_sweep import run_side_by_side

GROWING = {"beta_schedule": "linear", "beta_warm_up": 2, "lr_drops": (1,)}
MLP = {"hidden": 8, "precision": "64-true"}
CASES = {
    "information": {**MLP, "capture": "on", "weight_decay": 0.01},
    "schedules": {**MLP, **GROWING},
    "cycles": {**MLP, "beta_schedule": "cyclical", "beta_period": 1.0, "activation": "softplus"},
    "capacity": {**MLP, "capacity": 5.0, "capacity_warm_up": 1.0},
    "free nats": {**MLP, "free_nats": 2.0},
    "correlation": {**MLP, "gamma": 0.01, "total_correlation": "minibatch-stratified"},
    "sites": {**MLP, "beta_factors": {"z1": 0.5}},
    "binary": {**MLP, "dropout": "binary", "batch_norm": True},
    "vae": {
        "model": "vae",
        "latent": "gaussian",
        "precision": "64-true",
        "limit": 100,
        "num_importance_samples": 0,
    },
}
GRID = ((1.0, 0, 0.05), (3.0, 0, 0.05), (1.0, 4, 0.01))


def specs(case, grid=GRID, **changes):
    settings = {"data": "digits", "limit": 120, "epochs": 2, "batch_size": 50, "threads": 1}
    settings |= {"test_limit": 50, "accelerator": "cpu", **CASES[case], **changes}
    return [RunSpec.of(**settings, beta_paper=b, seed=s, lr=lr) for b, s, lr in grid]


def numbers(result):
    return {n: v for n, v in result.items() if isinstance(v, int | float) and n != "seconds"}


def rows(path):
    table = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
    return [{n: float(v) for n, v in row.items() if n not in ("seconds", "digest")} for row in table]


@pytest.mark.filterwarnings("ignore:.*still on its way")
@pytest.mark.parametrize("case", CASES)
def test_folders_hold_what_single_runs_leave(case, tmp_path):
    jobs = [(spec, tmp_path / "together" / spec.name) for spec in specs(case)]
    found = dict(run_side_by_side(jobs, progress=False))
    for spec, path in jobs:
        alone = run(spec, tmp_path / "alone" / spec.name, progress=False)
        assert numbers(found[path]) == pytest.approx(numbers(alone), rel=1e-9, abs=1e-12)
        theirs, mine = rows(path), rows(tmp_path / "alone" / spec.name)
        assert {*theirs[0]} == {*mine[0]}
        for one, other in zip(theirs, mine, strict=True):
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
    spec, path = jobs[0]
    assert numbers(evaluate_run(path)) == pytest.approx(numbers(found[path]), rel=1e-12)
    assert RunFolder(path).spec().identity() == spec.identity()
    assert not list((tmp_path / "together").glob(".side-by-side*"))


def test_a_weight_that_never_arrives_is_warned_of(tmp_path):
    jobs = [(spec, tmp_path / spec.name) for spec in specs("schedules")]
    with pytest.warns(UserWarning, match=rf"run {jobs[0][0].name}: schedules: beta is .* still on its way"):
        list(run_side_by_side(jobs, progress=False))


def test_finished_runs_are_not_fitted_again(tmp_path):
    jobs = [(spec, tmp_path / spec.name) for spec in specs("binary")]
    first = dict(run_side_by_side(jobs[:1], progress=False))
    before = (jobs[0][1] / "checkpoint.pt").stat().st_mtime_ns
    (jobs[1][1]).mkdir()
    found = dict(run_side_by_side(jobs, progress=False))
    assert found[jobs[0][1]] == first[jobs[0][1]]
    assert (jobs[0][1] / "checkpoint.pt").stat().st_mtime_ns == before
    assert len(found) == 3


def test_runs_that_are_fitted_are_only_evaluated(tmp_path, monkeypatch):
    jobs = [(spec, tmp_path / spec.name) for spec in specs("binary")]
    first = dict(run_side_by_side(jobs, progress=False))
    for _, path in jobs[1:]:
        (path / "result.json").unlink()
    monkeypatch.setattr("inference.runs.vectorized_sweep.RunsAtOnce", None)
    assert {p: numbers(r) for p, r in run_side_by_side(jobs, progress=False)} == {
        p: pytest.approx(numbers(r), rel=1e-12) for p, r in first.items()
    }


def test_a_run_that_diverges_is_named_and_the_others_are_kept(tmp_path):
    grid = ((1.0, 0, 0.05), (1.0, 0, 1e200), (1.0, 1, 0.05))
    jobs = [(spec, tmp_path / spec.name) for spec in specs("information", grid=grid, epochs=1)]
    found = dict(run_side_by_side(jobs, progress=False))
    failure = found[jobs[1][1]]
    assert isinstance(failure, Failure)
    assert (failure.type, failure.epoch) == ("DivergenceError", 1)
    assert "epoch 1: not finite" in failure.message
    assert not (jobs[1][1] / "result.json").exists()
    for k in (0, 2):
        assert math.isfinite(found[jobs[k][1]]["distortion"])
    # It is not tried again, unless that is asked for.
    assert dict(run_side_by_side(jobs, progress=False)) == found
    again = dict(run_side_by_side(jobs, progress=False, retry_failed=True))
    assert again[jobs[1][1]].when > failure.when


def test_the_state_of_a_grid_that_was_changed_goes_away_once_no_run_is_under_way(tmp_path):
    jobs = [(spec, tmp_path / spec.name) for spec in specs("binary", epochs=1)]
    under_way = tmp_path / "under way"
    under_way.mkdir()
    (under_way / "config.json").write_text("{}")
    old = tmp_path / ".side-by-side-0123456789ab.pt"
    old.write_bytes(b"of another grid")
    list(run_side_by_side(jobs[:2], progress=False))
    assert [path.name for path in tmp_path.glob(".side-by-side-*")] == [old.name]
    (under_way / "config.json").unlink()
    list(run_side_by_side(jobs, progress=False))
    assert not list(tmp_path.glob(".side-by-side-*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "bf16-mixed"}, "--precision bf16-mixed has no runs side by side"),
        ({"steady_priors": True, "activation": "softplus"}, "--steady-priors gives learned priors a"),
    ],
    ids=["precision", "steady priors"],
)
def test_what_is_refused_leaves_nothing(changes, message, tmp_path):
    jobs = [(spec, tmp_path / "out" / spec.name) for spec in specs("information", **changes)]
    with pytest.raises(ValueError, match=message):
        list(run_side_by_side(jobs, progress=False))
    assert not (tmp_path / "out").exists()


def test_steady_priors_are_nothing_without_learned_priors(tmp_path):
    jobs = [(spec, tmp_path / spec.name) for spec in specs("information", steady_priors=True)]
    found = dict(run_side_by_side(jobs, progress=False))
    spec, path = jobs[1]
    alone = run(spec, tmp_path / "alone", progress=False)
    assert numbers(found[path]) == pytest.approx(numbers(alone), rel=1e-9, abs=1e-12)


def test_runs_that_are_out_of_time_stop_at_one_epoch_and_go_on_to_the_same_numbers(tmp_path):
    def jobs(where):
        made = specs("information", epochs=4, checkpoint_every=2)
        return [(spec, tmp_path / where / spec.name) for spec in made]

    whole = dict(run_side_by_side(jobs("whole"), progress=False))
    with pytest.raises(OutOfTime, match="3 runs side by side have stopped after 2 of 4 epochs"):
        list(run_side_by_side(jobs("part"), progress=False, until=0.0))
    assert all(RunFolder(path).epochs() == 2 for _, path in jobs("part"))
    parts = dict(run_side_by_side(jobs("part"), progress=False, until=time.time() + 3600))
    for (_, one), (_, other) in zip(jobs("whole"), jobs("part"), strict=True):
        assert numbers(parts[other]) == numbers(whole[one])


@pytest.mark.slow
def test_compiled_steps_have_the_numbers_to_rounding(tmp_path):
    jobs = [(spec, tmp_path / "compiled" / spec.name) for spec in specs("information", capture="auto")]
    plain = [(spec, tmp_path / "plain" / spec.name) for spec, _ in jobs]
    found = dict(run_side_by_side(jobs, progress=False, compile=True))
    for (_, one), (_, other) in zip(jobs, dict(run_side_by_side(plain, progress=False)).items(), strict=True):
        assert numbers(found[one]) == pytest.approx(numbers(other), rel=1e-9, abs=1e-12)


def test_runs_of_other_settings_are_refused(tmp_path):
    both = [*specs("information")[:1], *specs("information", hidden=9)[:1]]
    with pytest.raises(ValueError, match="--hidden is 8 in one run and 9 in another"):
        list(run_side_by_side([(spec, tmp_path / spec.name) for spec in both], progress=False))


WORDS = (
    "sweep --data digits --hidden 8 --limit 300 --test-limit 50 --epochs 40 --batch-size 10 --accelerator cpu "
    "--threads 1 --betas 1e-3,1e-2 --seeds 0,1 --vectorize true --precision 64-true"
).split()


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal of POSIX")
def test_a_sweep_that_is_killed_goes_on_to_the_same_numbers(tmp_path):
    process = subprocess.Popen([sys.executable, "-m", "inference", *WORDS, "--out", str(tmp_path / "killed")])
    until = time.monotonic() + 240
    while not list(tmp_path.glob("killed/.side-by-side-*.pt")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not list(tmp_path.glob("killed/*/result.json"))
    assert len(list(tmp_path.glob("killed/*/config.json"))) == 4
    for name in ("killed", "whole"):
        assert main([*WORDS, "--out", str(tmp_path / name)]) == 0
    names = sorted(path.name for path in Path(tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == names
    for name in names:
        one, other = (RunFolder(tmp_path / kind / name).result() for kind in ("killed", "whole"))
        assert numbers(one) == numbers(other)
        assert rows(tmp_path / "killed" / name) == rows(tmp_path / "whole" / name)

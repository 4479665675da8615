"""Runs that fail: kept as failed, named at the end, left alone by a rerun or tried again; the others go on."""

from pathlib import Path

import pytest

from inference.cli.main import main
from inference.json_and_csv import read_json
from inference.runs import pool
from inference.runs.engine import WorkerLost
from inference.runs.failure import read_failure

# The loss of so large a beta is not finite.
GRID = "sweep --data digits --hidden 8 --epochs 2 --accelerator cpu --limit 200 --betas 1e-3,1e38 --seeds 0,1".split()


def sweep(out: Path, *words: str) -> int:
    return main([*GRID, "--out", str(out), *words])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_diverges_is_kept_as_failed_and_the_rest_goes_on(
    processes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--processes", processes) == 1
    told = capsys.readouterr()
    names = sorted(path.name for path in tmp_path.iterdir())
    good, bad = names[:2], names[2:]
    assert all("1e+38" in name for name in bad)
    assert {path.parent.name for path in tmp_path.glob("*/result.json")} == set(good)
    assert {path.parent.name for path in tmp_path.glob("*/failure.json")} == set(bad)
    assert told.out.count("mlp, digits") == 1
    assert all(f"missing: {name}: epoch 1: site" in told.out for name in bad)
    assert "2 of 4 runs failed" in told.err
    kept = read_json(tmp_path / bad[0] / "failure.json")
    assert (kept["type"], kept["epoch"]) == ("DivergenceError", 1)
    assert kept["term"] == f"rate/{kept['site']}"
    assert kept["value"] in ("nan", "inf")
    assert "Traceback" in kept["details"]


def test_a_rerun_skips_what_failed_or_tries_it_again_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path) == 1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")}
    table = capsys.readouterr().out
    assert sweep(tmp_path) == 1
    again = capsys.readouterr()
    assert again.out == table
    assert "2 of 4 runs failed" in again.err
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert sweep(tmp_path, "--retry-failed") == 1
    assert capsys.readouterr().out == table
    changed = {path.name for path in before if before[path] != path.stat().st_mtime_ns}
    assert changed == {"failure.json"}


def test_a_run_that_no_longer_fails_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inference.runs import run

    with monkeypatch.context() as patch:
        patch.setattr(run, "finish", lambda *_: 1 / 0)
        assert sweep(tmp_path, "--betas", "1e-3") == 1
    failed = [read_failure(path) for path in tmp_path.iterdir()]
    assert [failure.type for failure in failed if failure] == ["ZeroDivisionError"] * 2
    assert sweep(tmp_path, "--betas", "1e-3", "--retry-failed") == 0
    assert not list(tmp_path.glob("*/failure.json"))
    assert len(list(tmp_path.glob("*/result.json"))) == 2


def test_what_is_wrong_with_all_runs_ends_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--data", "mnist", "--data-root", str(tmp_path / "nowhere")) == 2
    assert "error: " in capsys.readouterr().err
    assert not list(tmp_path.glob("*/failure.json"))


class Losing:
    """An engine that loses the workers of runs with a seed of 1."""

    slots = 2.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, item):
        from concurrent.futures import Future

        future = Future()
        future.set_result(lambda: work(item) if item[0].training.seed == 0 else None)
        return future

    def result(self, future):
        found = future.result()()
        if found is None:
            raise WorkerLost("node 10.0.0.7 died")
        return found


def test_a_run_that_loses_every_worker_is_named_with_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "_local", lambda *_: Losing())
    assert sweep(tmp_path, "--betas", "1e-3") == 1
    told = capsys.readouterr()
    assert told.err.count("node 10.0.0.7 died; attempt") == pool.ATTEMPTS - 1
    assert "attempt 4 of 4 begins anew" in told.err
    assert "its worker was lost 4 times; the last time node 10.0.0.7 died" in told.out
    assert len(list(tmp_path.glob("*/result.json"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "ray", "--vectorize", "true"], "--engine ray has no effect with --vectorize"),
        (["--address", "auto"], "--address auto goes with --engine ray"),
        (["--processes", "0"], "--processes must be at least 1; got 0"),
    ],
    ids=["engine", "address", "processes"],
)
def test_options_without_effect_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err

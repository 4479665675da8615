"""Runs in processes of their own give what they give here, and are not run again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.runs.pool import run_all

Quick = Callable[..., Any]


@pytest.mark.slow
def test_processes_give_the_same_results(quick: Quick, tmp_path: Path) -> None:
    quicks = [quick(out=tmp_path / f"run-{seed}", seed=seed, epochs=1) for seed in (0, 1)]
    jobs = [(job.spec, job.out) for job in quicks]
    found = dict(run_all(jobs, processes=2))
    here = quick(out=tmp_path / "here", seed=1, epochs=1).run()
    first, second = (found[job.out] for job in quicks)
    assert {**second, "seconds": 0} == {**here, "seconds": 0}
    assert first["distortion"] != second["distortion"]
    assert dict(run_all(jobs, processes=2)) == found


def test_nothing_runs_if_a_folder_is_taken(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("")
    jobs = [(quick().spec, tmp_path / name) for name in ("free", "taken")]
    with pytest.raises(ValueError, match="holds no run"):
        list(run_all(jobs, processes=1))
    assert not (tmp_path / "free").exists()

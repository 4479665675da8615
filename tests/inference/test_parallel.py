"""Runs in processes of their own give what they give here, and are not run again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from inference import FitConfig, run
from inference.parallel import run_all

Quick = Callable[..., FitConfig]


@pytest.mark.slow
def test_processes_give_the_same_results(quick: Quick, tmp_path: Path) -> None:
    configs = [quick(out=tmp_path / f"run-{seed}", seed=seed, epochs=1) for seed in (0, 1)]
    found = {config.seed: result for config, result in run_all(configs, processes=2)}
    here = run(quick(out=tmp_path / "here", seed=1, epochs=1), progress=False)
    assert {**found[1], "seconds": 0} == {**here, "seconds": 0}
    assert found[0]["distortion"] != found[1]["distortion"]
    again = dict((config.seed, result) for config, result in run_all(configs, processes=2))
    assert again == found


def test_nothing_runs_if_a_folder_is_taken(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("")
    configs = [quick(out=tmp_path / "free"), quick(out=tmp_path / "taken")]
    with pytest.raises(ValueError, match="holds no run"):
        list(run_all(configs, processes=1))
    assert not (tmp_path / "free").exists()

"""A figure in slices of time: what is stopped goes on, and what it would cost is told before."""

import io
import time

import pandas as pd
import pytest
from rich.console import Console

from inference.cli import main
from inference.cli.paper import UNFINISHED
from inference.runs.folder import RunFolder
from inference.runs.run import OutOfTime, run
from inference.runs.spec import RunSpec
from inference.studies.paper.cost import kinds_of, measure_steps, whole_plan
from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.place import Place
from inference.studies.paper.runner import StoppedEarly, run_figure

PAST = 0.0


def spec(**settings):
    return RunSpec.of(data="digits", limit=40, hidden=4, epochs=4, beta=1e-3, accelerator="cpu", **settings)


def test_a_run_that_is_out_of_time_stops_at_a_checkpoint_and_goes_on_to_the_same_numbers(tmp_path):
    whole = run(spec(checkpoint_every=2), tmp_path / "whole", progress=False)
    part = tmp_path / "part"
    with pytest.raises(OutOfTime, match="2 of 4 epochs"):
        run(spec(checkpoint_every=2), part, progress=False, until=PAST)
    assert RunFolder(part).epochs() == 2
    assert RunFolder(part).result() is None
    result = run(spec(checkpoint_every=2), part, resume=True, progress=False, until=time.time() + 3600)
    assert {**result, "seconds": 0} == {**whole, "seconds": 0}


def test_the_last_epochs_are_not_lost(tmp_path):
    # A fit that is done is evaluated, however late it is.
    assert run(spec(checkpoint_every=4), tmp_path / "run", progress=False, until=PAST)["epochs"] == 4


def test_a_figure_that_is_out_of_time_begins_no_run_and_writes_no_picture(tmp_path):
    with pytest.raises(StoppedEarly, match="fig6: 0 of 2 runs are done"):
        run_figure("fig6", "smoke", Place(tmp_path), until=PAST, console=Console(file=io.StringIO()))
    assert not list(tmp_path.glob("fig6.*"))
    assert not (tmp_path / "runs-stand-in").exists()


def test_the_command_says_how_to_go_on(tmp_path, capsys):
    words = ["paper", "fig6", "--preset", "smoke", "--out", str(tmp_path)]
    assert main([*words, "--time-limit", "1e-9"]) == UNFINISHED == 75
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"python -m inference paper fig6 --preset smoke --out {tmp_path} --time-limit 1e-09" in said
    assert main([*words, "--time-limit", "60"]) == 0
    assert (tmp_path / "fig6.png").exists()


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_a_time_limit_is_positive(minutes, capsys):
    assert main(["paper", "fig6", "--preset", "smoke", "--time-limit", minutes]) == 2
    assert "--time-limit must be positive" in capsys.readouterr().err


@pytest.mark.parametrize("name", FIGURES)
def test_the_whole_plan_has_the_runs_that_wait_for_a_choice(name):
    shown = figure(name)
    first = {each.spec.name for each in shown.plan("definitive")}
    whole = whole_plan(shown, "definitive")
    assert first <= {each.spec.name for each in whole}
    if name in ("fig3a", "fig3b", "panel1"):
        assert {"choice", "full"} <= {each.labels["stage"] for each in whole}
    assert {each.spec.training.seed for each in whole} >= set(shown.size("definitive").seeds)


def test_a_run_that_two_figures_need_is_paid_once():
    plan = [*whole_plan(figure("fig1"), "definitive"), *whole_plan(figure("fig6"), "definitive")]
    kinds = kinds_of(plan)
    names = {each.spec.name for each in plan}
    assert sum(kind.runs for kind in kinds) == len(names) < len(plan)
    images = sum(
        spec.training.epochs * spec.data.limit for spec in {e.spec.name: e.spec for e in plan}.values()
    )
    assert sum(kind.images for kind in kinds) == images


def test_hours_are_images_times_milliseconds():
    (kind,) = kinds_of(whole_plan(figure("panel2"), "smoke"))
    assert kind.images == 6 * 60
    assert kind.hours(3600.0) == pytest.approx(0.36)


def test_steps_are_measured_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert measure_steps(figure("fig6").plan("smoke")[0].spec) > 0
    assert not list(tmp_path.iterdir())


def test_a_dry_run_prints_the_kinds_and_their_sum(tmp_path, capsys):
    words = ["paper", "fig6", "--preset", "smoke", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.count("1 runs") == 2
    assert "together: 2 runs" in said
    assert not (tmp_path / "out").exists()


def test_another_precision_is_another_run():
    plain = figure("fig6").plan("smoke")
    mixed = figure("fig6").plan("smoke", pd.DataFrame(), precision="bf16-mixed")
    assert {each.spec.training.precision for each in mixed} == {"bf16-mixed"}
    assert not {each.spec.name for each in plain} & {each.spec.name for each in mixed}

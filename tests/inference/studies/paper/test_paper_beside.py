"""A figure's runs of one network, fitted as one computation, have the numbers that they have alone."""

import io
import time

import pandas as pd
import pytest
from rich.console import Console

from inference.cli.main import main
from inference.runs import run as runs
from inference.runs.failure import read_failure
from inference.runs.spec import RunSpec
from inference.runs.vectorized_sweep import VARIES, are_alike
from inference.studies.paper import beside
from inference.studies.paper.beside import groups_of
from inference.studies.paper.cost import whole_plan
from inference.studies.paper.figures import figure
from inference.studies.paper.place import Place
from inference.studies.paper.runner import StoppedEarly, run_figure


def ran(name, folder, **options):
    said = io.StringIO()
    path = run_figure(name, "smoke", Place(folder), console=Console(file=said, width=1000), **options)
    return pd.read_csv(path), said.getvalue()


@pytest.fixture
def fits(monkeypatch):
    """How many runs each fit was of."""
    sizes = []
    several, alone = beside.run_side_by_side, runs._fit

    def one(*parts, **options):
        sizes.append(1)
        return alone(*parts, **options)

    def together(jobs, **options):
        sizes.append(len(jobs))
        return several(jobs, **options)

    monkeypatch.setattr(runs, "_fit", one)
    monkeypatch.setattr(beside, "run_side_by_side", together)
    return sizes


@pytest.mark.slow
def test_the_figures_numbers_are_those_of_single_runs(tmp_path, fits):
    together, _ = ran("fig3a", tmp_path / "together", side_by_side=3)
    assert max(fits) == 3
    assert sum(fits) == len(together)
    fits.clear()
    alone, _ = ran("fig3a", tmp_path / "alone")
    assert set(fits) == {1}
    pd.testing.assert_frame_equal(together, alone, rtol=1e-5)


def test_groups_are_of_one_network_and_no_run_is_left_out():
    plan = [each.spec for each in whole_plan(figure("fig3a"), "definitive")]
    jobs = [(spec, spec.name) for spec in {spec.name: spec for spec in plan}.values()]
    groups = list(groups_of(jobs, 6))
    assert sorted(name for group in groups for _, name in group) == sorted(name for _, name in jobs)
    assert max(map(len, groups)) == 6
    for group in groups:
        settings = [spec.settings() for spec, _ in group]
        assert all(
            len({str(each[name]) for each in settings}) == 1 for name in settings[0] if name not in VARIES
        )
        assert all(are_alike(group[0][0], spec) for spec, _ in group)
    # Runs come seed by seed, and the groups begin so.
    begins = [jobs.index(group[0]) for group in groups]
    assert begins == sorted(begins)


def test_another_width_and_another_length_are_not_alike():
    one = RunSpec.of(data="digits", hidden=4, epochs=1, beta=0.1)
    assert are_alike(one, RunSpec.of(data="digits", hidden=4, epochs=1, seed=3, beta=0.3))
    assert not are_alike(one, RunSpec.of(data="digits", hidden=5, epochs=1, beta=0.1))
    assert not are_alike(one, RunSpec.of(data="digits", hidden=4, epochs=2, beta=0.1))


def test_what_cannot_be_fitted_at_once_is_said_and_fitted_alone(tmp_path, fits):
    # Softplus has learned priors, with a learning rate of their own.
    numbers, said = ran("fig5", tmp_path, side_by_side=2)
    assert "fitted one by one: --steady-priors gives learned priors" in said
    assert fits.count(1) == numbers["beta_paper"].nunique() * numbers["seed"].nunique()


@pytest.mark.slow
def test_a_failure_side_by_side_is_not_fitted_again(tmp_path, fits, monkeypatch):
    several = beside.run_side_by_side

    def failing(jobs, **options):
        calls.append(len(jobs))
        for folder, found in several(jobs, **options):
            if len(calls) == 4 and not met:  # the first three are fits that choose
                met.append(folder)
                (folder / "result.json").unlink()
                with pytest.raises(FloatingPointError), runs.failure_kept(folder):
                    raise FloatingPointError("no number")
                yield folder, read_failure(folder)
            else:
                yield folder, found

    met, calls = [], []
    monkeypatch.setattr(beside, "run_side_by_side", failing)
    numbers, said = ran("fig3a", tmp_path, side_by_side=3)
    assert f"without {met[0].name}, which failed" in said
    assert sum(fits) == len(numbers) + 1


@pytest.mark.slow
def test_a_figure_out_of_time_goes_on(tmp_path):
    with pytest.raises(StoppedEarly, match="0 of"):
        ran("fig3a", tmp_path, side_by_side=3, until=0.0)
    numbers, _ = ran("fig3a", tmp_path, side_by_side=3, until=time.time() + 600)
    assert len(numbers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--side-by-side", "0"], "--side-by-side must be at least 1"),
        (["--compile"], "--compile goes with runs side by side"),
        (["--side-by-side", "2", "--jobs", "2"], "--side-by-side 2 fits in this process, --jobs 2 in others"),
    ],
    ids=["none", "compile", "jobs"],
)
def test_what_is_refused(words, message, tmp_path, capsys):
    assert main(["paper", "fig3a", "--preset", "smoke", "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

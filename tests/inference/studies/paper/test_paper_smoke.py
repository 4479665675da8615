"""All eight figures and tables at the smallest preset: numbers, pictures, the page, and resumption."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from inference.cli import main
from inference.studies.paper import runner
from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.page import results_page
from inference.studies.paper.place import Place
from inference.studies.paper.runner import draw_figure, run_figure
from inference.studies.paper.statistics import read_rows


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    """One folder for all of them: figures that need the same run share it."""
    return Place(tmp_path_factory.mktemp("paper"))


def numbers_of(name: str, place: Place) -> Path:
    """The figure's CSV, from an earlier test or made now."""
    path = place.out / f"{name}.csv"
    return path if path.exists() else run(name, place)


def run(name: str, place: Place) -> Path:
    return run_figure(name, "smoke", place, console=Console(file=io.StringIO()))


@pytest.mark.parametrize("name", FIGURES)
def test_writes_numbers_pictures_and_runs(name, place):
    rows = read_rows(numbers_of(name, place))
    assert set(rows["preset"]) == {"smoke"}
    assert set(rows["source"].dropna()) == {"stand-in"}
    assert (place.out / f"{name}.png").stat().st_size > 10_000
    assert (place.out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    if name != "table1":
        errors = rows.loc[rows["num_train"].notna(), ["test_error_noisy", "test_error_deterministic"]]
        assert errors.notna().all(axis=None)


@pytest.mark.parametrize("name", FIGURES)
def test_is_drawn_again_from_its_csv_alone(name, place, tmp_path):
    numbers = numbers_of(name, place)
    draw_figure(name, numbers, tmp_path, suffixes=("png",))
    assert (tmp_path / f"{name}.png").read_bytes() == (place.out / f"{name}.png").read_bytes()


def test_a_finished_run_is_not_run_again(place, monkeypatch):
    numbers = numbers_of("fig6", place)
    before = numbers.read_bytes()

    def refuse(*_args, **_options):
        raise AssertionError("a finished run was run again")

    monkeypatch.setattr(runner, "measure_run", refuse)
    assert run("fig6", place).read_bytes() == before


def test_the_page_has_every_claim_with_a_verdict(place):
    page = results_page({name: read_rows(numbers_of(name, place)) for name in FIGURES}, pictures="figures")
    assert page.count("| **") >= 16
    assert "not run" not in page.lower()
    assert "STAND-IN" in page


def test_the_page_says_what_was_not_run(place):
    page = results_page({"fig6": read_rows(numbers_of("fig6", place))}, pictures="figures")
    assert page.count("Not run yet.") == len(FIGURES) - 1


def test_the_command_writes_the_page_beside_the_numbers(place, tmp_path):
    numbers = tmp_path / "figures"
    numbers.mkdir()
    (numbers / "fig6.csv").write_bytes(numbers_of("fig6", place).read_bytes())
    assert main(["paper", "results", "--numbers", str(numbers)]) == 0
    assert "## Figure 6" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


def test_presets_beyond_smoke_need_real_images(monkeypatch, capsys):
    monkeypatch.delenv("IB_PYRO_DATA", raising=False)
    assert main(["paper", "fig1", "--preset", "small"]) == 2
    assert "--data-root" in capsys.readouterr().err


def test_a_misspelt_figure_is_an_error_with_the_nearest_names(capsys):
    assert main(["paper", "fig33"]) == 2
    assert "fig3a" in capsys.readouterr().err


def test_what_is_done_is_collected_and_the_rest_is_left_out(place, tmp_path):
    whole = read_rows(numbers_of("fig6", place))
    part = Place(tmp_path)
    with pytest.raises(ValueError, match="no run of preset smoke"):
        run_figure("fig6", "smoke", part, collect=True, console=Console(file=io.StringIO()))
    done = sorted(path.parent for path in place.runs.glob("*/fig6.json"))[0]
    shutil.copytree(done, part.runs / done.name)
    found = run_figure("fig6", "smoke", part, collect=True, console=Console(file=io.StringIO()))
    assert 0 < len(read_rows(found)) < len(whole)
    assert len(list(part.runs.iterdir())) == 1


def test_fits_that_wait_for_a_choice_are_not_collected_before_it(place, tmp_path):
    numbers_of("fig3a", place)
    part = Place(tmp_path)
    trials = {planned.spec for planned in figure("fig3a").plan("smoke")}
    for folder in part.folders([part.here(spec) for spec in trials]):
        shutil.copytree(place.runs / folder.name, folder)
    with pytest.raises(ValueError, match="only fits that choose"):
        run_figure("fig3a", "smoke", part, collect=True, console=Console(file=io.StringIO()))
    assert len(list(part.runs.iterdir())) == len(trials)

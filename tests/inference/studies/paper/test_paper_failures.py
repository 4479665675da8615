"""A figure without some of its runs says so, in its CSV, its picture, its page and the exit code; the rest goes on."""

import io
import math

import pytest
from rich.console import Console

from ib_pyro.training.divergence import DivergenceError
from inference.cli.main import main
from inference.runs import run as runs
from inference.studies.paper.missing import missing_runs
from inference.studies.paper.page import write_results
from inference.studies.paper.place import Place
from inference.studies.paper.runner import draw_figure, run_figure
from inference.studies.paper.statistics import read_rows

WHY = "epoch 3: site 'z': not finite (rate/z = inf, nats per sample); a smaller learning rate may help"


@pytest.fixture
def diverging(monkeypatch):
    """Make the first run that is fitted diverge."""
    fit, met = runs._fit, []

    def diverge(prepared, folder, **options):
        met.append(folder.path.name)
        if len(met) == 1:
            raise DivergenceError(WHY, site="z", term="rate/z", value=math.inf, epoch=3)
        return fit(prepared, folder, **options)

    monkeypatch.setattr(runs, "_fit", diverge)
    return met


def test_a_figure_says_which_runs_it_lacks(tmp_path, diverging, monkeypatch, capsys):
    monkeypatch.delenv("IB_PYRO_DATA", raising=False)
    words = ["paper", "fig6", "--preset", "smoke", "--out", str(tmp_path)]
    assert main(words) == 1
    told = capsys.readouterr().err.replace("\n", " ")
    assert f"without {diverging[0]}, which failed" in told
    assert "1 runs failed" in told
    assert len(diverging) > 1
    numbers = tmp_path / "fig6.csv"
    assert missing_runs(numbers) == {diverging[0]: WHY}
    assert (tmp_path / "fig6.png").stat().st_size > 10_000
    assert f"**Missing**, since it failed: {diverging[0]} ({WHY})" in write_results(tmp_path).read_text()

    fitted = len(diverging)
    assert main(words) == 1
    assert len(diverging) == fitted
    lacking = read_rows(numbers)
    assert main([*words, "--retry-failed"]) == 0
    assert diverging[fitted:] == [diverging[0]]
    assert len(read_rows(numbers)) > len(lacking)
    assert missing_runs(numbers) == {}
    assert "Missing" not in write_results(tmp_path).read_text()


def test_the_picture_says_how_many_runs_are_missing(tmp_path, diverging):
    console = Console(file=io.StringIO())
    numbers = run_figure("fig6", "smoke", Place(tmp_path), console=console)
    with_word = (tmp_path / "fig6.png").read_bytes()
    numbers.with_name("fig6.missing.csv").unlink()
    draw_figure("fig6", numbers, tmp_path, suffixes=("png",))
    assert (tmp_path / "fig6.png").read_bytes() != with_word


def test_numbers_that_cannot_be_taken_are_a_failure_of_the_figure_alone(tmp_path, monkeypatch):
    from inference.studies.paper import runner

    def measure(*_):
        raise FloatingPointError("the estimate is infinite")

    one = runner.figure("fig6")
    broken = type(one)(**{**vars(one), "measure": measure})
    monkeypatch.setattr(runner, "figure", lambda _: broken)
    with pytest.raises(ValueError, match="fig6: .* failed, and no run is done"):
        run_figure("fig6", "smoke", Place(tmp_path), console=Console(file=io.StringIO()))
    folders = {path.parent for path in tmp_path.glob("runs-stand-in/*/fig6.failure.json")}
    assert folders == {path.parent for path in tmp_path.glob("runs-stand-in/*/result.json")}
    assert not list(tmp_path.glob("**/failure.json"))

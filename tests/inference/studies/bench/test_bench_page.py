"""The page says of each target whether it is met, with the number, from results that are made up."""

from pathlib import Path

import pytest

from inference.studies.bench import TARGETS, Results, verdict, write_page
from inference.studies.bench.growth import Curve, Growth, linear_range, slope
from inference.studies.bench.memory import PeakMemory
from inference.studies.bench.report import page, read_notes
from inference.studies.bench.sheets import comparison_sheet, spread
from inference.studies.bench.start_up import StartUp
from inference.studies.bench.taking_turns import Comparison, Quartiles, Times


def times(*seconds: float) -> tuple[Times, ...]:
    return tuple(Times(each, 2 * each) for each in seconds)


@pytest.fixture
def results() -> Results:
    """H = 64 meets its target captured and not uncaptured; VAE is as slow as Pyro's; the import is too slow."""
    ways = {"by hand": times(1, 2, 4), "captured": times(1.05, 2.1, 4.2), "uncaptured": times(1.4, 2.8, 5.6)}
    vae = {"by hand": times(1, 1), "captured": times(1, 1), "Pyro's tutorial": times(1, 1)}
    return Results(
        "python -m inference bench",
        date="2026-01-01",
        machine={"processor": "an abacus"},
        comparisons=[
            Comparison("MLP, H = 64", "step", 1, "processor", ways),
            Comparison("MNIST VAE", "epoch", 2, "wall", vae),
        ],
        memory=[PeakMemory("MLP, H = 512, batch 9", {"captured": 105, "uncaptured": 110, "by hand": 100})],
        growth=[Growth("width", (1, 2, 4), (1.0, 2.0, 4.0), {"captured": Curve((1, 2, 4), (8, 8, 8))})],
        start_up=StartUp({"ib_pyro": times(1.5, 1.6), "pyro": times(1.0, 1.1)}),
        not_measured={"the moon": "too far"},
    )


def verdicts(results: Results) -> dict[tuple[str, int], str]:
    return {(target.name, target.threads): verdict(target, results) for target in TARGETS}


def test_targets_are_judged_by_their_medians(results: Results) -> None:
    found = verdicts(results)
    assert found["MLP, H = 64, captured", 1] == "met"
    assert found["MLP, H = 64, uncaptured", 1] == "not met"
    assert found["MLP, H = 64, captured", 2] == "not measured"
    assert found["MNIST VAE epoch, captured", 2] == "met"
    assert found["MNIST VAE epoch of Pyro's tutorial over ours", 2] == "not met"
    assert found["peak memory, MLP, captured", 1] == "met"
    assert found["peak memory, MLP, uncaptured", 1] == "not met"
    assert found["import ib_pyro over import pyro", 1] == "not met"
    assert found["8 betas, H = 64, side by side over one by one, captured", 1] == "not measured"


def test_no_two_targets_have_one_name_and_number_of_threads() -> None:
    assert len({(target.name, target.threads) for target in TARGETS}) == len(TARGETS)


def test_ratios_are_of_neighbours() -> None:
    # Both got slower together; the ratio of medians would be 1.
    found = Comparison("", "step", 1, "processor", {"a": times(2, 20, 2), "b": times(1, 10, 100)})
    assert found.ratio("a", "b") == Quartiles(1.01, 2.0, 2.0)
    assert found.seconds("a", "wall").median == 4


def test_page_has_each_target_with_number_and_reason(results: Results) -> None:
    text = page(results, {"MLP, H = 64, uncaptured": "Python takes its time."})
    assert "| MLP, H = 64, captured | 1 | ≤ 1.1x | 1.050 (1.050 to 1.050) | met |" in text
    assert "| MLP, H = 64, uncaptured | 1 | ≤ 1.3x | 1.400 (1.400 to 1.400) | not met |" in text
    assert "| import ib_pyro over import pyro | 1 | ≤ 0.3 s | 0.500 (0.500 to 0.500) | not met |" in text
    assert "- **MLP, H = 64, uncaptured**: Python takes its time." in text
    assert "- **peak memory, MLP, uncaptured**: no reason is noted yet." in text
    assert "**MLP, H = 64, captured**" not in text
    assert "- the moon: too far." in text
    for words in (
        "an abacus",
        "2026-01-01",
        "    python -m inference bench",
        "| width | captured | 1 to 4 | 1.00 |",
    ):
        assert words in text


def test_page_is_written_again_from_its_numbers(results: Results, tmp_path: Path) -> None:
    (tmp_path / "NOTES.md").write_text("# Notes\n\n## MLP, H = 64, uncaptured\n\nA reason.\n")
    first = write_page(results, tmp_path).read_text()
    assert "A reason." in first
    assert (tmp_path / "growth.png").stat().st_size > 1000
    assert write_page(Results.read(tmp_path / "results.json"), tmp_path).read_text() == first


def test_notes_on_what_is_no_target_are_refused(tmp_path: Path) -> None:
    (tmp_path / "NOTES.md").write_text("## The weather\n\nRain.\n")
    with pytest.raises(ValueError, match="no target is called 'The weather'"):
        read_notes(tmp_path / "NOTES.md")
    assert read_notes(tmp_path / "none.md") == {}


def test_tables_show_both_clocks_where_several_threads_compute(results: Results) -> None:
    assert comparison_sheet(results.comparisons[0]).columns == ["way", "ms, processor time", "over by hand"]
    assert "ms, wall clock" in comparison_sheet(results.comparisons[1]).columns
    assert spread(Quartiles(1, 2, 3), 1e3) == "2000.0 (1000.0 to 3000.0)"


def test_growth_is_fitted_in_logarithms() -> None:
    work = [1.0, 2.0, 4.0, 8.0]
    assert slope(work, [3 * each**2 for each in work]) == pytest.approx(2)
    assert linear_range((1, 2, 4, 8), work, [5.0, 5.1, 10.2, 20.4]) == (2, None)
    assert linear_range((1, 2, 4, 8), work, [1.0, 2.0, 4.0, 16.0]) == (1, 4)
    assert linear_range((1, 2, 4, 8), work, [1.0, 1.0, 1.0, 1.0]) == (None, None)

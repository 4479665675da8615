"""The whole demo, and its comparison on right labels: choices, tables, figures, and nothing done twice."""

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from inference.studies.demo import CleanLabels, Setting, grid, run_demo, run_studies, typicality, wrong_labels
from inference.studies.demo.fitted_rows import FittedRows
from inference.studies.demo.pictures import learned_alpha
from inference.studies.demo.study import Study, Work
from inference.studies.demo.summary import Mean, summarize
from inference.studies.demo.table import summary_markdown, summary_table
from models.mlp import MLP

WEAK, STRONG = Setting("binary", "drop_prob", 0.1), Setting("binary", "drop_prob", 0.5)


def result(held_out: float, test: float) -> dict[str, float]:
    errors = {"validation_error_deterministic": held_out, "test_error_deterministic": test}
    return {**errors, "test_error_predictive": test, "distortion": 0.1, "rate": 0.0, "beta": 0.0}


def test_choice_is_made_on_held_out_images() -> None:
    runs = {WEAK: [result(0.03, 0.01), result(0.03, 0.01)], STRONG: [result(0.02, 0.05), result(0.02, 0.07)]}
    weak, strong = summarize(runs)
    assert (weak.chosen, strong.chosen) == (False, True)
    assert strong.error.value == pytest.approx(0.06)
    assert strong.error.error == pytest.approx(0.01)
    assert strong.seeds == 2


def test_single_seed_has_no_standard_error() -> None:
    assert math.isnan(Mean.of([1.0]).error)
    rows = list(summary_table(summarize({WEAK: [result(0.03, 0.01)]})).columns[1].cells)
    assert rows == ["3.00"]


def test_table_fits_a_terminal_of_80_columns() -> None:
    runs = [{**result(0.034, 0.03), "rate": 63.5}, {**result(0.01, 0.02), "rate": 60.5}]
    table = summary_table(summarize({Setting("information", "beta_paper", 30): runs, WEAK: runs}))
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    assert "information beta_paper 30 *" in console.file.getvalue()
    assert "62.00 ± 1.50" in console.file.getvalue()


def test_page_shows_the_choices_alone() -> None:
    runs = {WEAK: [result(0.03, 0.01)] * 2, STRONG: [result(0.02, 0.05), result(0.02, 0.07)]}
    assert summary_markdown(summarize(runs))[2:] == ["| binary | p 0.5 | 6.0 ± 12.7 | 6.0 ± 12.7 |"]


def test_methods_have_the_same_budget() -> None:
    counts = {
        name: sum(s.dropout == name for s in grid.GRID) for name in ("information", "binary", "constant")
    }
    assert len(set(counts.values())) == 1
    assert [s for s in grid.GRID if s.dropout == "none"] == [Setting("none")]


def test_learned_alpha_is_the_layers_own() -> None:
    program = MLP(hidden=5, image_shape=(1, 4, 4)).eval()
    x = torch.rand(3, 1, 4, 4)
    alpha = learned_alpha(program, x)
    assert list(alpha) == ["z1", "z2", "z3"]
    layer = program.encoder.z1
    torch.testing.assert_close(alpha["z1"], layer.alpha(x.flatten(1)))
    torch.testing.assert_close(alpha["z2"], program.encoder.z2.alpha(layer.features(x.flatten(1)).relu()))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few settings of each study."""
    information = (Setting("information", "beta_paper", 0.3), Setting("information", "beta_paper", 3.0))
    monkeypatch.setattr(grid, "GRID", (*information, WEAK, Setting("none")))
    for method, (option, values) in wrong_labels.METHODS.items():
        monkeypatch.setitem(wrong_labels.METHODS, method, (option, values[1:3]))
    for name, network in typicality.NETWORKS.items():
        monkeypatch.setitem(typicality.NETWORKS, name, replace(network, betas=network.betas[:1]))


FILES = {
    "alpha.png",
    "clean_labels.csv",
    "rate_distortion.png",
    "runs",
    "tables.md",
    "typicality.csv",
    "typicality.png",
    "typicality_fits.csv",
    "typicality_scores.csv",
    "wrong_labels.csv",
    "wrong_labels.png",
    "wrong_labels_fits.csv",
}


@pytest.mark.usefixtures("small")
def test_demo_says_what_it_does_does_nothing_twice_and_is_the_same_elsewhere(tmp_path: Path) -> None:
    out, piped = tmp_path / "demo", io.StringIO()
    run_demo(out, seeds=2, epochs=1, processes=1, console=Console(file=piped, width=80))
    assert {path.name for path in out.iterdir()} == FILES
    lines = [line for line in piped.getvalue().splitlines() if re.match(r" *\d+ s  \d+/30  ", line)]
    # Two seeds of four settings; of three noises at two strengths and none, stopped once; of four networks.
    assert len(lines) == 2 * (4 + 3 * 2 + 1 + 4) == 30
    assert all("held-out error" in line for line in lines)
    assert "test" not in "".join(lines)
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*fits.csv")}
    kept |= {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")}
    again = io.StringIO()
    run_demo(out, seeds=2, epochs=1, processes=1, console=Console(file=again, width=80))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    tables = piped.getvalue().split(" 30/30  ")[1].splitlines()[1:]
    assert again.getvalue().splitlines() == tables
    run_demo(tmp_path / "twin", seeds=2, epochs=1, processes=1, console=Console(file=io.StringIO()))
    for name in FILES - {"runs", "alpha.png", "rate_distortion.png"}:
        assert (tmp_path / "twin" / name).read_bytes() == (out / name).read_bytes(), name


def test_progress_is_a_line_a_fit_in_a_pipe_as_soon_as_it_is_done() -> None:
    printed: list[str] = []

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            printed.append(text)
            return len(text)

    class Two(Study):
        name = "two"

        def waiting(self) -> list[Work]:
            return [Work(self.name, str, number, fits=2) for number in (1, 2)]

        def keep(self, found: str) -> list[str]:
            printed.append(f"kept {found}")
            return [f"{found}a", f"{found}b"]

        def finish(self) -> None:
            printed.append("finished")

        def table(self) -> str:
            return ""

        def markdown(self) -> list[str]:
            return []

    run_studies([Two()], processes=1, console=Console(file=Pipe()))
    text = re.sub(r"\d+ s", "0 s", "".join(printed))
    expected = ["kept 1   0 s  1/4  two: 1a", "   0 s  2/4  two: 1b"]
    expected += ["kept 2   0 s  3/4  two: 2a", "   0 s  4/4  two: 2b", "finished"]
    assert text.splitlines()[1:] == expected


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is not empty and holds no demo"):
        run_demo(tmp_path, seeds=1, epochs=1)


def test_folder_of_another_demo_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "GRID", (Setting("information", "beta_paper", 1.0), Setting("none")))
    console = Console(file=io.StringIO())
    run_studies([CleanLabels(tmp_path, seeds=1, epochs=1)], processes=1, console=console)
    with pytest.raises(ValueError, match="epochs: 1 there, 2 here"):
        run_studies([CleanLabels(tmp_path, seeds=1, epochs=2)], processes=1, console=console)


def test_numbers_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"name": "b", "share": 1 / 3, "seed": 1}, {"name": "a", "share": 1e-17, "seed": 0}]
    FittedRows(tmp_path / "rows.csv", epochs=3).add(rows, order=["name"])
    again = FittedRows(tmp_path / "rows.csv", epochs=3)
    assert again.rows == [{"epochs": 3, **row} for row in reversed(rows)]
    assert again.of(name="b") == [{"epochs": 3, **rows[0]}]
    with pytest.raises(ValueError, match="rows.csv: epochs: 3 there, 4 here"):
        FittedRows(tmp_path / "rows.csv", epochs=4)


def test_a_row_that_is_there_already_is_not_there_twice(tmp_path: Path) -> None:
    """Who is killed between two files of one share does that share again."""
    path = tmp_path / "rows.csv"
    FittedRows(path, epochs=3).add([{"name": "b", "share": 0.5}, {"name": "a", "share": 1.0}], order=["name"])
    again = FittedRows(path, epochs=3)
    again.add([{"name": "b", "share": 0.25}], order=["name"])
    assert again.rows == FittedRows(path, epochs=3).rows
    assert [(row["name"], row["share"]) for row in again.rows] == [("a", 1.0), ("b", 0.25)]


def test_a_setting_without_an_error_is_chosen_last_and_its_mean_is_none() -> None:
    names = ("validation_error_deterministic", "test_error_deterministic", "test_error_predictive")
    names += ("distortion", "rate")
    lost, kept = Setting("binary", "drop_prob", 0.1), Setting("binary", "drop_prob", 0.2)
    results = {
        setting: [{"beta": 0.0, **dict.fromkeys(names, value)} for value in values]
        for setting, values in {lost: (0.1, None), kept: (0.3, 0.5)}.items()
    }
    for order in ((lost, kept), (kept, lost)):
        found = {s.setting: s for s in summarize({setting: results[setting] for setting in order})}
        assert not found[lost].chosen
        assert found[kept].chosen
        assert math.isnan(found[lost].error.value)
        assert found[kept].error.value == pytest.approx(0.4)
        assert found[lost].error.percent() == "nan"


class Kept(Study):
    """A study of two shares that keeps what it is given."""

    def __init__(self, name: str, *expressions: str) -> None:
        self.name, self._expressions, self.kept, self.is_finished = name, expressions, [], False

    def waiting(self) -> list[Work]:
        return [Work(self.name, eval, expression) for expression in self._expressions]

    def keep(self, found: object) -> list[str]:
        self.kept.append(found)
        return [f"found {found}"]

    def finish(self) -> None:
        self.is_finished = True

    def table(self) -> str:
        return f"table of {self.name}"

    def markdown(self) -> list[str]:
        return []


def test_a_fit_that_fails_leaves_its_study_unfinished_and_the_others_alone() -> None:
    console = Console(file=io.StringIO(), width=140)
    good, bad = Kept("good", "1 + 1", "2 + 2"), Kept("bad", "1 / 0", "3 + 3")
    [(study, failure)] = run_studies([bad, good], processes=1, console=console)
    assert (study, failure.type) == (bad, "ZeroDivisionError")
    assert (good.kept, good.is_finished) == ([2, 4], True)
    assert (bad.kept, bad.is_finished) == ([6], False)
    assert "bad: failed: division by zero" in console.file.getvalue()

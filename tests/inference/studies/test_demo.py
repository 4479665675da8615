"""The comparison: choices on held-out images, a table, figures, and nothing done twice."""

import csv
import io
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from inference.studies.demo import Setting, compare, grid
from inference.studies.demo.pictures import learned_alpha
from inference.studies.demo.summary import Mean, summarize
from inference.studies.demo.table import summary_table
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


def test_demo_runs_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information = (Setting("information", "beta_paper", 0.3), Setting("information", "beta_paper", 3.0))
    monkeypatch.setattr(grid, "GRID", (*information, WEAK, Setting("none")))
    console = Console(file=io.StringIO(), width=140)
    out = tmp_path / "demo"
    summaries = compare(out, seeds=2, epochs=1, processes=1, console=console)
    assert [summary.setting.dropout for summary in summaries] == [
        "information",
        "information",
        "binary",
        "none",
    ]
    assert "errors on digits: mean ± standard error over 2 seeds" in console.file.getvalue()
    for name in ("rate_distortion.png", "alpha.png"):
        assert (out / name).stat().st_size > 10_000
    with (out / "summary.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[1]["rate"]) == pytest.approx(summaries[1].rate.value)
    written = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")}
    assert len(written) == 8 * 4
    again = compare(out, seeds=2, epochs=1, processes=1, console=console)
    assert again == summaries
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")} == written


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is not empty and holds no demo"):
        compare(tmp_path, seeds=1, epochs=1)


def test_folder_of_another_demo_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "GRID", (Setting("information", "beta_paper", 1.0), Setting("none")))
    console = Console(file=io.StringIO())
    compare(tmp_path, seeds=1, epochs=1, processes=1, console=console)
    with pytest.raises(ValueError, match="epochs: 1 there, 2 here"):
        compare(tmp_path, seeds=1, epochs=2, processes=1, console=console)

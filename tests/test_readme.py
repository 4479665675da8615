"""The README's program runs as printed, and what it prints is worth printing."""

import csv
import re
from pathlib import Path

import pytest

from inference.studies.demo.fitted_rows import FittedRows
from inference.studies.demo.separation import Separation
from inference.studies.demo.separation_table import separation_markdown
from inference.studies.demo.wrong_labels_table import outcome_markdown, outcomes

README = Path(__file__).parents[1] / "README.md"


def test_the_program_of_the_readme_runs_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(README), "exec"), {})
    printed = capsys.readouterr().out
    error = float(re.search(r"test error ([\d.]+)%", printed).group(1))
    assert error < 10
    (shown,) = re.findall(r"```text\n(.*?)```", README.read_text(), flags=re.DOTALL)
    number = r"\d+\.\d+"
    assert re.sub(number, "0", printed) == re.sub(number, "0", shown)
    # Other processors round otherwise, and twenty epochs carry that on.
    found, expected = ([float(each) for each in re.findall(number, text)] for text in (printed, shown))
    assert found == pytest.approx(expected, rel=0.3)


def test_every_folder_of_the_rooms_exists() -> None:
    rooms = re.findall(r"^\| `(\w+)/`", README.read_text(), flags=re.MULTILINE)
    assert rooms[:3] == ["ib_pyro", "models", "inference"]
    for room in ["ib_pyro", "models", "inference", "tests"]:
        assert (README.parent / room).is_dir()


DEMO = README.parent / "inference" / "figures" / "demo"


def test_the_demos_tables_and_figures_are_those_that_the_command_wrote() -> None:
    text = README.read_text()
    for table in (DEMO / "tables.md").read_text().split("\n\n"):
        assert table.strip() in text
    shown = re.findall(r"^!\[[^]]+\]\((\S+)\)$", text, flags=re.MULTILINE)
    assert shown == [f"inference/figures/demo/{name}.png" for name in ("wrong_labels", "typicality")]
    assert all((README.parent / path).stat().st_size > 10_000 for path in shown)


def test_the_demos_tables_are_of_the_numbers_beside_them() -> None:
    wrong, typicality, _ = (DEMO / "tables.md").read_text().split("\n\n")
    fits = FittedRows(DEMO / "wrong_labels_fits.csv").rows
    assert wrong.splitlines() == outcome_markdown(outcomes(fits))
    with (DEMO / "typicality.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    words = ("network", "score", "images")
    found = [
        Separation(*(row[w] for w in words), *(float(row[n]) for n in ("auroc", "low", "high")))
        for row in rows
    ]
    assert typicality.splitlines() == separation_markdown(found)

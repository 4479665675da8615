"""The committed page is what its numbers give."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from inference.cli import main
from inference.studies.paper.figures import figure
from inference.studies.paper.page import results_page
from inference.studies.paper.runner import draw_figure, with_numbers
from inference.studies.paper.statistics import read_rows

NUMBERS = Path(__file__).parents[4] / "inference" / "figures"
SHOWN = with_numbers(NUMBERS)


@pytest.fixture(scope="module")
def page():
    rows = {name: read_rows(NUMBERS / f"{name}.csv") for name in SHOWN}
    return results_page(rows, pictures="figures")


def test_the_committed_page_follows_from_the_committed_numbers(page):
    assert (NUMBERS.parent / "RESULTS.md").read_text(encoding="utf-8") == page


def test_every_picture_that_the_page_shows_is_there(page):
    shown = [part.split(")")[0] for part in page.split("](")[1:]]
    pictures = [name for name in shown if name.endswith(".png")]
    assert len(pictures) == len(SHOWN) + 2
    assert all((NUMBERS.parent / name).exists() for name in pictures)


def test_committed_numbers_are_of_real_images():
    for name in SHOWN:
        assert set(read_rows(NUMBERS / f"{name}.csv")["source"].dropna()) == {"real"}


@pytest.mark.parametrize("what", ["draw", "results"])
def test_a_folder_without_numbers_is_an_error(what, tmp_path, capsys):
    assert main(["paper", what, "--numbers", str(tmp_path)]) == 2
    assert "no CSV" in capsys.readouterr().err


def test_samples_are_drawn_without_real_images_as_what_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("IB_PYRO_DATA", raising=False)
    assert main(["paper", "samples", "--preset", "smoke", "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("samples-*.png"))) == 2
    assert main(["paper", "samples", "--out", str(tmp_path)]) == 2
    assert "--data-root" in capsys.readouterr().err


def test_every_line_of_a_table_has_the_cells_of_its_head(page):
    cells = 0
    for line in page.splitlines():
        if line.startswith("|---"):
            cells = line.count("|")
        elif not line.startswith("|"):
            cells = 0
        elif cells:
            assert line.count("|") == cells, line


@pytest.mark.parametrize("name", SHOWN)
def test_the_committed_numbers_are_drawn(name, tmp_path):
    draw_figure(name, NUMBERS / f"{name}.csv", tmp_path, suffixes=("png",))
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


@pytest.mark.parametrize("preset", ["", "definitive"])
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_is_cut_off_at_the_edge(name, preset):
    rows = read_rows(NUMBERS / f"{name}.csv")
    drawn = figure(name).draw(rows.assign(preset=preset) if preset else rows)
    drawn.canvas.draw()
    inside = drawn.get_tightbbox()
    width, height = drawn.get_size_inches()
    plt.close(drawn)
    assert inside.x0 > -0.02
    assert inside.y0 > -0.02
    assert inside.x1 < width + 0.02
    assert inside.y1 < height + 0.02


def test_numbers_are_read_to_the_last_digit_and_nothing_but_the_empty_is_missing(tmp_path):
    values = [0.1 + 0.2, 1 / 3, 2.0**-60, 7]
    lines = [
        "number,word,truth",
        f"{values[0]!r},none,True",
        f"{values[1]!r},NA,False",
        f"{values[2]!r},,",
        "7,null,",
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    rows = read_rows(tmp_path / "rows.csv")
    assert rows["number"].tolist() == values
    assert rows["word"].tolist()[:2] == ["none", "NA"]
    assert rows["word"].isna().tolist() == [False, False, True, False]
    assert rows["truth"].tolist()[:2] == [True, False]

"""A figure takes numbers of its own runs and their images only, and sums all of them by one number of threads."""

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from inference.json_and_csv import read_json, write_json
from inference.runs import splits as splits_module
from inference.runs.folder import RunFolder
from inference.studies.paper.place import Place
from inference.studies.paper.runner import run_figure

NAME = "fig6"


def draw(place: Place, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=200)
    run_figure(NAME, "smoke", place, console=console, **options)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("paper"))
    draw(place)
    return place


@pytest.fixture
def place(done: Place, tmp_path: Path) -> Place:
    """A copy of a figure whose runs are done."""
    shutil.copytree(done.out, tmp_path / "copy")
    return Place(tmp_path / "copy")


def runs_of(place: Place) -> list[Path]:
    return sorted(path.parent for path in place.runs.glob(f"*/{NAME}.json"))


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Change one pixel of one test image."""
    make = splits_module.make_stand_in

    def changed(name: str, split: str, limit: int | None) -> Any:
        found = make(name, split, limit)
        if split != "test":
            return found
        x = found.x.clone()
        x[0, 0, 0, 0] = 0.25
        return replace(found, x=x)

    def change_one() -> None:
        splits_module.load_splits.cache_clear()
        monkeypatch.setattr(splits_module, "make_stand_in", changed)

    yield change_one
    splits_module.load_splits.cache_clear()


def test_a_figure_that_is_done_is_drawn_again(place: Place) -> None:
    before = (place.out / f"{NAME}.csv").read_bytes()
    assert "unverified" not in draw(place)
    assert (place.out / f"{NAME}.csv").read_bytes() == before


def test_numbers_of_other_images_are_refused(place: Place, change: Callable[[], None]) -> None:
    change()
    with pytest.raises(ValueError, match=r"are not those of the fit \(fingerprints: test"):
        draw(place)
    # What has been measured can still be collected, where there are no images at all.
    draw(place, collect=True)


def test_numbers_of_another_run_are_refused(place: Place) -> None:
    first, second, *_ = runs_of(place)
    shutil.copy(second / f"{NAME}.json", first / f"{NAME}.json")
    for options in ({}, {"collect": True}):
        with pytest.raises(ValueError, match=rf"{NAME}\.json is of a run of other settings"):
            draw(place, **options)


def test_numbers_that_were_edited_are_refused(place: Place) -> None:
    path = runs_of(place)[0] / f"{NAME}.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(ValueError, match="its checksum is another"):
        draw(place)


def test_what_an_earlier_version_wrote_is_taken_and_said(place: Place) -> None:
    before = (place.out / f"{NAME}.csv").read_bytes()
    for folder in runs_of(place):
        write_json(folder / f"{NAME}.json", {"rows": read_json(folder / f"{NAME}.json")["rows"]})
        told = read_json(folder / "config.json")
        of_old = {n: v for n, v in told.items() if n not in ("digest", "fingerprints", "threads")}
        write_json(folder / "config.json", of_old)
        result = read_json(folder / "result.json")
        write_json(folder / "result.json", {n: v for n, v in result.items() if n != "digest"})
    said = draw(place)
    assert f"{len(runs_of(place))} of {len(runs_of(place))} runs that are done are unverified" in said
    assert (place.out / f"{NAME}.csv").read_bytes() == before


def test_all_runs_of_a_figure_have_one_number_of_threads(place: Place) -> None:
    first, *_ = runs_of(place)
    told = read_json(first / "config.json")
    assert {RunFolder(folder).threads for folder in runs_of(place)} == {told["threads"]}
    for folder in runs_of(place):
        content = read_json(folder / "config.json")
        write_json(folder / "config.json", {**content, "threads": 2}, sealed=True)
    gone = runs_of(place)[-1]
    shutil.rmtree(gone)
    draw(place)
    assert RunFolder(gone).threads == 2

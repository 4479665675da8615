"""The samples' pictures say what they show, and whether it is the real thing."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from inference.runs.stand_in import stand_in
from inference.studies.paper import samples
from inference.studies.paper.place import Place
from inference.studies.paper.samples import draw_samples

NAMES = ["samples-occluded-cifar.png", "samples-cluttered-mnist.png"]


@pytest.fixture
def titles(monkeypatch) -> list[str]:
    """Headings of the figures that a test saves."""
    found = []
    save = Figure.savefig

    def spy(figure, *args, **options):
        found.append(figure.get_suptitle())
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", spy)
    return found


def test_stand_ins_are_drawn_and_named_so(tmp_path, titles):
    paths = draw_samples(Place(tmp_path), tmp_path / "pictures")
    assert [path.name for path in paths] == NAMES
    assert all(path.stat().st_size > 10_000 for path in paths)
    assert len(titles) == 2
    assert all(title.startswith("STAND-IN") for title in titles)
    assert not plt.get_fignums()


def test_real_images_are_a_few_of_the_root_given(tmp_path, titles, monkeypatch):
    asked = []

    def load(name, split, *, root, limit):
        asked.append((name, split, root, limit))
        return stand_in(name, split, limit)

    monkeypatch.setattr(samples, "load", load)
    draw_samples(Place(tmp_path, tmp_path / "data"), tmp_path)
    assert asked == [(name, "test", tmp_path / "data", 8) for name in ("occluded-cifar", "cluttered-mnist")]
    assert not any("STAND-IN" in title for title in titles)

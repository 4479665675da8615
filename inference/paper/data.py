"""The data of a run, prepared as the paper prepares them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from ib_pyro.data import ZCA, LabelledImages, load, normalize_per_image
from inference.paper.run import PaperRun, Place
from inference.paper.stand_in import stand_in

__all__ = ["Splits", "load_splits"]


@dataclass(frozen=True)
class Splits:
    """What a run is fitted to, chosen by and tested on.

    Args:
        train: Images to fit.
        validation: Held-out images of the training pool; None if the run needs none.
        test: Test images.
        source: ``"real"``, or ``"stand-in"`` for images made of scikit-learn's digits.
    """

    train: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages
    source: str


def load_splits(run: PaperRun, place: Place) -> Splits:
    """Load and prepare the splits of a run; the last ones stay in memory, and are not to be changed.

    Args:
        run: Names the set and its sizes.
        place: Where the images lie; the fitted whitening is kept in ``place.out``.
    """
    sizes = (run.train_images, run.validation_images, run.test_images)
    return _load(run.data, sizes, run.holdout, run.whiten, place)


@lru_cache(maxsize=1)
def _load(
    name: str,
    sizes: tuple[int | None, int | None, int | None],
    holdout: int | None,
    whiten: bool,
    place: Place,
) -> Splits:
    parts = []
    for split, size in zip(("train", "validation", "test"), sizes, strict=True):
        if split == "validation" and size == 0:
            parts.append(None)
        elif place.data_root is None:
            parts.append(stand_in(name, split, size))
        else:
            parts.append(load(name, split, root=place.data_root, limit=size, holdout=holdout))
    train, validation, test = parts
    assert train is not None
    assert test is not None
    if whiten:
        # A stand-in's few images determine no covariance of 3,072 values.
        zca = None if place.data_root is None else _whitening(name, holdout, place)
        train, test = _prepare(train, zca), _prepare(test, zca)
        validation = None if validation is None else _prepare(validation, zca)
    return Splits(train, validation, test, "stand-in" if place.data_root is None else "real")


def _prepare(data: LabelledImages, zca: ZCA | None) -> LabelledImages:
    x = normalize_per_image(data.x)
    return replace(data, x=x if zca is None else zca(x))


def _whitening(name: str, holdout: int | None, place: Place) -> ZCA:
    """Fit ZCA to the whole training split, whatever share of it a run fits its network to."""
    kept = "" if holdout is None else f"-holdout{holdout}"
    path = place.out / f"zca-{name}{kept}.pt"
    if not path.exists():
        place.out.mkdir(parents=True, exist_ok=True)
        whole = load(name, "train", root=place.data_root, holdout=holdout)
        ZCA.fit(normalize_per_image(whole.x)).save(path)
    return ZCA.load(path)

"""The splits of a set, prepared as the paper prepares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ib_pyro.data import ZCA, LabelledImages, load, normalize_per_image
from ib_pyro.data.cache import fingerprint
from ib_pyro.data.request import cache_folder
from inference.runs.own_data import Part, load_own
from inference.runs.settings import Scalar
from inference.runs.stand_in import stand_in as make_stand_in

__all__ = ["Splits", "load_splits", "mislabelled"]


@dataclass(frozen=True)
class Splits:
    """What a run is fitted to, chosen by and tested on.

    Args:
        train: Images to fit; of one's own data, samples that may be no images.
        validation: Held-out images of the training pool; None if the run needs none.
        test: Test images.
        source: ``"real"``, ``"stand-in"`` for images made of scikit-learn's digits, or ``"own"``.
        fingerprints: Of the images and labels of each split before they are prepared, and of the whitening; other
            content has others.
    """

    train: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages
    source: str
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def load_splits(
    name: str,
    limits: tuple[tuple[str, int | None], ...],
    *,
    root: Path | None = None,
    seed: int = 0,
    holdout: int | None = None,
    whiten: bool = False,
    wrong_labels: float = 0.0,
    stand_in: bool = False,
    cache: Path | None = None,
    options: tuple[tuple[str, Scalar], ...] | None = None,
    state: str = "",
) -> Splits:
    """Load and prepare a set; the last one stays in memory, and is not to be changed.

    Args:
        name: The set.
        limits: At most how many images of each split, 0 for a split that is not wanted.
        root: Folder of the real images.
        seed: Of generated sets.
        holdout: Images held out of the training pool; None for the set's own number.
        whiten: Normalise each image, and whiten all of them as the training split asks.
        wrong_labels: Share of the training images that are given a wrong label; the other splits keep theirs.
        stand_in: Take stand-ins made of digits.
        cache: Folder that keeps the fitted whitening; by default that of the data's cache.
        options: Of data of the user's own, their options; None of a set by name.
        state: Stands for what they are made of: where it is another, they are loaded again.
    """
    parts: dict[str, Any] = {}
    if options is not None:
        own = {"options": dict(options), "root": root, "seed": seed, "holdout": holdout}
        parts = dict(load_own(name, dict(limits), **own))
    for split, size in () if options is not None else limits:
        if size == 0:
            parts[split] = None
        elif stand_in:
            parts[split] = make_stand_in(name, split, size)
        else:
            parts[split] = _load(name, split, root=root, limit=size, seed=seed, holdout=holdout)
    prints = {split: _fingerprint(part) for split, part in parts.items() if part is not None}
    if whiten:
        # A stand-in's few images determine no covariance of 3,072 values.
        zca = None if stand_in else _whitening(name, holdout, root, seed, cache)
        parts = {split: None if part is None else _prepare(part, zca) for split, part in parts.items()}
        if zca is not None:
            prints["whitening"] = fingerprint(zca.mean, zca.whitening)
    train = parts["train"]
    if wrong_labels > 0 and train is not None:
        if not isinstance(train, LabelledImages):
            raise ValueError(
                f"--wrong-labels {wrong_labels:g} goes with labelled images, which --data {name} has not"
            )
        parts["train"] = mislabelled(train, wrong_labels, seed)
    source = "stand-in" if stand_in else "real" if options is None else "own"
    return Splits(**parts, source=source, fingerprints=prints)


def _load(name: str, split: str, **options: Any) -> LabelledImages:
    try:
        return load(name, split, **options)
    except ValueError as error:
        # The limits of the splits are three settings.
        kept = "" if split == "train" else f"{split}_"
        raise ValueError(f"{kept if str(error).startswith('limit: ') else ''}{error}") from error


def mislabelled(data: LabelledImages, share: float, seed: int) -> LabelledImages:
    """Give a share of the images, at random, any of the other labels.

    Args:
        data: Images with their labels.
        share: Share of the images, in [0, 1].
        seed: Seed of which images, and of their labels.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data), generator=generator)[: round(share * len(data))]
    shift = torch.randint(1, data.num_classes, (len(chosen),), generator=generator)
    y = data.y.clone()
    y[chosen] = (y[chosen] + shift) % data.num_classes
    return replace(data, y=y)


def _prepare(data: LabelledImages, zca: ZCA | None) -> LabelledImages:
    x = normalize_per_image(data.x)
    return replace(data, x=x if zca is None else zca(x))


def _whitening(name: str, holdout: int | None, root: Path | None, seed: int, cache: Path | None) -> ZCA:
    """Fit ZCA to the whole training split, whatever share of it a run fits its network to."""
    whole = load(name, "train", root=root, seed=seed, holdout=holdout)
    return ZCA.fitted(normalize_per_image(whole.x), cache or cache_folder(None))


def _fingerprint(part: Part) -> str:
    more = [getattr(part, name, None) for name in ("nuisance", "box")]
    more = [tensor for tensor in more if tensor is not None]
    return fingerprint(part.x, part.y, *more)

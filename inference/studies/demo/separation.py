"""How well a score tells images of other kinds from known ones: areas under the ROC curve, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "PCA_VARIANCE",
    "Separation",
    "auroc_with_interval",
    "pca_residual",
    "separation_rows",
    "separations",
]

PCA_VARIANCE = 0.9
"""Share of the training images' variance that the principal components keep."""
_RESAMPLES = 1000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Separation:
    """How well one score tells one kind of images apart.

    Args:
        network: Name of the network, or ``images`` for a score of the pixels alone.
        score: Name of the score.
        images: Kind of the images.
        auroc: Area under the ROC curve against known test digits, its mean over the seeds; 0.5 is chance.
        low: Lower end of its 95 % bootstrap interval, over images and seeds.
        high: Upper end.
    """

    network: str
    score: str
    images: str
    auroc: float
    low: float
    high: float


def separations(
    rows: Iterable[Mapping[str, Any]], train: Tensor, test: Mapping[str, Tensor]
) -> list[Separation]:
    """Compare every score of every network, and what principal components make of the pixels.

    Args:
        rows: A row a fit and image, as ``typicality.fit_network`` returns them.
        train: Training images of the known classes, ``[N, ...]``.
        test: Test images by their kind.

    Returns:
        A row a score and kind, the kinds in the order of ``test``.
    """
    found: list[Separation] = []
    for network, scores in _by_network(rows).items():
        for score, values in _scores(scores).items():
            found += _of_each_kind(network, score, values, test)
    residual = {kind: pca_residual(train, x)[None] for kind, x in test.items()}
    return [*found, *_of_each_kind("images", "PCA residual", residual, test)]


def auroc_with_interval(known: Floats, other: Floats, *, seed: int = 0) -> tuple[float, float, float]:
    """Area under the ROC curve of a score that is large for the others, with a 95 % bootstrap interval.

    Images are drawn anew, the same for all seeds, and seeds are drawn anew.

    Args:
        known: Scores of known images under each seed, ``[S, N]``.
        other: Scores of the others, ``[S, M]``.
        seed: Seed of the bootstrap.

    Returns:
        The mean over the seeds, and both ends.

    >>> auroc_with_interval(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    (1.0, 1.0, 1.0)
    """
    wins = (other[:, :, None] > known[:, None, :]) + 0.5 * (other[:, :, None] == known[:, None, :])
    generator = np.random.default_rng(seed)
    weights = [_resampled(generator, size) for size in (len(wins), other.shape[1], known.shape[1])]
    of_seeds = np.stack(
        [np.einsum("bm,mn,bn->b", weights[1], each, weights[2], optimize=True) for each in wins], 1
    )
    low, high = np.quantile((weights[0] * of_seeds).sum(1), [0.025, 0.975])
    return float(wins.mean()), float(low), float(high)


def pca_residual(train: Tensor, x: Tensor) -> Floats:
    """Squared distance of images from the leading principal components of the training images.

    Args:
        train: Training images, ``[N, ...]``; as many components as hold ``PCA_VARIANCE`` of their variance.
        x: Images, ``[M, ...]``.

    Returns:
        ``[M]``.
    """
    from sklearn.decomposition import PCA

    components = PCA(PCA_VARIANCE, svd_solver="full").fit(train.flatten(1).double().numpy())
    flat = x.flatten(1).double().numpy()
    residual: Floats = ((flat - components.inverse_transform(components.transform(flat))) ** 2).sum(1)
    return residual


def separation_rows(found: Sequence[Separation]) -> list[dict[str, Any]]:
    """Rows of a CSV file."""
    return [dict(vars(entry)) for entry in found]


def _by_network(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Floats]]]:
    """Entropy and rate by network and kind of images, ``[S, N]`` each."""
    lists: dict[str, dict[str, dict[str, dict[int, list[float]]]]] = {}
    for row in rows:
        kinds = lists.setdefault(row["network"], {"entropy": {}, "rate": {}})
        for score, values in kinds.items():
            values.setdefault(row["images"], {}).setdefault(row["seed"], []).append(row[score])
    return {
        network: {
            score: {kind: np.array(list(seeds.values())) for kind, seeds in values.items()}
            for score, values in scores.items()
        }
        for network, scores in lists.items()
    }


def _scores(values: Mapping[str, Mapping[str, Floats]]) -> dict[str, Mapping[str, Floats]]:
    """Entropy and, of a network with noise, the rate and both together."""
    entropy, rate = values["entropy"], values["rate"]
    if not any(part.any() for part in rate.values()):
        return {"entropy": entropy}
    standard = [_standardised(part) for part in (entropy, rate)]
    # More entropy than known digits have is strange, less is not; a rate is strange on either side.
    both = {kind: np.maximum(standard[0][kind], 0) ** 2 + standard[1][kind] ** 2 for kind in entropy}
    return {"entropy": entropy, "rate": rate, "both": both}


def _standardised(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Logarithms in standard deviations from the median of held-out known digits, under each seed."""
    logs = {kind: np.log(np.maximum(part, 1e-12)) for kind, part in values.items()}
    centre, spread = np.median(logs["held out"], 1, keepdims=True), logs["held out"].std(1, keepdims=True)
    return {kind: (part - centre) / spread for kind, part in logs.items()}


def _of_each_kind(
    network: str, score: str, values: Mapping[str, Floats], kinds: Iterable[str]
) -> list[Separation]:
    return [
        Separation(network, score, kind, *auroc_with_interval(values["known"], values[kind]))
        for kind in kinds
        if kind != "known"
    ]


def _resampled(generator: np.random.Generator, size: int) -> Floats:
    """Shares of each of some things in bootstrap samples of them, ``[_RESAMPLES, size]``."""
    return generator.multinomial(size, np.full(size, 1 / size), size=_RESAMPLES) / size

"""The 1,797 digits of 8x8 pixels that scikit-learn ships with."""

from __future__ import annotations

from functools import partial

import torch

from ib_pyro.data.image_pool import Pool
from ib_pyro.data.request import Request
from ib_pyro.data.stratified_splits import stratified_sample

__all__ = ["digits_pool"]

# scikit-learn does not part the set: a fifth of it is our test set.
_TEST_SIZE = 360
_NUMBER, _SIZE, _WHITE = 1_797, (8, 8), 16


def digits_pool(request: Request) -> Pool:
    """Read the digits of scikit-learn, 1,437 to train and 360 to test in a fixed stratified parting.

    Args:
        request: What is asked for.

    Returns:
        The pool, images of shape ``[1, 8, 8]`` with 17 grey levels.

    Raises:
        ValueError: If scikit-learn ships something else.
    """
    # Deferred: it takes as long to import as torch, and the other sets do without.
    from sklearn.datasets import load_digits

    source = load_digits()
    images = torch.from_numpy(source.images)
    if images.shape != (_NUMBER, *_SIZE) or images.min() != 0 or images.max() != _WHITE:
        raise ValueError(
            f"'digits': scikit-learn gives images of shape {list(images.shape)} from {images.min():g} to "
            f"{images.max():g}, where {[_NUMBER, *_SIZE]} from 0 to {_WHITE} are known; install another version of it"
        )
    x = images.to(torch.uint8).unsqueeze(1)
    y = torch.from_numpy(source.target).to(torch.int64)
    chosen = torch.zeros(len(y), dtype=torch.bool)
    chosen[stratified_sample(y, _TEST_SIZE, seed=0)] = True
    if request.part == "train":
        chosen = ~chosen
    x, y = x[chosen], y[chosen]
    return Pool(y, partial(x.index_select, 0), tuple(str(label) for label in range(10)), white=_WHITE)

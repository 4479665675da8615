"""Images that are painted: all of them once and kept, or the few that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ib_pyro.data.cache import cached
from ib_pyro.data.request import Request

__all__ = ["painted"]

# Images painted at a time: bounds the index tensors beside the result.
_CHUNK = 1024
# Images painted to tell whether a kept file holds this set.
_PROBES = 5


def painted(
    request: Request, key: str, num_images: int, paint: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return the images of a generated set as a function of positions.

    If the whole set is asked for, all its images are painted and kept in the cache, from which they are read
    from then on, if a few of them are as painted. Otherwise only those that are looked at are painted.

    Args:
        request: What is asked for.
        key: Stands for all that the images depend on beside the name and the part.
        num_images: How many images there are.
        paint: Maps positions ``[n]`` to the images there, uint8, shape ``[n, C, H, W]``.

    Returns:
        A function as ``paint``.
    """

    def paint_all() -> dict[str, Tensor]:
        shape = paint(torch.arange(1)).shape[1:]
        x = torch.empty((num_images, *shape), dtype=torch.uint8)
        for index in torch.arange(num_images).split(_CHUNK):
            x[index] = paint(index)
        return {"x": x}

    def is_right(content: dict[str, Tensor]) -> bool:
        probes = torch.linspace(0, num_images - 1, _PROBES).to(torch.int64)
        x, expected = content["x"], paint(probes)
        return len(x) == num_images and x.dtype == expected.dtype and torch.equal(x[probes], expected)

    path = request.cache / f"{request.name}-{request.part}-{key}.pt"
    if request.whole or path.is_file():
        return partial(cached(path, paint_all, is_right)["x"].index_select, 0)
    return paint

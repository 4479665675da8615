"""Batches of tensors in memory, each made by one index operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from ib_pyro.data.labelled_images import LabelledImages

__all__ = ["Batches", "batches"]


class Batches:
    """An iterable over batches that knows its length and draws a new order each time it is iterated.

    Args:
        tensors: Tensors of the same length N, indexed together.
        batch_size: Images in a batch; the last batch holds the rest.
        shuffle: Whether to draw a permutation each time.
        generator: Source of the permutations; torch's ambient one when absent.
        drop_last: Whether to leave out a last batch smaller than ``batch_size``.

    Raises:
        ValueError: If there are no tensors, their lengths differ or are 0, the batch size is below 1, or ``drop_last``
            leaves nothing.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        *,
        shuffle: bool = True,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> None:
        lengths = {len(tensor) for tensor in tensors}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"tensors: expected one common length of at least 1, got {sorted(lengths)}")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        self.num_images = lengths.pop()
        if drop_last and batch_size > self.num_images:
            raise ValueError(
                f"batch_size: {batch_size} with drop_last leaves no batch of {self.num_images} images; "
                "lower it or keep the partial batch"
            )
        self.tensors = tuple(tensors)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.generator = generator
        self.drop_last = drop_last

    def __len__(self) -> int:
        whole, rest = divmod(self.num_images, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        if not self.shuffle:
            for start in starts:
                yield tuple(tensor[start : start + self.batch_size] for tensor in self.tensors)
            return
        order = self._permutation()
        for start in starts:
            index = order[start : start + self.batch_size]
            # Of inputs that are their own targets there is one batch too.
            parts = {id(tensor): tensor for tensor in self.tensors}
            parts = {key: tensor.index_select(0, index) for key, tensor in parts.items()}
            yield tuple(parts[id(tensor)] for tensor in self.tensors)

    def _permutation(self) -> Tensor:
        # Drawn where the generator lives, so that one seed gives one order on every device.
        device = torch.device("cpu") if self.generator is None else self.generator.device
        order = torch.randperm(self.num_images, generator=self.generator, device=device)
        return order.to(self.tensors[0].device)


def batches(
    data: LabelledImages | TensorDataset | Subset[object] | Sequence[Tensor] | object,
    batch_size: int,
    *,
    fields: Sequence[str] = ("x", "y"),
    shuffle: bool = True,
    generator: torch.Generator | None = None,
    drop_last: bool = False,
) -> Batches:
    """Iterate over ``data`` in batches, each made by one index operation per tensor.

    Without ``shuffle`` a batch is a view. Partial batches are kept unless ``drop_last`` says otherwise.

    Args:
        data: A set, or any object with tensors ``x`` and ``y``; tensors or arrays of one length N that are indexed
            together, such as ``(x, y)``; a ``torch.utils.data.TensorDataset``; or a ``Subset`` of such or of a set.
        batch_size: Images in a batch.
        fields: What a batch holds, in this order, when ``data`` is a set: of "x", "y", "nuisance", "box". Tensors
            without names take all that there are.
        shuffle: Whether each iteration draws a new permutation.
        generator: Source of the permutations; torch's ambient one when absent.
        drop_last: Whether to leave out a last batch smaller than ``batch_size``.

    Returns:
        An iterable of tuples with a length, which can be iterated again.

    Raises:
        ValueError: If the set does not have a field, or the batch size makes no batch.
        TypeError: If the data do not lie in memory as tensors; says how to bring them there.

    Example:
        >>> data = LabelledImages(
        ...     torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 0, 1, 0]), ("even", "odd")
        ... )
        >>> [list(x.shape) for x, y in batches(data, 2)]
        [[2, 1, 8, 8], [2, 1, 8, 8], [1, 1, 8, 8]]
    """
    tensors = _tensors(data, fields)
    return Batches(tensors, batch_size, shuffle=shuffle, generator=generator, drop_last=drop_last)


def _tensors(data: object, fields: Sequence[str]) -> Sequence[Tensor]:
    """Return what is indexed together.

    Raises:
        TypeError: If nothing is.
    """
    if isinstance(data, Subset) and isinstance(data.dataset, TensorDataset):
        indices = torch.as_tensor(data.indices)
        return [tensor[indices] for tensor in data.dataset.tensors]
    if isinstance(data, Subset) and isinstance(data.dataset, LabelledImages):
        return _fields(data.dataset.subset(torch.as_tensor(data.indices)), fields)
    if isinstance(data, TensorDataset):
        return data.tensors
    if isinstance(data, Dataset | DataLoader):
        raise TypeError(_not_in_memory(data))
    if isinstance(getattr(data, "x", None), Tensor) and isinstance(getattr(data, "y", None), Tensor):
        return _fields(data, fields)
    if (
        isinstance(data, list | tuple)
        and data
        and all(isinstance(part, Tensor | np.ndarray) and part.ndim for part in data)
    ):
        return [torch.as_tensor(part) for part in data]
    what = f"a {type(data).__name__}"
    if isinstance(data, list | tuple):
        what += f" of {', '.join(sorted({type(part).__name__ for part in data})) or 'nothing'}"
    elif isinstance(data, Mapping):
        what += f" of {', '.join(map(str, data))}"
    raise TypeError(
        f"data: {what} is no set and no sequence of tensors; pass (x, y), each a tensor or an array with the samples "
        "in its first dimension, or (x,) for inputs alone"
    )


def _not_in_memory(data: object) -> str:
    kind = type(data).__name__
    if isinstance(data, DataLoader):
        return f"data: a {kind} makes batches itself; iterate over it, or pass the tensors behind it, as in (x, y)"
    gather = "x, y = torch.utils.data.default_collate([data[i] for i in range(len(data))])"
    if isinstance(data, IterableDataset):
        gather = "x, y = torch.utils.data.default_collate(list(data))"
    return (
        f"data: a {kind} gives its samples one by one, and batches are indices of tensors in memory; gather them "
        f"once, `{gather}`, and pass (x, y), or let a torch.utils.data.DataLoader draw its random transforms anew"
    )


def _fields(data: object, names: Sequence[str]) -> list[Tensor]:
    known = ("x", "y", "nuisance", "box")
    have = {name: getattr(data, name) for name in known if getattr(data, name, None) is not None}
    for name in names:
        if name not in have:
            raise ValueError(f"fields: {name!r} is not in this set, which has {', '.join(have)}")
    return [have[name] for name in names]

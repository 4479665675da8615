"""Data of any kind as batches that can be gone through again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, default_collate

from ib_pyro.data import Batches, LabelledImages
from ib_pyro.training.batch_arguments import Batch, batch_of, leaves_of
from ib_pyro.training.loader_size import size_of_loader
from ib_pyro.training.randomness import seeded

__all__ = ["BATCH_SIZE", "Source", "source_of"]

BATCH_SIZE = 100
"""Samples in a step where nothing is said of it."""


class Source:
    """Batches of a set, begun anew each time they are iterated.

    Args:
        make: Begins a pass over the batches.
        steps: Number of batches in a pass; None if it is not known before.
        size: Number of samples of the set that are fitted, each counted once; None if it is not known.
        whole: The whole set as one batch, if it lies in memory.
        generators: Generators that the order is drawn from, which a checkpoint keeps.
        is_stream: Whether the batches are made elsewhere.
        drop_last: Whether a partial batch is left out.

    Attributes:
        steps: As above.
        size: As above.
        whole: As above.
        generators: As above.
        drop_last: As above.
    """

    def __init__(
        self,
        make: Callable[[], Iterator[Batch]],
        *,
        steps: int | None,
        size: int | None,
        whole: Batch | None = None,
        generators: Iterable[torch.Generator] = (),
        is_stream: bool = False,
        drop_last: bool = False,
    ) -> None:
        self._make, self._is_stream, self.drop_last = make, is_stream, drop_last
        self.steps, self.size, self.whole = steps, size, whole
        self.generators = list(generators)
        self._begun: tuple[Batch, Iterator[Batch]] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._begun is None:
            return self._make()
        first, rest = self._begun
        self._begun = None
        return chain([first], rest)

    def rebuilt(self, leaves: Iterable[Tensor]) -> Batch:
        """Return a batch of some samples of a set in memory, given what its leaves hold of them."""
        assert self.whole is not None
        return _rebuilt(self.whole, leaves, 1.0)

    def first(self) -> Batch:
        """Return the first batch of a pass.

        Where batches come by number, this is no pass, and draws nothing that is seen outside. A pass over what makes
        its batches itself may be one of a kind: it is begun, and the next iteration goes on with it.

        Raises:
            ValueError: If there is none.
        """
        if self._is_stream:
            passing = iter(self)
            batch = next(passing, None)
            if batch is not None:
                self._begun = batch, passing
        else:
            states = [generator.get_state() for generator in self.generators]
            with seeded(0):
                batch = next(iter(self), None)
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)
        if batch is None:
            raise ValueError("data: there is no batch in it; pass at least one sample")
        return batch

    def forget(self) -> None:
        """Begin the next pass anew, also where one has begun."""
        self._begun = None


def source_of(
    data: object,
    *,
    batch_size: int | None = None,
    drop_last: bool = False,
    order: Callable[[], torch.Generator] | None = None,
    device: torch.device | None = None,
    processes: tuple[int, int] = (1, 0),
    default: int = BATCH_SIZE,
    name: str = "data",
) -> Source:
    """Return the batches of a set.

    Args:
        data: Tensors or arrays of one length N, as a tuple ``(x, y)``, a mapping of the program's arguments by name,
            or an object with ``x`` and ``y``, also with mappings of tensors in their places; a ``torch`` ``Dataset``;
            or what makes batches itself, a ``DataLoader`` or another iterable.
        batch_size: Samples in a batch; the last one holds the rest. For what makes batches itself: None.
        drop_last: Whether to leave that one out, if it is smaller. Not for what makes batches itself.
        order: Returns the generator of the orders, one for each pass; by default the samples come as they stand. Asked
            only where batches come by number.
        device: Where a set in memory is moved to as a whole.
        processes: How many processes share a step, with ``batch_size`` samples each, and which of them this is.
        default: Samples in a batch where ``batch_size`` is None.
        name: What messages call the data.

    Raises:
        TypeError: If these are no data; says what to pass.
        ValueError: If lengths differ, there is no sample, or the batch size does not go with the data.
    """
    if isinstance(data, DataLoader) or _is_list_of_batches(data):
        return _stream(data, (batch_size, drop_last), processes[0], name)  # type: ignore[arg-type]
    whole = _whole(data, name)
    if whole is None and not isinstance(data, Dataset):
        return _stream(_iterable(data, name), (batch_size, drop_last), processes[0], name)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    batch_size = (batch_size or default) * processes[0]
    generator = order() if order is not None else None
    if whole is not None:
        return _in_memory(_on(device, whole), (batch_size, drop_last), generator, processes, name)
    return _by_index(data, (batch_size, drop_last), generator, processes, name)  # type: ignore[arg-type]


def _in_memory(
    whole: Batch,
    sizes: tuple[int, bool],
    order: torch.Generator | None,
    processes: tuple[int, int],
    name: str,
) -> Source:
    leaves = list(leaves_of(whole))
    lengths = [len(leaf) for leaf in leaves]
    if len(set(lengths)) != 1 or 0 in lengths:
        raise ValueError(
            f"{name}: its parts have {', '.join(map(str, lengths))} samples; each needs the same number, at least 1"
        )
    _require_enough(lengths[0], processes[0], name)
    batch_size, drop_last = sizes
    passes = Batches(leaves, batch_size, shuffle=order is not None, generator=order, drop_last=drop_last)

    is_flat = not whole.kwargs and len(whole.args) == len(leaves)

    def batch(parts: tuple[Tensor, ...]) -> Batch:
        mine, share = _share(parts, processes)
        return Batch(mine, {}, share) if is_flat else _rebuilt(whole, mine, share)

    # A generator would keep a batch by its names while the next one is made.
    return Source(
        lambda: map(batch, passes),
        steps=len(passes),
        size=lengths[0],
        whole=whole,
        generators=[order] if order else [],
        drop_last=drop_last,
    )


def _by_index(
    data: Dataset[Any],
    sizes: tuple[int, bool],
    order: torch.Generator | None,
    processes: tuple[int, int],
    name: str,
) -> Source:
    """Gather the samples of a set one by one, in the order that tensors in memory would have."""
    if isinstance(data, IterableDataset) or not isinstance(data, Sized):
        raise TypeError(
            f"{name}: a {type(data).__name__} has no samples by number; pass a torch.utils.data.DataLoader over it"
        )
    if len(data) == 0:
        raise ValueError(f"{name}: a {type(data).__name__} of 0 samples; it needs at least 1")
    _require_enough(len(data), processes[0], name)
    batch_size, drop_last = sizes
    index = torch.arange(len(data))
    passes = Batches([index], batch_size, shuffle=order is not None, generator=order, drop_last=drop_last)

    def batch(places: tuple[Tensor, ...]) -> Batch:
        (mine,), share = _share(places, processes)
        samples = [data[place] for place in mine.tolist()]
        return batch_of(default_collate(samples))._replace(share=share)

    return Source(
        lambda: map(batch, passes),
        steps=len(passes),
        size=len(data),
        generators=[order] if order else [],
        drop_last=drop_last,
    )


def _stream(data: Iterable[Any], sizes: tuple[int | None, bool], processes: int, name: str) -> Source:
    """Take the batches as they come."""
    kind = type(data).__name__
    batch_size, drop_last = sizes
    if drop_last:
        raise ValueError(
            f"{name}: a {kind} makes its batches itself, and drop_last=True says which of them are left out; leave it "
            "out, or pass the set behind it"
        )
    if batch_size is not None:
        raise ValueError(
            f"{name}: a {kind} makes its batches itself, and batch_size={batch_size} says how many samples they have; "
            "leave batch_size out, or pass the set behind it"
        )
    if processes > 1:
        raise ValueError(
            f"{name}: a {kind} makes its batches itself, the same in each of {processes} processes; pass the set "
            "behind it, tensors or a Dataset, of which each process takes its share"
        )
    try:
        steps = len(data)  # type: ignore[arg-type]
    except TypeError:
        steps = None
    size = None
    if isinstance(data, list):
        size = sum(batch_of(parts).size for parts in data)
    elif isinstance(data, DataLoader):
        size = size_of_loader(data)
    return Source(
        lambda: map(batch_of, data), steps=steps, size=size, generators=_generators_of(data), is_stream=True
    )


def _whole(data: object, name: str) -> Batch | None:
    """Return a set that lies in memory as one batch of tensors; None if it does not."""
    if isinstance(data, Subset) and isinstance(data.dataset, TensorDataset):
        index = torch.as_tensor(data.indices)
        return Batch(tuple(tensor[index] for tensor in data.dataset.tensors), {})
    if isinstance(data, Subset) and isinstance(data.dataset, LabelledImages):
        picked = data.dataset.subset(torch.as_tensor(data.indices))
        return Batch((picked.x, picked.y), {})
    if isinstance(data, TensorDataset):
        return Batch(data.tensors, {})
    columns = getattr(data, "x", None), getattr(data, "y", None)
    if isinstance(data, Dataset) or (
        not isinstance(data, tuple | list | Mapping | Tensor | np.ndarray) and not _are_columns(columns)
    ):
        return None
    whole = batch_of(data if isinstance(data, tuple | list | Mapping | Tensor | np.ndarray) else columns)
    for leaf in leaves_of(whole):
        if not isinstance(leaf, Tensor | np.ndarray) or leaf.ndim == 0:
            raise TypeError(_no_columns(data, leaf, name))
    tensors = [torch.as_tensor(leaf) for leaf in leaves_of(whole)]
    if not tensors:
        raise TypeError(
            f"{name}: a {type(data).__name__} of nothing; pass (x, y), each with the samples in its first dimension"
        )
    return _rebuilt(whole, tensors, 1.0)


def _are_columns(parts: tuple[object, ...]) -> bool:
    return all(isinstance(part, Tensor | np.ndarray) for part in parts)


def _no_columns(data: object, leaf: object, name: str) -> str:
    return (
        f"{name}: a {type(data).__name__} with a {type(leaf).__name__} in it is no set in memory; pass (x, y), each a "
        "tensor or an array with the samples in its first dimension, a mapping of these by the names of the program's "
        "arguments, a torch Dataset or DataLoader, or a list of batches"
    )


def _is_list_of_batches(data: object) -> bool:
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(part, tuple | list | Mapping) for part in data)
    )


def _iterable(data: object, name: str) -> Iterable[Any]:
    """Return what can be iterated again and again.

    Raises:
        TypeError: If it cannot.
    """
    kind = type(data).__name__
    if isinstance(data, Iterator):
        raise TypeError(
            f"{name}: a {kind} gives its batches once, and every epoch goes through them again; pass a list of them, "
            "or an object whose __iter__ begins anew"
        )
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise TypeError(
            f"{name}: a {kind} is no data; pass (x, y), each a tensor or an array with the samples in its first "
            "dimension, a mapping of these by the names of the program's arguments, a torch Dataset or DataLoader, or "
            "batches that can be iterated again"
        )
    return data


def _generators_of(data: object) -> list[torch.Generator]:
    """Return the generators that a loader, its sampler and its batches' sampler draw from."""
    batch_sampler = getattr(data, "batch_sampler", None)
    holders = data, getattr(data, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)
    found = {
        id(g): g
        for g in (getattr(one, "generator", None) for one in holders)
        if isinstance(g, torch.Generator)
    }
    return list(found.values())


def _require_enough(size: int, processes: int, name: str) -> None:
    if size < processes:
        raise ValueError(f"{name}: {size} samples are too few for {processes} processes; start fewer")


def _share(parts: tuple[Tensor, ...], processes: tuple[int, int]) -> tuple[tuple[Tensor, ...], float]:
    """Return a process's share of a step, and what the mean over it counts for in the mean over processes."""
    count, which = processes
    if count == 1:
        return parts, 1.0
    mine = tuple(part.tensor_split(count)[which] for part in parts)
    if len(mine[0]) == 0:
        return tuple(part[:1] for part in parts), 0.0  # it takes part, but does not count
    return mine, len(mine[0]) * count / len(parts[0])


def _on(device: torch.device | None, whole: Batch) -> Batch:
    # A tensor that stands in two places stays one.
    moved = {id(leaf): leaf if device is None else leaf.to(device) for leaf in leaves_of(whole)}
    return _rebuilt(whole, [moved[id(leaf)] for leaf in leaves_of(whole)], 1.0)


def _rebuilt(whole: Batch, leaves: Iterable[Tensor], share: float) -> Batch:
    """Put tensors in the places of the leaves of a batch."""
    remaining = iter(leaves)

    def rebuilt(part: Any) -> Any:  # noqa: ANN401 (a tensor, or what holds some)
        if isinstance(part, Mapping):
            return {name: rebuilt(value) for name, value in part.items()}
        return [rebuilt(value) for value in part] if isinstance(part, tuple | list) else next(remaining)

    return Batch(tuple(rebuilt(part) for part in whole.args), rebuilt(whole.kwargs), share)

"""Which latent values the law of a site depends on: values are followed through all that is computed of them."""

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["RANDOM", "ValueTracker"]

Names = frozenset[str]

RANDOM = "a generator of random numbers"
"""The mark of all that is computed of what one of PyTorch's generators has drawn."""

READ_OUT = frozenset(
    {"__array__", "__dlpack__", "__format__", "__repr__", "data_ptr", "numpy", "tolist", "untyped_storage"}
)
# What these return has the shape of their input, and nothing of its values.
SHAPE_ALONE = frozenset(
    {f"{value}_like" for value in ("empty", "full", "ones", "rand", "randint", "randn", "zeros")}
    | {f"new_{value}" for value in ("empty", "empty_strided", "full", "ones", "zeros")}
)
VALIDATION = (
    "torch.distributions",
    "pyro.distributions",
    "ib_pyro.distributions",
    "ib_pyro.checks",
    "ib_pyro.nn.validity",
)


class ValueTracker:
    """Follow marked tensors through a computation.

    While the tracker is entered, every operation of PyTorch passes on the marks of its inputs to its results, whatever
    the operation: differentiable or not, in place, through a view, a buffer or an index. A mark belongs to a tensor's
    memory. Where a marked value leaves PyTorch as a number (``item``, ``bool``, ``numpy``), all that follows may
    depend on it, and :meth:`marks_of` says so. So the answer may name a value too many, but not one too
    few, as long as all is computed in one thread. What PyTorch draws at random is marked :data:`RANDOM`; a number that
    NumPy or Python draws is not.

    >>> tracker = ValueTracker()
    >>> with tracker:
    ...     a, b = tracker.mark(torch.ones(2), "a"), tracker.mark(torch.ones(2), "b")
    ...     c = torch.zeros(2)
    ...     c[0] = a.detach().sum()
    ...     (sorted(tracker.marks_of([c])), sorted(tracker.marks_of([b + 1, c])))
    (['a'], ['a', 'b'])
    """

    def __init__(self) -> None:
        self._marks: dict[int, Names] = {}
        # The name of a marked tensor's memory stays taken, so that no other tensor is given it, and its marks; its
        # numbers are freed.
        self._memory: list[object] = []
        self._escaped: Names = frozenset()
        self._modes = ExitStack()

    def __enter__(self) -> Self:
        if "torch._dynamo" in sys.modules:
            # What is compiled runs as it was written; a compiler that nobody has loaded stays where it is.
            self._modes.enter_context(torch.compiler.set_stance("force_eager"))
        self._modes.enter_context(_ReadOuts(self))
        self._modes.enter_context(_Operations(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._modes.close()

    @property
    def marks(self) -> Names:
        """All marks that were given."""
        return frozenset().union(*self._marks.values())

    def mark(self, value: Tensor, name: str) -> Tensor:
        """Return a copy of a tensor, with its graph, that carries one mark and no other."""
        copy = value.clone()
        self._set(copy, frozenset({name}))
        return copy

    def unmarked(self, value: Tensor) -> Tensor:
        """Return a copy of a tensor that carries no mark."""
        copy = value.clone()
        self._set(copy, frozenset())
        return copy

    def add_mark(self, value: Tensor, name: str) -> None:
        """Give a tensor's own memory one mark more."""
        self._set(value, self._get(value) | {name})

    def marks_of(self, values: Iterable[object]) -> Names:
        """Return the marks of everything that the values may have been computed of."""
        return self._escaped.union(*(self._get(v) for v in values if isinstance(v, Tensor)))

    def record_operation(
        self, mutated: Iterable[object], inputs: Iterable[object], results: Iterable[object]
    ) -> None:
        """Pass the marks of an operation's inputs on to its results and to what it changes in place."""
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        marks: Names = frozenset().union(*(self._get(value) for value in tensors))
        own = {_memory_of(value) for value in tensors}
        for value in (*mutated, *results):
            if isinstance(value, Tensor) and (marks or _memory_of(value) not in own):
                self._set(value, marks)

    def record_read_out(self, inputs: Iterable[object]) -> None:
        """Note that values leave PyTorch as numbers."""
        self._escaped = self.marks_of(inputs)

    def _get(self, value: Tensor) -> Names:
        return self._marks.get(_memory_of(value), frozenset())

    def _set(self, value: Tensor, marks: Names) -> None:
        key = _memory_of(value)
        if marks:
            if key not in self._marks:
                self._memory.append(value if _is_sparse(value) else StorageWeakRef(_storage_of(value)))
            self._marks[key] = marks
        else:
            self._marks.pop(key, None)


class _Operations(TorchDispatchMode):
    """Sees every operation, also those inside of compiled and custom functions."""

    def __init__(self, tracker: ValueTracker) -> None:
        super().__init__()
        self._tracker = tracker

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # To keep the compiler off these lines, PyTorch would load it: a second, and 150 MB. The tracker keeps it off.
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        inputs, name = tree_leaves((args, kwargs)), func._schema.name.removeprefix("aten::")
        try:
            results = func(*args, **kwargs)
        except RuntimeError:
            # Whoever catches it knows something of the values.
            self._tracker.record_read_out(inputs)
            raise
        if any(isinstance(leaf, bool | int | float | complex) for leaf in tree_leaves(results)):
            # A distribution that checks its arguments raises or goes on: nothing that follows depends on them.
            if not _is_validation(sys._getframe(1)):
                self._tracker.record_read_out(inputs)
        elif name in SHAPE_ALONE:
            self._tracker.record_operation((), (), tree_leaves(results))
        else:
            self._tracker.record_read_out(_counted(func, name, inputs))
            self._tracker.record_operation(_written(func, name, args), inputs, tree_leaves(results))
        if _is_drawn(func, args, kwargs):
            for value in (*_written(func, name, args), *tree_leaves(results)):
                if isinstance(value, Tensor):
                    self._tracker.add_mark(value, RANDOM)
        return results


class _ReadOuts(TorchFunctionMode):
    """Sees values that are read without any operation, such as those of an array that shares their memory."""

    def __init__(self, tracker: ValueTracker) -> None:
        super().__init__()
        self._tracker = tracker

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        if getattr(func, "__name__", "") in READ_OUT and not _is_validation(sys._getframe(1)):
            self._tracker.record_read_out(tree_leaves(args))
        return func(*args, **(kwargs or {}))


def _written(func: torch._ops.OpOverload, name: str, args: tuple[Any, ...]) -> list[object]:
    """Return what an operation changes in place."""
    if "batch_norm" in name and "backward" not in name:
        # Their signatures do not own up to writing the running statistics.
        return list(args[3:5])
    arguments = zip(func._schema.arguments, args, strict=False)
    return [
        leaf
        for spec, value in arguments
        if spec.alias_info is not None and spec.alias_info.is_write
        for leaf in tree_leaves(value)
    ]


def _is_drawn(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation asks a generator; attention and recurrent networks do if they drop units alone."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    for place, spec in enumerate(func._schema.arguments):
        if spec.name in ("dropout", "dropout_p"):
            given = args[place] if place < len(args) else kwargs.get(spec.name, spec.default_value)
            return given != 0
    return True


def _counted(func: torch._ops.OpOverload, name: str, inputs: Iterable[object]) -> list[object]:
    """Return the inputs whose values decide how many elements the result has, which Python then knows."""
    if torch.Tag.dynamic_output_shape not in func.tags:
        return []
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    return [t for t in tensors if t.dtype in (torch.bool, torch.uint8)] if name == "index" else list(tensors)


def _storage_of(value: Tensor) -> torch.UntypedStorage:
    # To ask where a value lies is not to read it.
    with torch._C.DisableTorchFunction():
        return value.untyped_storage()


def _is_sparse(value: Tensor) -> bool:
    return value.layout is not torch.strided


def _memory_of(value: Tensor) -> int:
    # A sparse tensor has several memories, and stands for them itself.
    return -id(value) if _is_sparse(value) else _storage_of(value)._cdata


def _is_validation(frame: FrameType | None) -> bool:
    """Whether a number is read by the code of a distribution, less the frames of PyTorch's own dispatch."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(VALIDATION):
            return True
        if not module.startswith(("torch.", "ib_pyro.dependence")):
            return False
        frame = frame.f_back
    return False

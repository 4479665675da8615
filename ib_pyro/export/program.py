"""What is exported: a model and a guide, the arguments they run on, and the state that a run leaves as it was."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.buffers import modules_behind
from ib_pyro.inputs import has_x

__all__ = [
    "Argument",
    "Inputs",
    "Program",
    "ProgramLike",
    "Rows",
    "resolve_inputs",
    "resolve_program",
    "resolve_programs",
    "seeded",
    "taking_keywords",
    "warn_if_batch_norm_trains",
]

ProgramLike = nn.Module | tuple[Callable[..., Any], Callable[..., Any]]
"""A Bottleneck, or a pair of a model and a guide."""

Argument = Tensor | Mapping[str, Any]
Rows = Argument | tuple[Argument, ...]
"""A tensor ``[N, ...]``, a mapping of such, which is one argument, or a tuple of either, which is several."""


@dataclass(frozen=True)
class Program:
    """A Pyro model and guide of the same arguments, and the modules that hold their parameters.

    Attributes:
        model: The model.
        guide: The guide.
        modules: Modules whose buffers an evaluation might change.
        is_amortised: Whether the guide's sites are known to be functions of x, so that x may be cut into batches.
        name: What to call the program in the result's attributes.
        num_data: Number of samples that it was fitted to, where it knows.
        takes_one_argument: Whether the program is known to take a single x.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    modules: tuple[nn.Module, ...]
    is_amortised: bool
    name: str
    num_data: int | None = None
    takes_one_argument: bool = False


@dataclass(frozen=True)
class Inputs:
    """The arguments of a model and a guide.

    Attributes:
        args: x, or x and y; a tuple x is several of them.
        num_rows: Number N of rows of each tensor.
        device: Where the program is likely to draw its noise.
    """

    args: tuple[Any, ...]
    num_rows: int
    device: torch.device

    def rows(self, rows: slice) -> tuple[Any, ...]:
        """Return the arguments for some rows."""
        return tuple(_cut(arg, rows) for arg in self.args)


def resolve_program(program: ProgramLike) -> Program:
    """Return the model and guide of a :class:`~ib_pyro.Bottleneck`, of a module that has both, or of the pair of them.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(program, tuple) and any(isinstance(side, Bottleneck) for side in program):
        raise TypeError("program: a tuple is a model and a guide; pass several programs as a list, [...]")
    if isinstance(program, tuple) and len(program) == 2 and all(map(callable, program)):
        model, guide = program
        name = getattr(model, "__name__", type(model).__name__)
        return Program(model, guide, modules_behind(model, guide), is_amortised=False, name=name)
    if isinstance(program, Bottleneck):
        facts: dict[str, Any] = {"num_data": program.num_data, "takes_one_argument": True}
        return Program(
            program.model, program.guide, (program,), is_amortised=True, name="Bottleneck", **facts
        )
    if isinstance(program, nn.Module) and all(
        callable(getattr(program, side, None)) for side in ("model", "guide")
    ):
        pair = cast(tuple[Callable[..., Any], Callable[..., Any]], (program.model, program.guide))
        return replace(resolve_program(pair), name=type(program).__name__)
    raise TypeError(
        "program must be a Bottleneck, a module with model and guide, or the pair (model, guide), or a list of such; "
        f"got {type(program).__name__}"
    )


def resolve_programs(programs: ProgramLike | list[ProgramLike]) -> list[Program]:
    """Return the models and guides of one program, or of a list of them.

    Raises:
        TypeError: If one is no program.
        ValueError: If the list is empty.
    """
    if not isinstance(programs, list):
        return [resolve_program(programs)]
    if not programs:
        raise ValueError("program: the list is empty; pass a program for each chain")
    return [resolve_program(program) for program in programs]


def taking_keywords(program: Program) -> Program:
    """Return the program with its keyword arguments as a last argument, a mapping, cut by rows as the others are."""

    def last_by_keyword(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:  # noqa: ANN401  (as the function's)
            *positional, keywords = args
            return function(*positional, **keywords)

        return call

    return replace(program, model=last_by_keyword(program.model), guide=last_by_keyword(program.guide))


def resolve_inputs(
    x: Rows, y: Argument | None, kwargs: Mapping[str, Argument] | None = None, *, one_argument: bool
) -> Inputs:
    """Return the arguments that x and y stand for.

    Args:
        x: A tensor or a mapping of tensors, or several as a tuple.
        y: A tensor or a mapping of tensors; None for no such argument.
        kwargs: Arguments by keyword, for a program that :func:`taking_keywords` has made; None for no such.
        one_argument: Whether the program takes one x, so that a tuple is one too.

    Raises:
        TypeError: If something else is among them.
        ValueError: If there is no row, or numbers of rows differ.
    """
    several = type(x) is tuple
    inputs = {f"x[{i}]": arg for i, arg in enumerate(x)} if several else {"x": x}
    others = {name: arg for name, arg in (("y", y), ("kwargs", kwargs)) if arg is not None}
    named = inputs | others
    tensors = [leaf for name, argument in named.items() for leaf in _leaves(name, argument)]
    if not any(True for name, argument in inputs.items() for _ in _leaves(name, argument)):
        raise ValueError("x: expected at least one tensor [N, ...]; got none")
    first, rows_of = tensors[0]
    for name, tensor in tensors:
        if tensor.dim() == 0 or len(tensor) == 0:
            raise ValueError(f"{name}: expected at least one row [N, ...]; got shape {tuple(tensor.shape)}")
        if len(tensor) != len(rows_of):
            raise ValueError(f"{name}: {len(tensor)} rows for {len(rows_of)} in {first}; pass one for each")
    devices = [tensor.device for _, tensor in tensors]
    device = next((device for device in devices if device.type != "cpu"), devices[0])
    args = (x,) if one_argument else tuple(inputs.values())
    return Inputs((*args, *others.values()), len(rows_of), device)


def warn_if_batch_norm_trains(modules: tuple[nn.Module, ...]) -> None:
    """Say so if batch norm normalises each batch by its own statistics."""
    if any(isinstance(m, _BatchNorm) and m.training for module in modules for m in module.modules()):
        warnings.warn(
            "batch norm is in training mode: each batch is normalised by its own statistics, so that the draws "
            "depend on batch_size; call program.eval() first to export with the running statistics",
            stacklevel=3,
        )


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw from generators seeded with ``seed`` inside, and put torch's ambient ones back afterwards.

    Args:
        seed: The seed; None draws from the ambient generators as they are.
        device: Where the program draws its noise.
    """
    if seed is None:
        yield
        return
    kind = "cuda" if device.type == "cpu" else device.type
    devices = range(getattr(torch, kind).device_count())
    with torch.random.fork_rng(devices, device_type=kind):
        torch.manual_seed(seed)
        yield


def _leaves(name: str, argument: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(argument, Tensor):
        yield name, argument
    elif isinstance(argument, Mapping):
        for key, value in argument.items():
            yield from _leaves(f"{name}[{key!r}]", value)
    else:
        kind = type(argument).__name__
        advice = {
            "ndarray": "; pass torch.as_tensor(...)",
            "list": "; pass torch.as_tensor(...), or a tuple for several arguments",
            "PackedSequence": ", which cannot be cut by rows; pass the padded tensor and its lengths",
            "DataLoader": "; pass its inputs at once, as in torch.cat([x for x, *_ in loader])",
        }.get(kind, "; what has no rows is bound with functools.partial")
        advice = "; pass its x" if has_x(argument) else advice
        raise TypeError(f"{name}: expected a tensor [N, ...], or a dict of tensors; got {kind}{advice}")


def _cut(argument: Any, rows: slice) -> Any:  # noqa: ANN401 (a tensor, or a mapping of what this takes)
    if isinstance(argument, Mapping):
        return {key: _cut(value, rows) for key, value in argument.items()}
    if type(argument) is tuple:
        return tuple(_cut(value, rows) for value in argument)
    return argument[rows]

"""Loading a saved program into one of the same shape: all of it is checked before anything is changed."""

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ib_pyro.saving.file_header import FileHeader, unpacked
from ib_pyro.saving.module_options import difference_of, options_of
from ib_pyro.saving.named_tensors import ProgramLike, modules_of, named_tensors, put_back, shared_names
from ib_pyro.saving.store_entries import PREFIX, put_entries_back, require_entries_fit, require_no_rival

__all__ = ["load"]

_Loaded = TypeVar("_Loaded", bound=ProgramLike)
NAMED = 3


def load(
    path: str | PathLike[str],
    into: _Loaded | None = None,
    *,
    factory: Callable[..., _Loaded] | None = None,
    convert: bool = False,
    check_options: bool = True,
) -> _Loaded:
    """Load what :func:`ib_pyro.save` wrote into a program of the same shape.

    Values are copied into the program's own tensors, which keep their device and type; so a file that was written
    on a GPU is loaded on a CPU, and the other way round. The program's mode (``train``, ``eval``) is left as it is.
    The program is changed only once all is known to fit. No code is named by a file and then run: the program comes
    from the caller, or of the factory that the caller passes.

    Args:
        path: The file.
        into: The program to fill: of the kind that was saved, with the same names and shapes.
        factory: In its place, what makes one of the arguments that were saved; the program gets the file's types.
        convert: Allow types that hold less than the file's, such as ``float32`` for ``float64``: values are
            rounded. By default that is refused, and in either case where a value does not fit at all, as ``1e300``
            does not. Types that hold more are always right.
        check_options: Refuse a program whose modules are of another class, or have other plain options, than those
            that were saved: it would compute something else of the same tensors.

    Returns:
        The program that was filled.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If there is neither a program nor a factory, or both.
        ValueError: If it is no such file, is damaged, or does not fit: names the tensor, both shapes or types, and
            the way out.
        RuntimeError: If Pyro's parameter store holds a rival of a parameter, which it would put in its place.
    """
    header, content = unpacked(path)
    try:
        program = _program_for(header, into, factory)
        modules = modules_of(program)
        current = named_tensors(modules, may_be_lazy=True)
        saved = _tensors_of(content, header)
        own = {name: value for name, value in saved.items() if not name.startswith(PREFIX)}
        _require_same_names(header, own, current)
        _require_shapes_fit(header, own, current)
        values = {name: _as_type(name, value, current[name].dtype, convert) for name, value in own.items()}
        _require_shared_alike(values, current)
        difference = difference_of(header.modules, options_of(modules)) if check_options else ""
        if difference:
            raise ValueError(
                f"{difference}; make the program as it was, or pass check_options=False if that is meant"
            )
        entries = {name.removeprefix(PREFIX): v for name, v in saved.items() if name.startswith(PREFIX)}
        require_entries_fit(entries, header.store)
        require_no_rival(modules.values())
    except (TypeError, ValueError, RuntimeError) as error:
        raise type(error)(f"{path}: {error}") from error
    put_back(modules, values)
    put_entries_back(entries, header.store)
    return program


def _program_for(header: FileHeader, into: _Loaded | None, factory: Callable[..., _Loaded] | None) -> _Loaded:
    if (into is None) == (factory is None):
        made = f", or factory={header.factory.replace(':', '.')}, as the file says" if header.factory else ""
        raise TypeError(
            f"the file holds the tensors of a {header.program}, and no code; pass the program to fill, into=...{made}"
            f"{'' if into is None else '; not both'}"
        )
    if factory is None:
        assert into is not None
        return into
    if header.arguments is None:
        raise ValueError("factory: no arguments of one were saved; make the program, and pass it as into=")
    with torch.random.fork_rng(devices=[]):
        program = factory(**header.arguments)
    types = {getattr(torch, name) for name in header.dtypes.values()}
    floating = [dtype for dtype in types if dtype.is_floating_point]
    if len(floating) == 1:
        for module in modules_of(program).values():
            module.to(floating[0])
    return program


def _tensors_of(content: bytes, header: FileHeader) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as tensors_of

    try:
        held = tensors_of(content)
        return {name: held[header.shared.get(name, name)] for name in header.shapes}
    except (KeyError, SafetensorError) as error:
        raise ValueError(f"its tensors are not those of its header ({error}); save it again") from error


def _require_same_names(
    header: FileHeader, saved: Mapping[str, Tensor], current: Mapping[str, Tensor]
) -> None:
    sides = [
        ("the program lacks", [name for name in saved if name not in current]),
        ("the file lacks", [name for name in current if name not in saved]),
    ]
    said = [f"{side} {_some(names)}" for side, names in sides if names]
    if said:
        raise ValueError(
            f"the file holds a {header.program} of other tensors: {', and '.join(said)}; make the program as the one "
            "that was saved (an automatic guide has its tensors once it was called)"
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:NAMED]))
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def _require_shapes_fit(
    header: FileHeader, saved: Mapping[str, Tensor], current: Mapping[str, Tensor]
) -> None:
    for name, value in saved.items():
        if not is_lazy(current[name]) and value.shape != current[name].shape:
            raise ValueError(
                f"tensor {name!r}: shape {tuple(value.shape)} in the file and {tuple(current[name].shape)} in the "
                f"program; make the {header.program} as the one that was saved"
            )


def _as_type(name: str, value: Tensor, dtype: torch.dtype, convert: bool) -> Tensor:
    """Return a value in another type, if that loses nothing or is asked for."""
    if value.dtype == dtype:
        return value
    kinds = [_kind(value.dtype), _kind(dtype)]
    said = f"tensor {name!r}: {_title(value.dtype)} in the file and {_title(dtype)} in the program"
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{said}, which is another kind of number; make the program as the one that was saved"
        )
    converted = value.to(dtype)
    if _holds_all_of(dtype, value.dtype):
        return converted
    if not convert:
        raise ValueError(
            f"{said}, which holds less; pass convert=True to round, or make the program {_title(value.dtype)} first"
        )
    wrong = (
        ~converted.isfinite() & value.isfinite()
        if kinds[0] == "float"
        else converted.to(value.dtype) != value
    )
    if bool(wrong.any()):
        raise ValueError(
            f"{said}, which does not hold {value[wrong].flatten()[0].item()!r}; use a wider type"
        )
    return converted


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    return "complex" if dtype.is_complex else "float" if dtype.is_floating_point else "integer"


def _holds_all_of(wide: torch.dtype, narrow: torch.dtype) -> bool:
    try:
        return torch.promote_types(wide, narrow) == wide
    except RuntimeError:  # the small types of eight bits promote to nothing
        return False


def _title(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _require_shared_alike(values: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> None:
    """Raise if two tensors are one in the program, and two of different values in the file."""
    for name, original in shared_names(current).items():
        if not torch.equal(_bits(values[name]), _bits(values[original])):
            raise ValueError(
                f"tensor {name!r}: it is {original!r} in the program, and another one in the file; make the program "
                "without sharing them, as the one that was saved"
            )


def _bits(value: Tensor) -> Tensor:
    return value.contiguous().reshape(-1).view(torch.uint8) if value.numel() else value

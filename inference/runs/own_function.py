"""A function of the user's own as a setting, ``module:function``: found, imported, and known again by its files."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from ib_pyro.choices import nearest
from inference.runs.settings import flag

__all__ = ["OwnFunction", "digest_of", "is_own_function"]

DIGITS = 16

# What was imported in this process, as it was then: Python imports a module once, whatever becomes of its file.
_IMPORTED: dict[str, dict[str, str]] = {}


def is_own_function(value: str) -> bool:
    """Whether a setting is written as ``module:function``.

    >>> (
    ...     is_own_function("my_module:build"),
    ...     is_own_function("mlp"),
    ...     is_own_function("./images:old"),
    ... )
    (True, False, False)
    """
    module, colon, function = value.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


@dataclass(frozen=True)
class OwnFunction:
    """A function that a run takes from a module of the user's own.

    Args:
        option: The setting that names it: ``"model"`` or ``"data"``.
        name: ``"module:function"``.
    """

    option: str
    name: str

    @classmethod
    def of(cls, option: str, value: str) -> Self | None:
        """Return the function that a setting names; None if it names something else."""
        return cls(option, value) if is_own_function(value) else None

    def __str__(self) -> str:
        return f"{flag(self.option)} {self.name}"

    @property
    def module(self) -> str:
        """Name of the module."""
        return self.name.partition(":")[0]

    def file(self) -> Path:
        """Where the module lies.

        Raises:
            ValueError: If there is none, or another one is found before that of the current folder.
        """
        top, here = self.module.partition(".")[0], Path.cwd().resolve()
        try:
            spec = find_spec(self.module)
        except ModuleNotFoundError:
            spec = None
        except Exception as error:
            raise self._broken(error) from error
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            raise ValueError(
                f"{self}: there is no module {self.module} in {here} or among the installed ones; go to the folder "
                "that it is in, or name that in PYTHONPATH"
            )
        mine = [path for path in (here / f"{top}.py", here / top / "__init__.py") if path.is_file()]
        file = Path(spec.origin).resolve()
        if mine and not file.is_relative_to(here):
            raise ValueError(
                f"{self}: {mine[0]} is hidden by another module of its name, {file}; rename yours"
            )
        return file

    def load(self) -> Callable[..., Any]:
        """Import the function.

        Raises:
            ValueError: If there is none, its module cannot be imported, or has changed since this process did.
        """
        is_new, files = self.module not in sys.modules, self.sources()["files"]
        try:
            module = import_module(self.module)
        except Exception as error:
            raise self._broken(error) from error
        if is_new:
            _IMPORTED[self.module] = files
        elif _IMPORTED.setdefault(self.module, files) != files:
            raise ValueError(
                f"{self}: {self.module} has changed since this process imported it; start a new one"
            )
        name = self.name.partition(":")[2]
        function = getattr(module, name, None)
        if not callable(function):
            near = nearest(name, [each for each, value in vars(module).items() if callable(value)])
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{self}: {self.module} has no function {name}{meant}")
        return function  # type: ignore[no-any-return]

    def sources(self) -> dict[str, Any]:
        """What the function is made of, as a run's ``config.json`` keeps it.

        Returns:
            ``module``, the ``path`` of its file, and ``files``: a digest of it and of each file of the same folder
            that it imports, or that those import, by their names in the folder.
        """
        return {
            "module": self.module,
            "path": str(self.file()),
            "files": _digests(self.module, self._folder()),
        }

    def files(self) -> dict[Path, str]:
        """The files of ``sources``, each with its digest."""
        folder = self._folder()
        return {folder / name: digest for name, digest in _digests(self.module, folder).items()}

    def _folder(self) -> Path:
        """The folder that the module's whole name starts from."""
        file = self.file()
        return file.parents[self.module.count(".") + (file.name == "__init__.py")]

    def _broken(self, error: Exception) -> ValueError:
        told = " ".join(str(error).split())
        return ValueError(f"{self}: {self.module} cannot be imported ({type(error).__name__}: {told})")


def digest_of(file: Path) -> str:
    """Hexadecimal digits that stand for the content of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


def _digests(module: str, folder: Path) -> dict[str, str]:
    """Digests of the files of a folder that an import of a module reads, by their names in it."""
    found: dict[Path, str] = {}
    todo = list(_files(module, folder))
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found[path] = digest_of(path)
        for name in _imported(path, folder):
            todo += _files(name, folder)
    return {path.relative_to(folder).as_posix(): found[path] for path in sorted(found)}


def _files(module: str, folder: Path) -> Iterator[Path]:
    """The files of a folder that hold a module, and the packages that it is in."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:length])
        for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if path.is_file():
                yield path


def _imported(path: Path, folder: Path) -> Iterator[str]:
    """Names of the modules that a file may import; also of what it takes from them, which may be modules."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the folder of the file itself.
            above = path.parents[node.level - 1].relative_to(folder).parts if node.level else ()
            start = [*above, *filter(None, [node.module])]
            yield from (".".join([*start, alias.name]) for alias in node.names)

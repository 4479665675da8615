"""Who imports whom, floors and private names that are kept, and files that are told apart by their names."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("ib_pyro", "models", "inference", "ib_pyro_cli")
# The floors of `inference`, each importing itself and those before it; what lies beside them is below them all.
FLOORS = ("ground", "runs", "studies", "cli")
# What the estimators of information may know: types and refusals, and neither Pyro nor a program.
OF_INFORMATION = ("ib_pyro.information", "ib_pyro.precision", "ib_pyro.checks", "ib_pyro.choices")
# Names of files that stand for two of them until one is renamed.
TWICE: set[str] = set()
# What PyTorch itself defines, and a module of ours assigns too.
OF_PYTORCH = {"_buffers", "_modules", "_parameters", "_validate_args"}


def modules() -> dict[str, Path]:
    """Every module by its name; a package is its ``__init__``."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, names: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Modules of ours that a tree imports, anywhere in it, each with the name that is taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, "") if whole in names else (node.module, alias.name)


def graph() -> dict[str, set[str]]:
    """Which modules each one imports, for annotations too and within functions."""
    names = modules()
    return {
        name: {target for target, _ in imports(ast.parse(path.read_text()), names) if target in names}
        - {name}
        for name, path in names.items()
    }


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Paths of imports that come back to where they began, one for each start that lies on one."""
    found = []
    for start in edges:
        paths, seen = [[start]], set()
        while paths:
            path = paths.pop()
            for target in edges[path[-1]]:
                if target == start:
                    found.append([*path, start])
                    paths = []
                    break
                if target not in seen:
                    seen.add(target)
                    paths.append([*path, target])
    return found


def floor(module: str) -> str:
    part = module.split(".")[1] if "." in module else "ground"
    return part if part in FLOORS else "ground"


def private_uses() -> Iterator[str]:
    """``module: other._name`` for each private name of ours that is imported, or read off an imported module."""
    names = modules()
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        bound = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOMS:
                for alias in node.names:
                    if alias.name.startswith("_") and not alias.name.endswith("__"):
                        if alias.name != "_version":
                            yield f"{name}: {node.module}.{alias.name}"
                    else:
                        bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        for node in ast.walk(tree):
            private = isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr[1:2] != "_"
            if private and isinstance(node.value, ast.Name) and node.value.id in bound:
                yield f"{name}: {bound[node.value.id]}.{node.attr}"


def private_reads() -> Iterator[str]:
    """``module: x._name`` for each private attribute of another object that another module of ours defines.

    What Pyro and PyTorch define is not ours to judge here.
    """
    trees = {name: ast.parse(path.read_text()) for name, path in modules().items()}
    defined = {name: _defined(tree) for name, tree in trees.items()}
    for name, tree in trees.items():
        others = set().union(*(names for other, names in defined.items() if other != name))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not _is_self(node.value):
                if node.attr in others - defined[name] - OF_PYTORCH:
                    yield f"{name}: {ast.unparse(node)}"


def _defined(tree: ast.AST) -> set[str]:
    """Private attributes that a module's classes have: assigned to ``self``, declared, or methods."""
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_self(node.value)}
    for part in ast.walk(tree):
        if isinstance(part, ast.ClassDef):
            names |= {node.name for node in part.body if isinstance(node, ast.FunctionDef)}
            names |= {node.target.id for node in part.body if isinstance(node, ast.AnnAssign)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"], ["c", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circles(graph()) == []


def test_the_floors_of_inference_are_imported_downwards() -> None:
    edges = {name: targets for name, targets in graph().items() if name.startswith("inference.")}
    upwards = [
        f"{name} imports {target}"
        for name, targets in edges.items()
        for target in targets
        if target.startswith("inference.")
        and name != "inference.__main__"
        and FLOORS.index(floor(target)) > FLOORS.index(floor(name))
    ]
    assert not upwards


@pytest.mark.parametrize("floor_name", FLOORS[1:])
def test_every_floor_is_there(floor_name: str) -> None:
    assert any(floor(name) == floor_name for name in modules() if name.startswith("inference."))


def test_no_private_name_of_one_module_is_used_in_another() -> None:
    assert sorted({*private_uses(), *private_reads()}) == []


def test_information_knows_tensors_only() -> None:
    for name, path in modules().items():
        if name.startswith("ib_pyro.information"):
            tree = ast.parse(path.read_text())
            of_others = {
                target for target, _ in imports(tree, modules()) if target.split(".")[0] in (*ROOMS, "pyro")
            }
            assert all(target.startswith(OF_INFORMATION) for target in of_others), (name, of_others)
            arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
            assert not arguments & {"guide", "layer", "model", "program"}, name


def test_no_two_files_have_the_same_name() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    counts = Counter(path.stem for path in files if not path.stem.startswith("__"))
    assert {stem for stem, count in counts.items() if count > 1} <= TWICE

"""What is shipped, what an import changes, and which room may import which."""

import ast
import email.message
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from ib_pyro._version import __version__

ROOT = Path(__file__).parents[1]
ROOMS = (
    "ib_pyro",
    "models",
    "inference",
    "ib_pyro_cli",
    "notebooks",
    "tests",
)  # each imports itself and those before it


def build(target: str, source: Path, out: Path) -> Path:
    """Build a wheel or an sdist with the installed backend, hence without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (archive,) = out.iterdir()
    return archive


def run(script: str, cwd: Path) -> None:
    """Run a script in a fresh interpreter and show what it printed if it fails."""
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def names(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as files:
        return set(files.namelist())


def test_wheel_holds_all_of_ib_pyro_and_the_command_with_its_rooms(wheel: Path) -> None:
    """Names as common as `models` are occupied in nobody's site-packages."""
    info = f"ib_pyro-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names(wheel)} == {"ib_pyro", "ib_pyro_cli", info}
    modules = {
        path.relative_to(ROOT).as_posix() for room in ("ib_pyro", "ib_pyro_cli") for path in python_of(room)
    }
    rooms = {
        f"ib_pyro_cli/rooms/{path.relative_to(ROOT).as_posix()}"
        for room in ROOMS[1:3]
        for path in python_of(room)
    }
    assert {name for name in names(wheel) if name.endswith(".py")} == modules | rooms
    assert names(wheel) >= {"ib_pyro/py.typed", f"{info}/licenses/LICENSE"}
    assert not [
        name for name in names(wheel) if name.endswith((".csv", ".png", ".pyc")) or "figures/" in name
    ]


def python_of(room: str) -> list[Path]:
    return list((ROOT / room).rglob("*.py"))


@pytest.mark.slow
def test_what_a_user_does_with_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """In an environment of the wheel and what it requires: the fifteen lines of the guide, and the command."""
    python = environment_of(wheel, tmp_path)
    for word in ("fit", "compare"):
        script = ROOT / "docs" / "guide" / "fifteen_lines.py"
        printed = started([str(python), "-I", str(script), word], tmp_path)
    assert all(beta in printed for beta in ("0.001", "0.1", "1.0"))
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    command = str(python.parent / "ib-pyro")
    assert started([command, "--version"], tmp_path).startswith(f"ib-pyro {__version__} (python ")
    (tmp_path / "mine.py").write_text(OWN)
    words = (
        "--model mine:build --data mine:load --batch-size 20 --beta 0.01 --epochs 1 --accelerator cpu".split()
    )
    fitted = started([command, "fit", *words, "--out", "run", "--quiet"], tmp_path)
    assert started([command, "evaluate", "run"], tmp_path) == fitted
    # Two processes find the rooms as this one does.
    swept = started(
        [command, "sweep", *words, "--seeds", "0,1", "--processes", "2", "--out", "sweep"], tmp_path
    )
    assert "| mine:build, mine:load |" in swept


OWN = """
import torch
from torch import nn
from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout

def build(image_shape, num_classes):
    return Bottleneck(InformationDropout.linear(image_shape[0], 4), nn.Linear(4, num_classes))

def load():
    x = torch.linspace(-1, 1, 60)[:, None]
    return {"train": (x, (x[:, 0] > 0).long()), "test": (x, (x[:, 0] > 0).long())}
"""


def environment_of(wheel: Path, folder: Path) -> Path:
    """The interpreter of an environment that has the wheel, and sees what is installed here but for ib_pyro."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    # A line of a .pth puts a folder on the path, and none of the .pth files in it: not the development install.
    (place,) = (folder / "venv").glob("lib/python*/site-packages")
    (place / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def started(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_fifteen_lines_are_fifteen() -> None:
    text = (ROOT / "docs" / "guide" / "fifteen_lines.py").read_text()
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) <= 15


def test_the_oldest_versions_are_those_that_are_allowed(wheel: Path) -> None:
    lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    pinned = {
        line.partition("==")[0]: line.partition("==")[2] for line in lines if "==" in line and line[0] != "#"
    }
    needed = {
        line.name: line
        for line in map(Requirement, metadata_of(wheel).get_all("Requires-Dist"))
        if not line.marker
    }
    arviz = [line for line in metadata_of(wheel).get_all("Requires-Dist") if line.startswith("arviz<1")]
    needed |= {"arviz": Requirement(arviz[0])} | libraries_of("dev", wheel)
    floors = {
        name: next(part.version for part in each.specifier if part.operator == ">=")
        for name, each in needed.items()
    }
    assert {name: Version(version) for name, version in pinned.items()} == {
        n: Version(f) for n, f in floors.items()
    }


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as files:
        return email.message_from_bytes(files.read(f"ib_pyro-{__version__}.dist-info/METADATA"))


def test_wheel_asks_for_the_arviz_of_its_python(wheel: Path) -> None:
    required = metadata_of(wheel).get_all("Requires-Dist")
    assert {line for line in required if line.startswith("arviz")} == {
        "arviz<1,>=0.22; python_version < '3.12'",
        "arviz>=1; python_version >= '3.12'",
    }
    operators = {part.operator for line in required for part in Requirement(line).specifier}
    assert operators == {">=", "<"}, "ranges, not pins"


def libraries_of(extra: str, wheel: Path) -> dict[str, Requirement]:
    """What an extra adds, by name, and what the extras add that it names."""
    required = [Requirement(line) for line in metadata_of(wheel).get_all("Requires-Dist")]
    added = [each for each in required if each.marker and "extra ==" in str(each.marker)]
    found: dict[str, Requirement] = {}
    for each in (each for each in added if each.marker.evaluate({"extra": extra})):
        if each.name == "ib-pyro":
            for other in each.extras:
                found |= libraries_of(other, wheel)
        else:
            found[each.name] = each
    return found


def test_extras_hold_what_the_stores_ask_for(wheel: Path) -> None:
    netcdf, zarr = libraries_of("netcdf", wheel), libraries_of("zarr", wheel)
    assert set(netcdf) == {"h5netcdf", "h5py"}
    assert set(zarr) == {"zarr"}
    # The store is written through calls that Zarr 2 has not.
    assert "2.18.7" not in zarr["zarr"].specifier
    assert version("zarr") in zarr["zarr"].specifier
    # The notebook on posterior noise writes netCDF, and the tests write both.
    assert {*netcdf, "nbclient"} <= set(libraries_of("notebooks", wheel))
    assert {*netcdf, *zarr, "pytest"} <= set(libraries_of("dev", wheel))


def test_every_extra_that_a_text_names_exists(wheel: Path) -> None:
    extras = set(metadata_of(wheel).get_all("Provides-Extra"))
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for room in ROOMS:
        texts += [path for path in (ROOT / room).rglob("*.py") if path != Path(__file__)]
    named = {str(path.relative_to(ROOT)): extras_named(path.read_text()) for path in texts}
    assert {"zarr", "netcdf"} <= named["README.md"] & named["ib_pyro/export/inference_data.py"]
    assert not {path: names - extras for path, names in named.items() if names - extras}


def extras_named(text: str) -> set[str]:
    """Extras in commands such as ``pip install 'ib-pyro[zarr]'`` and ``pip install '.[zarr,netcdf]'``."""
    lists = re.findall(r"pip install (?:-e )?['\"](?:ib-pyro|\.)\[([\w,-]+)\]", text)
    return {name for names in lists for name in names.split(",")}


def test_wheel_is_complete_without_the_other_rooms(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        files.extractall(tmp_path)
    script = f"""
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ROOMS[1:]!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.path.insert(0, {str(tmp_path)!r})
import ib_pyro

assert ib_pyro.__file__.startswith({str(tmp_path)!r}), ib_pyro.__file__
for module in pkgutil.walk_packages(ib_pyro.__path__, "ib_pyro."):
    importlib.import_module(module.name)
"""
    run(script, tmp_path)


def test_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    unpacked = tmp_path / "unpacked"
    subprocess.run([sys.executable, "-m", "tarfile", "--extract", sdist, unpacked], check=True)
    (source,) = unpacked.iterdir()
    rebuilt = build("wheel", source, tmp_path / "wheel")
    assert rebuilt.name == wheel.name
    assert names(rebuilt) == names(wheel)


def test_development_install_puts_the_root_on_the_path(tmp_path: Path) -> None:
    places = {room: str(ROOT / room / "__init__.py") for room in ROOMS[:3]}
    run(
        "import ib_pyro, models, inference\n"
        f"assert {{m.__name__: m.__file__ for m in (ib_pyro, models, inference)}} == {places!r}",
        tmp_path,
    )


def test_import_changes_nothing_global(tmp_path: Path) -> None:
    script = """
import importlib, os, pkgutil, random
os.environ["MPLBACKEND"] = "Agg"
import matplotlib, numpy, pyro, torch

def state():
    return {
        "default dtype": torch.get_default_dtype(),
        "torch generator": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": str(numpy.random.get_state()),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch validation": torch.distributions.Distribution._validate_args,
        "pyro settings": pyro.settings.get(),
        "parameters": dict(pyro.get_param_store().items()),
        "handlers": list(pyro.poutine.runtime._PYRO_STACK),
        "rcParams": dict(matplotlib.rcParams),
    }

before = state()
import ib_pyro
for module in pkgutil.walk_packages(ib_pyro.__path__, "ib_pyro."):
    importlib.import_module(module.name)
after = state()
changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
assert not changed, changed
"""
    run(script, tmp_path)


def imported_rooms(source: str) -> set[str]:
    """The rooms that a module's source imports, at its top or within a function, by statement or by name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "import_module",
            "importlib.import_module",
            "__import__",
        }:
            found.update(str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))
    return {name.split(".")[0] for name in found} & set(ROOMS)


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import models.mlp as m, torch", {"models"}),
        ("from inference.runs import run", {"inference"}),
        ("def f():\n    from ib_pyro import nn", {"ib_pyro"}),
        ("importlib.import_module('models.vae')", {"models"}),
        ("from . import models", set()),
        ("import models_of_others", set()),
    ],
)
def test_imported_rooms_sees_every_form(source: str, rooms: set[str]) -> None:
    assert imported_rooms(source) == rooms


@pytest.mark.parametrize("room", ROOMS[:5])
def test_imports_go_one_way(room: str) -> None:
    modules = sorted((ROOT / room).rglob("*.py"))
    assert modules or room == "notebooks"
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    against = {str(path.relative_to(ROOT)): imported_rooms(path.read_text()) - allowed for path in modules}
    assert not {path: rooms for path, rooms in against.items() if rooms}


def test_pre_commit_runs_what_make_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    (lint,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("lint:")]
    targets = lint.removeprefix("lint:").split("##")[0].split()
    assert entries == [f"make {target}" for target in targets]

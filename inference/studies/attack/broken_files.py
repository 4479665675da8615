"""Files that are broken, edited or of another run: each is refused by its path, made anew, or does no harm."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import struct
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import torch

from inference.runs.finished import read_finished
from inference.runs.folder import RunFolder
from inference.runs.run import evaluate_run, load_run, run
from inference.runs.spec import RunSpec
from inference.runs.splits import load_splits
from inference.studies.attack.attempts import Kind, Silent
from inference.studies.attack.damage import DAMAGE

__all__ = ["BROKEN_DATA", "BROKEN_RUNS"]

SETTINGS = {"epochs": 1, "hidden": 8, "beta_paper": 1.0, "limit": 100, "threads": 1, "accelerator": "cpu"}
FILES = ("config.json", "checkpoint.pt", "result.json", "metrics.csv", ".lock", ".holder.json")
Act = Callable[[Path], Any]


def resumed(out: Path) -> dict[str, Any]:
    """Go on with a run, which is done but for its result."""
    (out / "result.json").unlink(missing_ok=True)
    return run(RunFolder(out).spec(), out, resume=True, progress=False)


def loaded(out: Path) -> dict[str, torch.Tensor]:
    """Load its program."""
    return dict(load_run(out)[0].state_dict())


ACTS: dict[str, Act] = {
    "evaluate": evaluate_run,
    "resume": resumed,
    "load": loaded,
    "compare": lambda out: read_finished(out).result,
}


def prepare_runs(folder: Path) -> Path:
    """Fit two runs of the same shapes, and note what each act finds of the first."""
    for name, lr in (("run", 0.07), ("other", 0.05)):
        run(RunSpec.of(**SETTINGS, lr=lr), folder / name, progress=False)
    return folder


def attempt_run(generator: random.Random, folder: Path, place: Path) -> Counter[str]:
    """Damage one file of a run, or put another run's in its place, and act on the run."""
    file, name = generator.choice(FILES), generator.choice([*DAMAGE, "another run's"])
    act = generator.choice(sorted(ACTS))
    before = folder / "before"
    if not before.exists():
        shutil.copytree(folder / "run", before)
    expected = acted(ACTS[act], shutil.copytree(before, place / "before"))
    out = Path(shutil.copytree(before, place / "run"))
    if name == "another run's":
        shutil.copy(folder / "other" / file, out / file) if (folder / "other" / file).exists() else None
    else:
        content = (out / file).read_bytes() if (out / file).exists() else b""
        (out / file).write_bytes(DAMAGE[name](content, generator))
    return outcome(ACTS[act], out, expected, f"{act} of a run whose {file} is {name}", place)


def acted(act: Act, out: Path) -> Any:  # noqa: ANN401 - a result, or tensors
    """What an act finds, without the times in it."""
    found = act(out)
    return {**found, "seconds": 0} if "seconds" in found else found


def outcome(act: Act, out: Path, expected: Any, told: str, place: Path) -> Counter[str]:  # noqa: ANN401
    """Act, and tell apart what is refused, what is said, and what does no harm.

    Raises:
        Silent: If numbers differ and nothing says so, or the error is none for a user.
    """
    with warnings.catch_warnings(record=True) as said, chdir(place):
        warnings.simplefilter("always")
        try:
            found = acted(act, out)
        except (OSError, ValueError) as error:
            text = str(error)
            if str(place) not in text or "weights_only" in text:
                raise Silent(
                    f"{told}: the error names no path, or advises to run what is in it: {text}"
                ) from error
            found = None
        except Exception as error:
            raise Silent(f"{told}: {type(error).__name__}, which is a traceback: {error}") from error
    if (place / "ran").exists():
        raise Silent(f"{told}: what was in the file was run")
    if found is None:
        return Counter({"refused": 1})
    if not same(found, expected):
        raise Silent(f"{told}: taken, with other numbers")
    return Counter({"said and harmless" if said else "harmless": 1})


def same(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two results or states are the same."""
    if one.keys() != other.keys():
        return False
    return all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


def prepare_data(folder: Path) -> Path:
    """Write a small set in the layout of MNIST, and fit a run to it."""
    raw = folder / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 120), ("t10k", 60)):
        y = torch.arange(count) % 10
        x = torch.zeros(count, 28, 28, dtype=torch.uint8)
        x[:, 6:22, 6:22] = torch.randint(0, 256, (count, 16, 16), generator=generator, dtype=torch.uint8)
        images = struct.pack(">BBBB3I", 0, 0, 8, 3, count, 28, 28) + x.numpy().tobytes()
        labels = struct.pack(">BBBBI", 0, 0, 8, 1, count) + y.to(torch.uint8).numpy().tobytes()
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    settings = {**SETTINGS, "limit": None, "holdout": 20, "data": "mnist", "data_root": folder / "data"}
    run(RunSpec.of(**settings), folder / "run", progress=False)
    return folder


def attempt_data(generator: random.Random, folder: Path, place: Path) -> Counter[str]:
    """Damage a file of the images, and evaluate the run that was fitted to them."""
    name = generator.choice(sorted(DAMAGE))
    data, out = place / "data", Path(shutil.copytree(folder / "run", place / "run"))
    shutil.copytree(folder / "data", data)
    path = generator.choice(sorted(path for path in data.rglob("*") if path.is_file()))

    def evaluated(run_folder: Path) -> dict[str, Any]:
        load_splits.cache_clear()
        return evaluate_run(run_folder, data_root=data)

    expected = acted(evaluated, Path(shutil.copytree(out, place / "before")))
    path.write_bytes(DAMAGE[name](path.read_bytes(), generator))
    os.utime(path)
    return outcome(evaluated, out, expected, f"a run on images whose {path.name} is {name}", place)


BROKEN_RUNS = Kind(
    "broken-runs",
    "a file of a run is damaged or another run's: refused by its path, or harmless",
    prepare_runs,
    attempt_run,
)
BROKEN_DATA = Kind(
    "broken-data",
    "a file of the images is damaged: the run on them is refused, or has the same numbers",
    prepare_data,
    attempt_data,
)

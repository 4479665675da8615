"""``--model module:function`` and ``--data module:function`` or a folder, from a folder that is no checkout."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.cli.main import main

ROOT = Path(__file__).parents[3]

MODULE = """
from functools import cache

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from NAME_parts import depth


def build(image_shape, num_classes, width: int = 6, norm: bool = False, rate="log-uniform"):
    layers = [InformationDropout.linear(image_shape[-1], width, batch_norm=norm, prior=rate)]
    return Bottleneck(nn.Sequential(*layers[:depth]), nn.Linear(width, num_classes))


def pair(image_shape):
    weights = nn.Linear(image_shape[-1], 1)

    def model(x, y):
        with pyro.plate("batch", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 0.5), obs=y)

    def guide(x, y):
        with pyro.plate("batch", len(x)):
            pyro.sample("z", dist.Normal(weights(x).squeeze(-1), 0.5))

    return model, guide


def no_program(image_shape):
    return 3


once = cache(build)
WEIGHTS = torch.tensor([1.0, 2.0])
learned_before = cache(lambda: nn.Linear(5, 5).requires_grad_(False))
with_statistics = cache(lambda: nn.BatchNorm1d(5, affine=False))


def behind(image_shape, num_classes):
    layers = nn.Sequential(learned_before(), InformationDropout.linear(5, 4))
    return Bottleneck(layers, nn.Linear(4, num_classes), class_weights=WEIGHTS)


def behind_statistics(image_shape, num_classes):
    return Bottleneck(nn.Sequential(with_statistics(), InformationDropout.linear(5, 4)), nn.Linear(4, num_classes))


def load(seed=0, size: int = 90, levels=False):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size + 40, 5, generator=generator)
    y = x[:, 0] if levels else (x[:, 0] > 0).long()
    return {"train": (x[:size], y[:size]), "test": (x[size:].numpy(), y[size:].numpy())}


def held_out(part="validation", fault=None):
    parts = load(levels=True)
    x, y = torch.randn(30, 5), torch.randn(30)
    if fault == "input":
        x[3, 1] = float("inf")
    if fault == "target":
        y[3] = float("nan")
    return parts | {part: (x, y)}


def one_split():
    return {"train": (torch.zeros(3, 2), torch.zeros(3))}


def bytes_for_numbers():
    pair = torch.zeros(3, 2, dtype=torch.uint8), torch.zeros(3)
    return {"train": pair, "test": pair}
"""
FIT = "fit --epochs 2 --batch-size 20 --beta 0.01 --accelerator cpu --threads 1 --quiet".split()


def write_module(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(MODULE.replace("NAME", name))
    (folder / f"{name}_parts.py").write_text("depth = 1\n")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a module in the current folder, which is no checkout and is empty otherwise."""
    name = f"own_{zlib.crc32(request.node.name.encode()):08x}"
    monkeypatch.chdir(tmp_path)
    # As a fresh process would, leave no compiled files that a changed one within a second would be read from.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write_module(tmp_path, name)
    yield name
    forget(name)


def forget(name: str) -> None:
    """Let a module be imported anew, as in another process."""
    for loaded in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[loaded]


def fit(name: str, *words: str, out: str = "run") -> int:
    return main([*FIT, "--model", f"{name}:build", "--data", f"{name}:load", "--out", out, *words])


def config(out: str = "run") -> dict:
    return json.loads((Path(out) / "config.json").read_text())


def test_a_run_of_ones_own_is_kept_resumed_and_evaluated(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        fit(mine, "--model-options", "width=4,norm=true", "--data-options", "size=80", "--holdout", "20") == 0
    )
    printed = capsys.readouterr().out
    assert f"{mine}:build, {mine}:load" in " ".join(printed.split())
    kept = config()
    assert kept["settings"]["model_options"] == {"width": 4, "norm": True}
    assert (kept["num_train"], kept["num_validation"], kept["num_test"], kept["source"]) == (
        60,
        20,
        40,
        "own",
    )
    assert kept["settings"]["optimizer"] == "adam"
    for option in ("model", "data"):
        assert kept["sources"][option]["path"] == str(Path(f"{mine}.py").resolve())
        assert set(kept["sources"][option]["files"]) == {f"{mine}.py", f"{mine}_parts.py"}
    before = (Path("run") / "result.json").read_bytes()
    assert main(["evaluate", "run"]) == 0
    assert capsys.readouterr().out == printed
    assert (Path("run") / "result.json").read_bytes() == before
    (Path("run") / "result.json").unlink()
    assert main(["fit", "--config", "run/config.json", "--resume", "--quiet"]) == 0
    again = json.loads((Path("run") / "result.json").read_text())
    assert {**again, "seconds": 0, "checksum": 0} == {**json.loads(before), "seconds": 0, "checksum": 0}


def test_a_model_and_a_guide_of_ones_own_observe_what_the_data_say(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(mine, "--model", f"{mine}:pair", "--data-options", "levels=true", "--epochs", "20") == 0
    assert "not a classifier" in capsys.readouterr().out
    result = json.loads((Path("run") / "result.json").read_text())
    assert result["test_error_noisy"] is None
    assert result["rate"] == result["rate/z"] > 0


def test_runs_of_ones_own_go_side_by_side_or_one_by_one_to_the_same_numbers(mine: str) -> None:
    """Also of a model and a guide."""
    for name, options in (("build", ""), ("pair", "--data-options levels=true")):
        grid = ["sweep", *FIT[1:-1], "--model", f"{mine}:{name}", "--data", f"{mine}:load", *options.split()]
        grid += ["--seeds", "0,1", "--out"]
        assert main([*grid, f"alone_{name}"]) == 0
        assert main([*grid, f"together_{name}", "--vectorize", "true"]) == 0
        for path in Path(f"alone_{name}").glob("*/result.json"):
            alone, together = (
                json.loads(file.read_text()) for file in (path, Path(f"together_{name}", *path.parts[1:]))
            )
            assert together["rate"] == pytest.approx(alone["rate"], rel=1e-4)
            assert together["distortion"] == pytest.approx(alone["distortion"], rel=1e-4)


def test_runs_may_share_a_network_that_was_trained_before(mine: str) -> None:
    """The second run of a sweep is that of a fit alone."""
    words = [*FIT[1:-1], "--model", f"{mine}:behind", "--data", f"{mine}:load"]
    assert main(["sweep", *words, "--seeds", "0,1", "--out", "both"]) == 0
    assert main(["fit", *words, "--seed", "1", "--out", "alone"]) == 0
    (path,) = Path("both").glob("*seed1*/result.json")
    both, alone = (json.loads(file.read_text()) for file in (path, Path("alone/result.json")))
    assert both["rate"] == alone["rate"]


def test_learned_priors_of_a_program_that_is_no_bottleneck_go_at_their_own_rate(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", f"{mine}:pair", "--data-options", "levels=true", "--steady-priors", "true"]
    assert fit(mine, *words) == 2
    assert "--steady-priors goes with a Bottleneck" in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.mark.parametrize("changed", ["", "_parts"])
def test_what_has_changed_since_the_fit_is_named(
    mine: str, changed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(mine) == 0
    table = [capsys.readouterr(), main(["compare", "run"]), capsys.readouterr().out][2]
    file = Path(f"{mine}{changed}.py")
    file.write_text(file.read_text() + "\n# another\n")
    for words in (["evaluate", "run"], [*FIT, "--config", "run/config.json", "--out", "run", "--resume"]):
        assert main(words) == 2
        told = capsys.readouterr().err
        assert f"--model {mine}:build is not what it was at the fit" in told
        assert f"{file.name} {config()['sources']['model']['files'][file.name]} there" in told
    # A table is of what the runs were fitted with, and says that this is no more.
    assert main(["compare", "run"]) == 0
    assert capsys.readouterr().out.startswith(table)
    # This process has the former one.
    assert fit(mine, "--seed", "1", out="other") == 2
    assert "has changed since this process imported it; start a new one" in capsys.readouterr().err
    # Two versions of a file are no seeds of one run.
    forget(mine)
    assert fit(mine, "--seed", "1", out="other") == 0
    capsys.readouterr()
    assert main(["compare", "run", "other"]) == 0
    compared = capsys.readouterr().out
    assert compared.count(f"digest of {file.name}") == 2
    assert compared.count("changed: run:") == 1


def test_what_is_no_longer_there_is_named(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(mine) == 0
    where = Path(f"{mine}.py").resolve()
    where.rename("elsewhere.py")
    sys.modules.pop(mine)
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 2
    told = capsys.readouterr().err
    assert f"run: --model {mine}:build: there is no module {mine}" in told
    assert f"at the fit it was {where}" in told
    assert main(["compare", "run"]) == 0
    assert "changed: run: --model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model NAME:built", "NAME has no function built; did you mean build?"),
        ("--model NAMES:build", "there is no module NAMES in"),
        (
            "--model NAME:no_program",
            "--model NAME:no_program: a int is no program; return an ib_pyro.Bottleneck",
        ),
        ("--model-options widht=4", "--model NAME:build takes width, norm, rate; did you mean width?"),
        ("--model-options width=many", "--model-options width=many: width takes a whole number"),
        ("--model-options width=0.5", "--model-options width=0.5: width takes a whole number"),
        ("--model-options num_classes=3", "num_classes is given by the run itself; leave it out"),
        ("--model-options width", "--model-options takes options such as width=32,norm=true; got width"),
        ("--model-options rate=flat", "--model NAME:build failed: ValueError: "),
        ("--model pathlib:Path.home", "model 'pathlib:Path.home' is unknown"),
        ("--hidden 4", "--hidden 4 has no effect with --model NAME:build"),
        ("--model mlp --model-options width=4", "--model-options width=4 has no effect with --model mlp"),
        ("--model mlp", "--model mlp takes images [N, C, H, W] with whole numbers as labels"),
        (
            "--data NAME:one_split",
            "--data NAME:one_split returns a mapping of train; return a mapping such as",
        ),
        (
            "--model NAME:once",
            "--model NAME:once returns the same encoder.0.features.weight each time it is called",
        ),
        ("--model NAME:behind_statistics", "returns the same encoder.0.running_mean each time"),
        ("--data NAME:bytes_for_numbers", "x of its train split is torch.uint8; make it floating"),
        (
            "--data NAME:no_program",
            "--data NAME:no_program needs image_shape; add --data-options image_shape=VALUE",
        ),
        ("--limit 91", "--limit 91 of the 90 train samples of --data NAME:load"),
        ("--holdout 90", "--holdout 90 of the 90 train samples"),
        ("--whiten true", "--whiten goes with sets by name"),
        (
            "--data digits --data-options n=1",
            "--data-options n=1 goes with a function or a folder of your own",
        ),
        ("--data ./nowhere", "nowhere: no such folder"),
        ("--data nowhere", "data set 'nowhere' is unknown"),
    ],
)
def test_what_cannot_be_had_is_named_and_nothing_is_written(
    mine: str, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(mine, *words.replace("NAME", mine).split()) == 2
    told = capsys.readouterr().err
    assert message.replace("NAME", mine) in told
    assert told.count("\n") == 1
    assert not Path("run").exists()


def test_a_model_of_ones_own_is_asked_for_the_weight_of_its_rate(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--model", f"{mine}:build", "--data", f"{mine}:load", "--out", "run"]) == 2
    assert f"--model {mine}:build needs the weight of its rate: --beta" in capsys.readouterr().err


def test_a_module_that_another_one_hides_is_refused(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("json.py").write_text("def build():\n    pass\n")
    assert fit(mine, "--model", "json:build") == 2
    assert "json.py is hidden by another module of its name" in capsys.readouterr().err


def draw_images(folder: Path, number: int, side: int = 8) -> None:
    generator = np.random.default_rng(number)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for index in range(number):
            level = 60 if label == "cat" else 200
            pixels = generator.integers(level - 40, level + 40, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{index}.png")


def test_a_folder_of_images_is_data(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw_images(Path("pictures/flat"), 20)
    words = [*FIT, "--hidden", "4", "--out", "run", "--holdout", "4", "--data", "./pictures/flat"]
    assert main([*words, "--epochs", "20"]) == 0
    kept = config()
    assert (kept["settings"]["data"], kept["settings"]["data_root"]) == (
        "flat/",
        str(Path("pictures").resolve()),
    )
    assert (kept["num_train"], kept["num_validation"], kept["num_test"]) == (28, 4, 8)
    assert json.loads((Path("run") / "result.json").read_text())["test_error_predictive"] < 0.2
    # Moved, they are the same images; changed, they are not.
    Path("pictures").rename("moved")
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["evaluate", "run", "--data-root", "moved"]) == 0
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save("moved/flat/cat/0.png")
    assert main(["evaluate", "run", "--data-root", "moved"]) == 2
    assert "are not those of the fit" in capsys.readouterr().err


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "inference", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_from_a_folder_outside_of_the_checkout(tmp_path: Path) -> None:
    """Fit, go on, evaluate, sweep in two processes and compare, beside a ``models.py`` that is not ours."""
    write_module(tmp_path, "mine")
    (tmp_path / "models.py").write_text("raise RuntimeError('this is not ours')\n")
    own = ["--model", "mine:build", "--data", "mine:load", "--batch-size", "20", "--accelerator", "cpu"]
    first = python(tmp_path, "fit", *own, "--beta", "0.01", "--epochs", "2", "--out", "run", "--quiet")
    assert first.returncode == 0, first.stderr
    before = (tmp_path / "run" / "result.json").read_bytes()
    evaluated = python(tmp_path, "evaluate", "run")
    assert (evaluated.returncode, evaluated.stdout) == (0, first.stdout), evaluated.stderr
    assert (tmp_path / "run" / "result.json").read_bytes() == before
    resumed = python(tmp_path, "fit", "--config", "run/config.json", "--resume", "--quiet")
    assert (resumed.returncode, resumed.stdout) == (0, first.stdout), resumed.stderr
    grid = ["--betas", "0.01,0.1", "--seeds", "0,1", "--epochs", "2", "--out", "sweep", "--processes", "2"]
    swept = python(tmp_path, "sweep", *own, *grid)
    assert swept.returncode == 0, swept.stderr
    folders = sorted(str(path.parent) for path in tmp_path.glob("sweep/*/result.json"))
    assert len(folders) == 4
    compared = python(tmp_path, "compare", *folders)
    assert compared.returncode == 0, compared.stderr
    rows = [line.split(" | ") for line in compared.stdout.splitlines() if line.startswith("| mine:build")]
    assert [row[4] for row in rows] == ["2", "2"]
    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text() + "\n")
    refused = python(tmp_path, "evaluate", "run")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: run: --model mine:build is not what it was at the fit")


@pytest.mark.parametrize("part", ["model", "data"])
@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity"])
def test_numbers_that_no_configuration_keeps_are_refused_as_options(
    mine: str, part: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    function = {"model": "build", "data": "load"}
    words = [word for each in function for word in (f"--{each}", f"{mine}:{function[each]}")]
    option = "width" if part == "model" else "seed"
    assert main([*FIT, *words, f"--{part}-options", f"{option}={number}", "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert f"--{part}-options: {option}={float(number)} is not finite" in error
    assert not Path("run").exists()


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("fault", ["input", "target"])
@pytest.mark.parametrize("vectorize", ["true", "false"])
def test_a_sweep_looks_at_held_out_data_before_it_fits(
    mine: str, part: str, fault: str, vectorize: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", *FIT[1:-1], "--model", f"{mine}:pair", "--data", f"{mine}:held_out", "--seeds", "0,1"]
    words += ["--data-options", f"part={part},fault={fault}", "--vectorize", vectorize, "--out", "runs"]
    assert main(words) != 0
    said = capsys.readouterr()
    assert f"{part}: " in said.out + said.err
    assert not list(Path("runs").glob("*/metrics.csv"))

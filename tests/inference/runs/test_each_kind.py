"""A folder of the command line, of the demo and of a figure: evaluated, compared, resumed and refitted alike."""

import csv
import io
import json

import pytest
from rich.console import Console

from inference.cli import main
from inference.json_and_csv import read_json
from inference.studies.demo import CleanLabels, Setting, grid, run_studies
from inference.studies.paper.place import Place
from inference.studies.paper.runner import run_figure

QUICK = ["--hidden", "8", "--limit", "100", "--epochs", "1", "--quiet"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A finished run of each kind, made by who makes them."""
    root = tmp_path_factory.mktemp("kinds")
    console = Console(file=io.StringIO())
    assert main(["fit", *QUICK, "--beta", "0.01", "--out", str(root / "fit")]) == 0
    vae = ["--model", "vae", "--limit", "100", "--epochs", "1", "--num-importance-samples", "2", "--quiet"]
    assert main(["fit", *vae, "--out", str(root / "vae")]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            grid, "GRID", (Setting("information", "beta_paper", 1.0), Setting("binary", "drop_prob", 0.1))
        )
        run_studies([CleanLabels(root / "demo", seeds=1, epochs=1)], processes=1, console=console)
    run_figure("fig6", "smoke", Place(root / "paper"), console=console)
    run_figure("table1", "smoke", Place(root / "paper"), console=console)
    figures = sorted((root / "paper").glob("runs-stand-in/*"))
    return {
        "fit": root / "fit",
        "vae": root / "vae",
        "demo": root / "demo" / "runs" / "binary-drop_prob-0.1-seed-0",
        "fig6": next(path for path in figures if path.name.startswith("all-cnn")),
        "table1": next(path for path in figures if path.name.startswith("vae")),
    }


KINDS = pytest.mark.parametrize("kind", ["fit", "vae", "demo", "fig6", "table1"])


def metrics(folder):
    with (folder / "metrics.csv").open() as handle:
        return [{**row, "seconds": ""} for row in csv.DictReader(handle)]


@KINDS
def test_it_is_evaluated_to_the_same_numbers(folders, kind):
    file = folders[kind] / "result.json"
    before = file.read_bytes()
    file.unlink()
    assert main(["evaluate", str(folders[kind])]) == 0
    assert file.read_bytes() == before


@KINDS
def test_it_is_refitted_from_its_configuration_to_the_same_numbers(folders, kind, tmp_path):
    config = folders[kind] / "config.json"
    assert main(["fit", "--config", str(config), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert metrics(tmp_path / "again") == metrics(folders[kind])
    there, here = (read_json(path / "result.json") for path in (folders[kind], tmp_path / "again"))
    assert {**here, "seconds": 0} == {**there, "seconds": 0}


@KINDS
def test_its_configuration_alone_names_its_folder(folders, kind, capsys):
    config = ["fit", "--config", str(folders[kind] / "config.json"), "--quiet"]
    assert main(config) == 2
    assert f"{folders[kind]} already holds this run, finished" in capsys.readouterr().err
    before = (folders[kind] / "result.json").read_bytes()
    assert main([*config, "--resume"]) == 0
    assert (folders[kind] / "result.json").read_bytes() == before


def test_all_of_them_are_compared_in_one_table(folders, capsys):
    assert main(["compare", *map(str, folders.values())]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(folders)
    assert all(line.count("|") == head.count("|") for line in lines)
    assert any("binary 0.1" in line for line in lines)


def test_what_is_typed_goes_before_what_is_stored(folders, tmp_path):
    words = ["--config", str(folders["fit"] / "config.json"), "--beta-paper", "2", "--epochs", "2"]
    assert main(["fit", *words, "--out", str(tmp_path / "other"), "--quiet"]) == 0
    settings = json.loads((tmp_path / "other" / "config.json").read_text())["settings"]
    assert (settings["beta"], settings["beta_paper"], settings["epochs"]) == (None, 2.0, 2)
    assert settings["hidden"] == 8


def test_runs_that_differ_in_more_than_their_seed_are_no_seeds_of_one(folders, tmp_path, capsys):
    config = ["fit", "--config", str(folders["demo"] / "config.json"), "--quiet"]
    for name, options in {"seed": ["--seed", "1"], "lr": ["--lr", "0.02"]}.items():
        assert main([*config, *options, "--out", str(tmp_path / name)]) == 0
    capsys.readouterr()
    assert main(["compare", str(folders["demo"]), str(tmp_path / "seed"), str(tmp_path / "lr")]) == 0
    _, _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[4] for line in lines] == ["2", "1"]
    # The strength of the noise is the same in both: what sets them apart is said.
    assert [line.split(" | ")[0] for line in lines] == ["| mlp, digits, lr 0.07", "| mlp, digits, lr 0.02"]

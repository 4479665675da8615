"""Folders that earlier versions wrote, of either engine, are read as the same run."""

import json

import pytest
import torch

from inference.cli import main
from inference.json_and_csv import read_json
from inference.runs.older import read_spec
from inference.runs.run import run
from inference.runs.spec import RunSpec
from inference.studies.paper.figures import figure
from inference.studies.paper.place import Place
from inference.studies.paper.plan import Planned, cifar_run, paper_run

# As the two engines wrote them.
OF_THE_COMMAND_LINE = {
    "out": "runs/a",
    "model": "mlp",
    "dropout": "binary",
    "hidden": 8,
    "batch_norm": True,
    "latent": "information",
    "k": 1,
    "drop_prob": 0.2,
    "alpha": 0.7,
    "data": "digits",
    "data_root": None,
    "data_seed": 0,
    "limit": 200,
    "holdout": None,
    "beta": None,
    "beta_paper": None,
    "epochs": 2,
    "batch_size": 50,
    "lr": 0.07,
    "schedule": "paper",
    "lr_drops": [1],
    "optimizer": "sgd",
    "seed": 3,
    "accelerator": "cpu",
    "threads": 1,
}
OF_FIGURE_3A = {
    "model": "mlp",
    "data": "mnist",
    "size": 8,
    "dropout": "constant",
    "alpha": 0.4,
    "validation_images": 50,
    "train_images": 200,
    "test_images": 100,
    "epochs": 1,
    "drops": [1],
    "num_samples": 2,
}
OF_FIGURE_4 = {
    "model": "all-cnn-32",
    "data": "occluded-cifar",
    "size": 0.25,
    "beta_paper": 0.5,
    "train_images": 5000,
    "test_images": 5000,
    "whiten": True,
    "epochs": 15,
    "batch_size": 50,
    "lr": 0.05,
    "drops": [8, 12],
    "nesterov": True,
    "weight_decay": 0.001,
    "num_samples": 1,
    "seed": 2,
}
OF_TABLE_1 = {
    "model": "vae",
    "data": "mnist",
    "size": 2,
    "beta": 1.0,
    "latent": "gaussian",
    "train_images": 10_000,
    "epochs": 30,
    "batch_size": 128,
    "optimizer": "adam",
    "lr": 0.001,
    "drops": [24],
    "num_samples": 1,
}


def test_settings_of_the_command_line_have_kept_their_names():
    spec = read_spec({"settings": OF_THE_COMMAND_LINE})
    assert spec == RunSpec.of(
        dropout="binary",
        hidden=8,
        drop_prob=0.2,
        limit=200,
        epochs=2,
        batch_size=50,
        lr_drops=(1,),
        seed=3,
        accelerator="cpu",
        threads=1,
    )


def test_runs_of_the_figures_are_those_that_they_ask_for_today():
    trial = read_spec({"settings": OF_FIGURE_3A, "source": "stand-in"})
    options = {"model": "mlp", "data": "mnist", "hidden": 8, "dropout": "constant", "alpha": 0.4}
    size = figure("fig3a").size("smoke").trial
    assert trial == paper_run(size, **options, validation_limit=50, stand_in=True)
    small = figure("fig4").size("small")
    options = {"fraction": 0.25, "data": "occluded-cifar", "beta_paper": 0.5, "seed": 2}
    assert read_spec({"settings": OF_FIGURE_4, "source": "real"}) == cifar_run(small, **options)
    options = {"model": "vae", "data": "mnist", "k": 2, "latent": "gaussian", "beta": 1.0}
    options |= {"optimizer": "adam", "num_samples": 1, "num_importance_samples": 0}
    found = read_spec({"settings": OF_TABLE_1, "source": "real"})
    assert found == paper_run(figure("table1").size("small"), **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**OF_THE_COMMAND_LINE, "colour": "red"}, "setting 'colour' is unknown"),
        ({**OF_FIGURE_4, "colour": "red"}, "setting 'colour' is unknown"),
        (None, "it has no settings"),
    ],
)
def test_a_folder_that_cannot_be_read_says_which_file_and_why(settings, message, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"settings": settings}))
    assert main(["evaluate", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'config.json'}: {message}" in error


def as_of_old(out, content):
    """Take out of a run's files what earlier versions did not write."""
    (out / "config.json").write_text(json.dumps(content))
    result = {name: v for name, v in read_json(out / "result.json").items() if name != "digest"}
    (out / "result.json").write_text(json.dumps(result))
    checkpoint = torch.load(out / "checkpoint.pt")
    torch.save({n: v for n, v in checkpoint.items() if n not in ("stamp", "also")}, out / "checkpoint.pt")
    rows = [line.rpartition(",")[0] for line in (out / "metrics.csv").read_text().splitlines()]
    (out / "metrics.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("settings", "options"),
    [(OF_THE_COMMAND_LINE, {}), (OF_FIGURE_3A, {"source": "stand-in"})],
    ids=["command line", "figure"],
)
def test_an_older_folder_is_resumed_evaluated_and_compared(settings, options, tmp_path, capsys):
    content = {"settings": settings, **options}
    spec = read_spec(content)
    out = tmp_path / "run"
    run(spec, out, progress=False)
    as_of_old(out, content)
    result = json.loads((out / "result.json").read_text())
    assert run(spec, out, resume=True) == result
    with pytest.warns(UserWarning, match="unverified") as warned:
        assert main(["evaluate", str(out)]) == 0
    assert {str(each.message).split(" unverified")[0] for each in warned} == {
        f"{out}: whether the images of {spec.data.data} are still those of the fit is",
        f"{out / 'checkpoint.pt'} is",
    }
    again = read_json(out / "result.json")
    again.pop("digest")
    assert again == result
    capsys.readouterr()
    assert main(["compare", str(out)]) == 0
    assert "| mlp, " in capsys.readouterr().out


def test_a_figures_run_of_an_earlier_version_is_found_under_its_name(tmp_path):
    place = Place(tmp_path)
    planned = Planned(read_spec({"settings": OF_FIGURE_3A, "source": "stand-in"}))
    older = place.runs / "mlp-8-mnist-constant-0.4-relu-seed0-12345678"
    older.mkdir(parents=True)
    (older / "config.json").write_text(json.dumps({"settings": OF_FIGURE_3A, "source": "stand-in"}))
    other = planned.spec.but(seed=1)
    assert place.folders([planned.spec, other]) == [older, place.runs / other.name]

"""A result is what it says: files of another run, turned bits, edited settings and changed images are refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference import RunSpec, evaluate_run
from inference.cli import main
from inference.json_and_csv import read_json, write_json
from inference.runs import run as run_module
from inference.runs import splits as splits_module
from inference.runs.finished import read_finished
from inference.runs.folder import RunFolder
from inference.runs.identity import require_same_images
from inference.runs.run import load_run
from inference.runs.spec import entries

Quick = Callable[..., Any]
PLACES = {"data_root", "tensorboard", "capture"}


@pytest.fixture
def pair(quick: Quick, tmp_path: Path) -> tuple[Any, Any]:
    """Two runs whose parameters have the same shapes."""
    jobs = quick(out=tmp_path / "a", epochs=2), quick(out=tmp_path / "b", epochs=2, lr=0.05)
    for job in jobs:
        job.run()
    return jobs


def turned(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def unfinished(job: Any) -> None:
    (job.out / "result.json").unlink()


def test_every_file_of_a_run_has_the_digest_of_its_settings(pair: tuple[Any, Any]) -> None:
    for job in pair:
        digest = job.spec.digest
        assert read_json(job.out / "config.json")["digest"] == digest
        assert read_json(job.out / "result.json")["digest"] == digest
        assert torch.load(job.out / "checkpoint.pt")["stamp"] == {"settings": digest}
        lines = (job.out / "metrics.csv").read_text().splitlines()
        assert [line.rpartition(",")[2] for line in lines] == ["digest", digest, digest]
    assert pair[0].spec.digest != pair[1].spec.digest


OTHER_VALUES: dict[str, Any] = {
    "seed": 1,
    "lr": 0.1,
    "drop_prob": 0.2,
    "optimizer": "adam",
    "batch_size": 7,
    "epochs": 5,
    "lr_drops": (1,),
    "weight_decay": 0.1,
    "precision": "64-true",
    "threads": 3,
    "limit": 9,
    "data_seed": 4,
    "num_samples": 3,
    "beta_factors": {"z1": 2.0},
    "gamma": 0.1,
}


@pytest.mark.parametrize("name", sorted(OTHER_VALUES))
def test_each_setting_changes_the_digest(name: str) -> None:
    options = {"dropout": "binary"} if name == "drop_prob" else {"beta": 1.0}
    first = RunSpec.of(**options)
    assert first.but(**{name: OTHER_VALUES[name]}).digest != first.digest


def test_settings_of_place_alone_are_left_out_of_the_digest() -> None:
    first = RunSpec.of(beta=1.0)
    others = {"data_root": Path("elsewhere"), "tensorboard": True, "capture": "off"}
    assert first.but(**others).digest == first.digest
    assert {entry.name for _, entry in entries() if entry.metadata["place"]} == PLACES == set(others)


@pytest.mark.parametrize("how", ["resume", "evaluate", "load"])
def test_a_checkpoint_of_other_settings_is_refused(pair: tuple[Any, Any], how: str) -> None:
    here, other = pair
    shutil.copy(other.out / "checkpoint.pt", here.out / "checkpoint.pt")
    unfinished(here)
    act = {
        "resume": lambda: here.run(resume=True),
        "evaluate": lambda: evaluate_run(here.out),
        "load": lambda: load_run(here.out),
    }[how]
    with pytest.raises(ValueError, match=r"checkpoint\.pt is of another fit \(settings .* there, .* here\)"):
        act()


def test_a_result_of_other_settings_is_refused(pair: tuple[Any, Any]) -> None:
    here, other = pair
    shutil.copy(other.out / "result.json", here.out / "result.json")
    with pytest.raises(ValueError, match=r"result\.json is of a run of other settings"):
        here.run(resume=True)


@pytest.mark.parametrize("name", ["config.json", "result.json"])
@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_json_with_a_turned_bit_is_refused(quick: Quick, name: str, place: float) -> None:
    job = quick(epochs=1)
    job.run()
    path = job.out / name
    turned(path, int(place * len(path.read_bytes())))
    with pytest.raises(ValueError, match=name):
        job.run(resume=True)


def test_a_turned_bit_of_a_weight_is_refused(quick: Quick) -> None:
    job = quick(epochs=1)
    job.run()
    path = job.out / "checkpoint.pt"
    state = torch.load(path)["program"]
    weight = max(state.values(), key=torch.Tensor.numel)
    turned(path, path.read_bytes().index(weight.numpy().tobytes()) + 2)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged"):
        evaluate_run(job.out)


def test_settings_edited_by_hand_are_refused_even_without_a_checksum(quick: Quick) -> None:
    job = quick(epochs=1)
    job.run()
    path = job.out / "config.json"
    told = json.loads(path.read_text())
    told["settings"]["momentum"] = 0.5
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"config\.json is not as it was written: its checksum is another"):
        evaluate_run(job.out)
    lines = [line for line in json.dumps(told, indent=2).splitlines() if '"checksum"' not in line]
    path.write_text("\n".join(lines))
    assert read_json(path)["settings"]["momentum"] == 0.5
    with pytest.raises(ValueError, match="of a run of other settings"):
        evaluate_run(job.out)


def test_metrics_that_were_changed_are_written_anew(quick: Quick) -> None:
    job = quick(epochs=2)
    job.run()
    path = job.out / "metrics.csv"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"0.", b"1.", 1))
    with pytest.warns(UserWarning, match=r"metrics\.csv is not as it was written"):
        evaluate_run(job.out)
    assert path.read_bytes() == before
    evaluate_run(job.out)


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Change a split of the images in a single pixel or label of one image."""
    load = splits_module.load

    def change_split(what: str) -> None:
        split, _, part = what.partition(".")

        def changed(name: str, asked: str, **options: Any) -> Any:
            found = load(name, asked, **options)
            if asked != split:
                return found
            tensor = getattr(found, part).clone()
            tensor.view(-1)[3] = (tensor.view(-1)[3] + 1) % 2
            return replace(found, **{part: tensor})

        splits_module.load_splits.cache_clear()
        monkeypatch.setattr(splits_module, "load", changed)

    yield change_split
    splits_module.load_splits.cache_clear()


@pytest.mark.parametrize("what", ["train.x", "train.y", "validation.x", "test.x", "test.y"])
@pytest.mark.parametrize("how", ["resume", "evaluate", "load"])
def test_changed_images_are_refused_by_name(
    quick: Quick, change: Callable[[str], None], what: str, how: str
) -> None:
    job = quick(epochs=1)
    job.run()
    unfinished(job)
    change(what)
    act = {
        "resume": lambda: job.run(resume=True),
        "evaluate": lambda: evaluate_run(job.out),
        "load": lambda: load_run(job.out),
    }[how]
    split = what.partition(".")[0]
    with pytest.raises(
        ValueError, match=rf"images of digits are not those of the fit \(fingerprints: {split} \w+ th"
    ):
        act()


def test_a_whitening_fitted_elsewhere_is_said_and_taken(tmp_path: Path) -> None:
    there, here = {"train": "a", "whitening": "b"}, {"train": "a", "whitening": "c"}
    with pytest.warns(UserWarning, match="whitening was fitted anew"):
        require_same_images(tmp_path, there, here, "cifar10")
    with pytest.raises(ValueError, match="train a there, d here"):
        require_same_images(tmp_path, there, {**here, "train": "d"}, "cifar10")


def test_another_device_and_other_versions_are_said(quick: Quick) -> None:
    job = quick(epochs=1)
    job.run()
    path = job.out / "config.json"
    told = read_json(path)
    told["device"] = "cuda:0"
    told["versions"]["torch"] = "1.0.0"
    write_json(path, told, sealed=True)
    with pytest.warns(
        UserWarning, match=r"fitted elsewhere \(device: cuda:0 there, cpu here; torch: 1.0.0 there"
    ):
        evaluate_run(job.out)


def test_a_run_keeps_its_number_of_threads(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = quick(epochs=1, threads=None)
    job.run(threads=2)
    assert RunFolder(job.out).threads == 2
    unfinished(job)
    prepare, seen = run_module.prepare, []

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return prepare(*arguments, **options)

    monkeypatch.setattr(run_module, "prepare", watched)
    job.run(resume=True)
    evaluate_run(job.out)
    quick(out=tmp_path / "other", epochs=1, threads=None).run()
    assert seen == [2, 2, 1]


def test_a_run_is_refitted_from_its_config_bit_for_bit(quick: Quick, tmp_path: Path) -> None:
    job = quick(epochs=2, threads=None)
    job.run(threads=2)
    again = tmp_path / "again"
    assert main(["fit", "--config", str(job.out / "config.json"), "--out", str(again), "--quiet"]) == 0
    assert RunFolder(again).threads == 2
    assert RunFolder(again).digest == job.spec.digest
    there, here = (torch.load(out / "checkpoint.pt")["program"] for out in (job.out, again))
    for name, value in there.items():
        assert torch.equal(value, here[name]), name
    results = [{**read_json(out / "result.json"), "seconds": 0} for out in (job.out, again)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("epochs", "three", "--epochs takes a whole number; got 'three'"),
        ("epochs", 2.5, "--epochs takes a whole number; got 2.5"),
        ("epochs", None, "--epochs takes a whole number; got None"),
        ("epochs", [3], "--epochs takes a whole number"),
        ("batch_norm", 1, "--batch-norm takes true or false; got 1"),
        ("lr", "0.1", "--lr takes a number; got '0.1'"),
        ("lr", True, "--lr takes a number; got True"),
        ("data", 3, "--data takes a name; got 3"),
        ("data_root", 3, "--data-root takes a path; got 3"),
        ("lr_drops", 3, "--lr-drops takes whole numbers; got 3"),
        ("lr_drops", ["a"], "--lr-drops takes whole numbers"),
        ("gamma", {"z1": "much"}, "--gamma takes a number or a number for each site"),
        ("beta_factors", 2, "--beta-factors takes a number for each site; got 2"),
    ],
)
def test_a_setting_of_a_wrong_type_is_named(
    name: str, value: Any, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**RunSpec.of(beta=1.0).settings(), name: value}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"settings": settings}))
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    assert main(["evaluate", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{path}: {told}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["settings", "fingerprints", "versions", "sources", "program"])
def test_a_config_whose_parts_are_of_another_type_is_refused_by_its_path(
    name: str, quick: Quick, tmp_path: Path
) -> None:
    job = quick(out=tmp_path / "run", epochs=1)
    job.run()
    content = read_json(job.out / "config.json")
    write_json(
        job.out / "config.json", {**content, **({"sources": {name: 3}} if name == "program" else {name: 3})}
    )
    for act in (evaluate_run, load_run, read_finished):
        with pytest.raises(ValueError, match=rf"config.json is of something else: its {name} are 3"):
            act(job.out)

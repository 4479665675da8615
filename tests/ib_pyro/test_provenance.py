"""What a result says of its making: versions, the revision where there is one, and beta in both its units."""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import ib_pyro
from ib_pyro.provenance import beta_attributes, revision, version_attributes, versions

HERE = Path(__file__).parent


def test_versions_of_what_the_numbers_depend_on():
    found = versions("ib-pyro", "torch", "no-such-package")
    assert list(found) == ["python", "ib-pyro", "torch", "no-such-package"]
    assert re.match(r"\d+\.\d+", found["torch"])
    assert found["no-such-package"] is None


def test_an_export_says_who_made_it_and_with_what():
    found = version_attributes()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found.pop("created_at"))
    assert found == {
        "creation_library": "ib_pyro",
        "creation_library_version": ib_pyro.__version__,
        "inference_library": "pyro",
        "inference_library_version": version("pyro-ppl"),
        "torch_version": version("torch"),
        "arviz_version": version("arviz"),
    }


def test_beta_is_said_in_both_its_units():
    assert beta_attributes(None, 10) == {}
    assert beta_attributes(0.5, None).keys() == {"beta_unit", "beta"}
    assert beta_attributes(torch.tensor([0.5, 1.0]), 10) | {"beta_unit": ""} == {
        "beta_unit": "",
        "beta": [0.5, 1.0],
        "beta_paper": [5.0, 10.0],
    }
    assert beta_attributes({"z1": 0.5, "z2": 2}, 10) | {"beta_unit": ""} == {
        "beta_unit": "",
        "beta_z1": 0.5,
        "beta_paper_z1": 5.0,
        "beta_z2": 2.0,
        "beta_paper_z2": 20.0,
    }
    with pytest.raises(ValueError, match="beta"):
        beta_attributes(-1.0, 10)


def test_revision_is_left_out_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert revision(HERE) is None


def test_revision_is_a_commit_where_there_is_a_repository():
    found = revision(HERE)
    if found is None:
        pytest.skip("needs git and a repository with a commit")
    assert re.fullmatch(r"[0-9a-f]{40}", found["commit"])


def test_revision_is_that_of_the_folder_and_says_whether_it_was_changed(tmp_path):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True)

    try:
        git("init")
    except FileNotFoundError:
        pytest.skip("needs git")
    assert revision(tmp_path) is None
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-m", "one")
    assert revision(tmp_path)["dirty"] is False
    (tmp_path / "other.txt").write_text("untracked")
    assert revision(tmp_path)["dirty"] is False
    (tmp_path / "a.py").write_text("2")
    assert revision(tmp_path)["dirty"] is True

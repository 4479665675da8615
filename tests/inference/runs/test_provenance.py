"""Versions and revision, where there are any."""

import re

import pytest

from inference.runs.provenance import revision, versions


def test_versions_of_what_the_numbers_depend_on() -> None:
    found = versions()
    assert set(found) == {"python", "ib-pyro", "torch", "pyro-ppl", "lightning", "numpy"}
    assert re.match(r"\d+\.\d+", found["torch"])


def test_revision_is_left_out_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert revision() is None


def test_revision_is_a_commit_where_there_is_a_repository() -> None:
    found = revision()
    if found is None:
        pytest.skip("needs git and a repository with a commit")
    assert re.fullmatch(r"[0-9a-f]{40}", found["commit"])

"""The examples in the docstrings of inference."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "runs.settings",
        "runs.spec",
        "runs.objective_spec",
        "runs.training_spec",
        "cli.arguments",
        "studies.demo.separation",
        "studies.demo.summary",
        "studies.demo.wrong_labels",
    ],
)
def test_examples_hold(name: str) -> None:
    results = doctest.testmod(import_module(f"inference.{name}"))
    assert results.attempted > 0
    assert results.failed == 0

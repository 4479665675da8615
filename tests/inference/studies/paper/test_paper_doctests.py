"""The examples in the docstrings of the paper's programs."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["drawing", "evidence", "figure", "information_maps", "statistics"])
def test_examples_hold(name: str) -> None:
    results = doctest.testmod(import_module(f"inference.studies.paper.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_the_networks_examples_hold() -> None:
    results = doctest.testmod(import_module("models.all_cnn"))
    assert results.attempted > 0
    assert results.failed == 0

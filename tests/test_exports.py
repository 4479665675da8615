"""Each public name is exported from one place, but for those that are meant to be found twice."""

import importlib
import pkgutil
from collections import defaultdict

import pytest

import ib_pyro
import models
from ib_pyro import diagnostics, information

NAMESPACES = (
    "ib_pyro",
    *(f"ib_pyro.{module.name}" for module in pkgutil.iter_modules(ib_pyro.__path__)),
    *(f"models.{module.name}" for module in pkgutil.iter_modules(models.__path__)),
    "inference",
)
# What a program starts from, found at the top too, and a module that is another name for part of a room.
ALIASES = {
    "ib_pyro.Bottleneck": "ib_pyro.bottleneck.Bottleneck",
    "ib_pyro.InformationBottleneckELBO": "ib_pyro.elbo.InformationBottleneckELBO",
    "ib_pyro.choose_beta": "ib_pyro.choosing.choose_beta",
    "ib_pyro.elpd": "ib_pyro.export.elpd",
    "ib_pyro.evaluate": "ib_pyro.training.evaluate",
    "ib_pyro.fit": "ib_pyro.training.fit",
    "ib_pyro.load": "ib_pyro.saving.load",
    "ib_pyro.noise_off": "ib_pyro.handlers.noise_off",
    "ib_pyro.save": "ib_pyro.saving.save",
    "ib_pyro.sweep": "ib_pyro.side_by_side.sweep",
    "ib_pyro.to_arviz": "ib_pyro.export.to_arviz",
    "ib_pyro.bounds.importance_log_weights": "ib_pyro.diagnostics.importance_log_weights",
    "ib_pyro.bounds.importance_weighted_log_likelihood": "ib_pyro.diagnostics.importance_weighted_log_likelihood",
}


def exported() -> dict[int, set[str]]:
    """Where each public object is exported, by its identity; numbers and strings have none of their own."""
    places = defaultdict(set)
    for namespace in NAMESPACES:
        module = importlib.import_module(namespace)
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, int | float | str):
                places[id(value)].add(f"{namespace}.{name}")
    return places


def test_nothing_is_exported_from_two_places() -> None:
    assert sorted(tuple(sorted(places)) for places in exported().values() if len(places) > 1) == sorted(
        tuple(sorted(pair)) for pair in ALIASES.items()
    )


def test_what_moved_to_information_is_found_among_the_diagnostics_too() -> None:
    assert diagnostics.OF_INFORMATION
    for name in diagnostics.OF_INFORMATION:
        assert getattr(diagnostics, name) is getattr(information, name)
        assert name in information.__all__
        assert name not in diagnostics.__all__
    with pytest.raises(
        AttributeError, match=r"'ib_pyro.diagnostics' has no attribute 'entropy'; it has .*dci"
    ):
        getattr(diagnostics, "entropy")  # noqa: B009

"""A pytest plugin for Pyro's own tests: our distributions among its fixtures, our ELBO in the place of its own.

``run.py`` loads it into a run of Pyro's tests from this folder, since both trees of tests are called ``tests``.
"""

import importlib
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import scipy.stats
from pyro import infer

import ib_pyro.distributions
from ib_pyro import InformationBottleneckELBO
from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)

__all__ = ["SubstitutedELBO"]

EXPECTED = Path(__file__).with_name("expected.toml")


class SubstitutedELBO(InformationBottleneckELBO):
    """Ours with the arguments of Pyro's: particles come first, and rates without a closed form are drawn."""

    def __init__(self, num_particles: int = 1, *args: Any, **options: Any) -> None:
        names = ("max_plate_nesting", "max_iarange_nesting", "vectorize_particles")
        options |= dict(zip(names, args, strict=False))
        super().__init__(num_particles=num_particles, on_no_closed_form="monte-carlo", **options)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of what of ours Pyro's tests are run over."""
    parser.addoption("--ib-pyro", choices=("distributions", "elbo", "nothing"), default="nothing")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Put ours in before any test module is imported."""
    chosen = session.config.getoption("--ib-pyro")
    if chosen == "distributions":
        for name in ib_pyro.distributions.__all__:
            setattr(pyro.distributions, name, getattr(ib_pyro.distributions, name))
    elif chosen == "elbo":
        for name in ("Trace_ELBO", "TraceMeanField_ELBO"):
            setattr(infer, name, SubstitutedELBO)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of Pyro's table of distributions over ours."""
    if metafunc.config.getoption("--ib-pyro") != "distributions":
        return
    for fixture in {"dist", "continuous_dist"} & set(metafunc.fixturenames):
        lines = _matching_lines(fixture)
        names = [line.get_test_distribution_name() for line in lines]
        # A mark, which Pyro's own parameters of the fixture give way to.
        metafunc.definition.add_marker(pytest.mark.parametrize(fixture, lines, ids=names))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that reach ours, and deselect those that the list sets aside."""
    chosen = config.getoption("--ib-pyro")
    if chosen == "nothing":
        return
    kept, left = [], []
    for item in items:
        reaches = chosen == "elbo" or any(name in item.name for name in ib_pyro.distributions.__all__)
        aside = not reaches or _reason(chosen, "deselected", test=item.name) is not None
        (left if aside else kept).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Turn an error that the list expects into an expected failure."""
    report = yield
    if report.when == "call" and report.failed and call.excinfo is not None:
        text = f"{call.excinfo.typename}: {call.excinfo.value}"
        reason = _reason(item.config.getoption("--ib-pyro"), "refused", message=text)
        if reason is not None:
            report.outcome, report.wasxfail = "skipped", reason
    return report


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Any:
    """Say in one line how many of Pyro's tests ran, passed, and were refused as expected."""
    yield
    counts = {kind: len(found) for kind, found in terminalreporter.stats.items()}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    ran = counts.get("passed", 0) + counts.get("xfailed", 0) + counts.get("xpassed", 0) + failed
    terminalreporter.write_line(
        f"Pyro {pyro.__version__}, its tests over ib_pyro's {config.getoption('--ib-pyro')}: {ran} run, "
        f"{counts.get('passed', 0) + counts.get('xpassed', 0)} passed, "
        f"{counts.get('xfailed', 0)} refused as expected, "
        f"{counts.get('skipped', 0)} skipped by Pyro, {counts.get('deselected', 0)} set aside, {failed} failed"
    )


def _reason(chosen: str, kind: str, **texts: str) -> str | None:
    """The reason of the first rule whose patterns all match."""
    for rule in _rules().get(chosen, {}).get(kind, []):
        patterns = {key: pattern for key, pattern in rule.items() if key != "reason"}
        if all(key in texts and re.search(pattern, texts[key]) for key, pattern in patterns.items()):
            return rule["reason"]
    return None


@cache
def _rules() -> dict[str, dict[str, list[dict[str, str]]]]:
    return tomllib.loads(EXPECTED.read_text())


def _matching_lines(fixture: str) -> list[Any]:
    make = importlib.import_module("tests.distributions.dist_fixture").Fixture
    lines = [make(**line) for line in _lines()]
    return [line for line in lines if fixture == "dist" or line.pyro_dist is not MultiplicativeBernoulli]


def _lines() -> list[dict[str, Any]]:
    """Our distributions in the form of Pyro's table."""
    return [
        {
            "pyro_dist": MultiplicativeLogNormal,
            "scipy_dist": scipy.stats.lognorm,
            "examples": [
                {"activation": [1.4], "alpha": [0.4], "test_data": [5.5]},
                {"activation": [0.5, 2.0], "alpha": [0.3, 0.6], "test_data": [[0.4, 1.0], [0.6, 3.0]]},
                {"activation": [[0.5], [2.0]], "alpha": [[0.3], [0.6]], "test_data": [[0.4], [1.0]]},
            ],
            "scipy_arg_fn": lambda activation, alpha: ((alpha,), {"scale": activation}),
        },
        {
            "pyro_dist": MultiplicativeNormal,
            "scipy_dist": scipy.stats.norm,
            "examples": [
                {"activation": [1.4], "alpha": [0.4], "test_data": [5.5]},
                {"activation": [[0.5], [2.0]], "alpha": [[0.3], [0.6]], "test_data": [[0.4], [1.0]]},
            ],
            "scipy_arg_fn": _normal_arguments,
        },
        {
            "pyro_dist": FactorizedLogNormal,
            "examples": [
                {"loc": [0.1, -0.2], "scale": [0.4, 0.5], "test_data": [5.5, 0.3]},
                {
                    "loc": [[0.1, -0.2], [0.3, 0.4]],
                    "scale": [[0.4, 0.5], [0.2, 0.3]],
                    "test_data": [[0.4, 1.0], [1.0, 2.0]],
                },
            ],
        },
        {
            "pyro_dist": ZeroInflatedLogUniform,
            "examples": [
                {"gate": [0.2], "low": [0.5], "high": [4.0], "test_data": [0.7]},
                {
                    "gate": [[0.2], [0.4]],
                    "low": [[0.5], [0.1]],
                    "high": [[4.0], [2.0]],
                    "test_data": [[0.7], [0.0]],
                },
            ],
        },
        {
            "pyro_dist": MultiplicativeBernoulli,
            "examples": [
                {"activation": [2.0], "drop_prob": [0.5], "test_data": [4.0]},
                {"activation": [[1.0], [2.0]], "drop_prob": [[0.5], [0.2]], "test_data": [[2.0], [0.0]]},
            ],
        },
    ]


def _normal_arguments(activation: Any, alpha: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    activation, alpha = np.asarray(activation), np.asarray(alpha)
    return (), {"loc": activation, "scale": np.abs(activation) * np.sqrt(alpha)}

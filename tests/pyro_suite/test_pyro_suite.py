"""The run of Pyro's tests over ours: its list of expectations, and a suite of two tests in the place of Pyro's."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXPECTED = tomllib.loads((HERE / "expected.toml").read_text())
SUITE = """
import pyro, pyro.distributions as dist, torch
from pyro.infer import Trace_ELBO

def run(law):
    def model():
        pyro.sample("z", law)
    return model

def test_ours_is_in_the_place_of_pyros():
    assert Trace_ELBO.__name__ == "SubstitutedELBO"
    assert Trace_ELBO().loss(run(dist.Normal(0.0, 1.0)), run(dist.Normal(0.0, 1.0))) == 0

def test_refused():
    law = dist.Bernoulli(torch.tensor(0.5))
    Trace_ELBO().loss(run(law), run(law))

def test_wrong():
    assert Trace_ELBO().loss(run(dist.Normal(0.0, 1.0)), run(dist.Normal(0.0, 1.0))) == 1
"""


@pytest.mark.parametrize("suite", ["distributions", "elbo"])
def test_each_expectation_has_a_pattern_and_a_reason(suite):
    for kind in ("deselected", "refused"):
        for rule in EXPECTED[suite][kind]:
            assert rule["reason"]
            assert rule.keys() & {"test", "message"}
            for key in rule.keys() - {"reason"}:
                re.compile(rule[key])


def run_suite(source, *options):
    environment = {name: value for name, value in os.environ.items() if name != "PYRO_SOURCE"}
    return subprocess.run(
        [sys.executable, HERE / "run.py", *options],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_counts_what_passed_was_refused_and_failed(tmp_path):
    (tmp_path / "tests" / "distributions").mkdir(parents=True)
    (tmp_path / "tests" / "infer").mkdir()
    (tmp_path / "tests" / "infer" / "test_valid_models.py").write_text(SUITE)
    done = run_suite(tmp_path, "--source", ".", "--suite", "elbo")
    assert "3 run, 1 passed, 1 refused as expected, 0 skipped by Pyro, 0 set aside, 1 failed" in done.stdout
    assert done.returncode == 1


def test_a_source_distribution_without_tests_is_said_to_have_none(tmp_path):
    import pyro

    (tmp_path / f"pyro_ppl-{pyro.__version__}").mkdir()
    done = run_suite(tmp_path, "--cache", ".")
    assert done.returncode == 3
    assert "make test-pyro PYRO_SOURCE=DIR" in done.stdout


def test_a_folder_that_is_no_checkout_is_named(tmp_path):
    done = run_suite(tmp_path, "--source", ".")
    assert "has no tests/infer and tests/distributions; name a checkout of Pyro" in done.stderr

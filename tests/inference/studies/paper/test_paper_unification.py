"""The page names the tests of the identities, and these are there."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from inference.studies.paper.panel2 import what_changes
from inference.studies.paper.unification import IDENTITIES, summary_row, unification_section

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda each: each.case)
def test_the_tests_that_are_named_exist(identity):
    tree = ast.parse((ROOT / identity.file).read_text(encoding="utf-8"))
    assert set(identity.tests) <= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert all(name in unification_section() for name in (identity.file, *identity.tests))


def test_the_summary_has_its_row():
    assert summary_row().count("|") == 4


def test_what_a_change_does_is_compared_within_a_seed():
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(4):
        base, error = float(rng.lognormal(6)), float(rng.uniform(0.3, 0.7))
        for change, factor, points in (("ours", 1.0, 0.0), ("atom ignored", 2.0, 0.05)):
            row = {"activation": "relu", "change": change, "seed": seed, "rate": base * factor}
            rows.append({**row, "test_error_deterministic": error + points})
    ours, ignored = what_changes(pd.DataFrame(rows))[-2:]
    # However far apart the seeds are, each has twice the rate, and 5 points more.
    assert "| relu | ours | 4 |" in ours
    assert ours.endswith("|  |")
    assert "| 2.00 [2.00, 2.00] |" in ignored
    assert "| +5.0 ± 0.0 |" in ignored

"""Each program of the table is right, as ``Trace_ELBO`` means it, or refused by name: never wrong without a word."""

import pytest
import torch

from tests.ib_pyro.differential import programs
from tests.ib_pyro.differential.case import RIGHT, table
from tests.ib_pyro.differential.harness import judge

assert programs
TABLE = table()


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)


def by_name(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@by_name(TABLE)
def test_right_or_refused_by_name(case):
    wrong = {mode: found for mode, found in judge(case).items() if found not in (RIGHT, "refused")}
    assert not wrong


@pytest.mark.slow
@by_name([case for case in TABLE if RIGHT in (case.error, case.sampled)])
def test_right_with_many_more_draws(case):
    wrong = {
        mode: found
        for mode, found in judge(case, draws=200, particles=1000).items()
        if found not in (RIGHT, "refused")
    }
    assert not wrong


def test_the_table_is_large():
    assert len(TABLE) >= 120

"""Vector functions keep their numbers, and have their speed."""

import subprocess
import sys

import pytest

BITS = """
import torch
from ib_pyro.vector_math import page_in_special_cases

x = torch.linspace(-30, 30, 10_001)
functions = torch.log1p, torch.expm1, torch.nn.functional.softplus, torch.nn.functional.logsigmoid
state, dtype = torch.get_rng_state(), torch.get_default_dtype()
before = [function(v).nan_to_num(7.0) for function in functions for v in (x, x.double())]
page_in_special_cases()
after = [function(v).nan_to_num(7.0) for function in functions for v in (x, x.double())]
assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
assert torch.equal(state, torch.get_rng_state()) and torch.get_default_dtype() is dtype
"""
SPEED = """
import time, torch
torch.set_num_threads(1)
x = torch.rand(200_000)

def seconds(function):
    function(x)
    found = []
    for _ in range(15):
        start = time.process_time()
        function(x)
        found.append(time.process_time() - start)
    return min(found)

from ib_pyro.vector_math import page_in_special_cases
page_in_special_cases()
print(seconds(torch.nn.functional.softplus) / (seconds(torch.exp) + seconds(torch.log)))
"""
ENTRIES = """
import torch
import ib_pyro.vector_math as vector_math
from ib_pyro import Bottleneck, evaluate, fit
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import sweep

def make():
    return Bottleneck(InformationDropout.linear(4, 3), torch.nn.Linear(3, 2))

data = torch.rand(20, 4), torch.arange(20) % 2
{entry}
assert vector_math.page_in_special_cases.cache_info().currsize == 1
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_number_changes_and_nothing_global():
    run(BITS)


def test_softplus_costs_what_its_parts_do():
    # Ten times as much where the constants of log1p are not in memory.
    assert float(run(SPEED)) < 4


@pytest.mark.parametrize(
    "entry",
    [
        "fit(make(), data, epochs=1)",
        "evaluate(make(), data)",
        "sweep(make, data, betas=(0.1, 0.2), epochs=1)",
    ],
    ids=["fit", "evaluate", "sweep"],
)
def test_fits_and_evaluations_begin_with_it(entry):
    run(ENTRIES.format(entry=entry))

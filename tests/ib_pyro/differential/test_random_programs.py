"""Random linear-Gaussian programs: expected loss and gradient are NumPy's closed form, or refused by name."""

import os
import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

from ib_pyro import InformationBottleneckELBO
from tests.ib_pyro.differential.gaussian_programs import GaussianProgram, expected_loss
from tests.ib_pyro.differential.grammar import Spec, exact_loss, shifted, specs

OPTIONS = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    # Without shrinking, which takes minutes: a program is small as it is.
    "phases": [Phase.generate],
}
FEW, MANY = 60, int(os.environ.get("IB_PYRO_RANDOM_PROGRAMS", "500"))
STEP = 1e-5


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)


def refusals(spec: Spec, mode: str) -> tuple[set[str], set[str]]:
    """The sites of which one must be refused, and those that may be."""
    if spec.faulty():
        # Whichever site comes first is the one that is named.
        other = spec.against_the_order() | spec.wrapped_otherwise() if mode == "error" else set()
        return spec.faulty(), other
    if mode == "error":
        return spec.against_the_order(), spec.wrapped_otherwise()
    return set(), set()


def judge(spec: Spec, mode: str) -> str:
    """Return ``right`` or ``refused``; raise where the answer is another one."""
    must, may = refusals(spec, mode)
    elbo = InformationBottleneckELBO(beta=spec.beta, on_no_closed_form=mode)
    try:
        loss, gradient = expected_loss(elbo, GaussianProgram(spec))
    except (ValueError, NotImplementedError) as error:
        message = str(error)
    else:
        assert not must, f"not refused: {must}"
        require_exact(spec, loss, gradient)
        return "right"
    named = re.search(r"site '(\w+)'", message)
    assert named, f"refused without a site's name: {message}"
    assert named.group(1) in must | may, f"refused for no reason: {message}"
    return "refused"


def require_exact(spec: Spec, loss: float, gradient: dict[str, np.ndarray]) -> None:
    assert loss == pytest.approx(exact_loss(spec), rel=1e-9, abs=1e-9)
    random = np.random.default_rng(0)
    # Entries that the program holds at zero are no parameters.
    direction = {name: random.normal(size=g.shape) * (spec.arrays[name] != 0) for name, g in gradient.items()}
    ours = sum(float((g * direction[name]).sum()) for name, g in gradient.items())
    there, back = (exact_loss(shifted(spec, direction, step)) for step in (STEP, -STEP))
    assert ours == pytest.approx((there - back) / (2 * STEP), rel=1e-5, abs=1e-5)


def judge_all(number: int) -> Counter:
    """Judge a number of random programs in both modes, and count the verdicts."""
    counts: Counter = Counter()

    @settings(max_examples=number, **OPTIONS)
    @given(specs())
    def run(spec: Spec) -> None:
        for mode in ("error", "monte-carlo"):
            counts[mode, judge(spec, mode)] += 1

    run()
    return counts


def require_both_verdicts(counts: Counter, number: int) -> None:
    assert sum(counts.values()) >= 2 * number
    for mode in ("error", "monte-carlo"):
        assert counts[mode, "right"] > number / 10
        assert counts[mode, "refused"] > 0


def test_random_programs_are_right_or_refused_by_name():
    require_both_verdicts(judge_all(FEW), FEW)


@pytest.mark.slow
def test_many_random_programs_are_right_or_refused_by_name():
    require_both_verdicts(judge_all(MANY), MANY)

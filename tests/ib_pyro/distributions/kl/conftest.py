"""The table of every registered KL divergence, by the pair of distributions that it is asked for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import pytest
import torch
import torch.distributions as torch_dist
from torch import Tensor

from ib_pyro.distributions import (
    FactorizedLogNormal,
    GateLogit,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True)
class Pair:
    """A posterior and a prior over three units, and the pair of types whose registered function serves them."""

    name: str
    p: Callable[[], Any]
    q: Callable[[], Any]
    registered: tuple[type, type]
    two_sided: bool = False
    # Where p's continuous part lives, in log |z|.
    log_bounds: tuple[float, float] = (-40.0, 12.0)
    # Error of a published fit; exact formulas have none.
    tolerance: float = 1e-7
    infinite: tuple[bool, bool, bool] = (False, False, False)

    @property
    def units(self) -> tuple[Any, Any]:
        """Both sides with their units in the batch, whose divergences are elementwise."""
        return elementwise(self.p()), elementwise(self.q())

    @property
    def has_rsample(self) -> bool:
        return bool(self.units[0].has_rsample)


def elementwise(d: Any) -> Any:
    if isinstance(d, dist.Independent):
        return d.base_dist
    return dist.LogNormal(d.loc, d.scale) if isinstance(d, FactorizedLogNormal) else d


ON, MIXED, ALPHA = t(0.3, 1.0, 4.0), t(0.0, 0.5, 2.0), t(0.2, 0.7, 1.1)
GATE, LOG_F = t(0.25, 0.5, 0.9), t(-2.0, 0.0, 1.0)
VARIANCE, LOC, SCALE = t(0.1, 0.5, 0.9), t(0.5, 0.0, -1.0), t(1.0, 0.5, 2.0)


def noise(activation: Tensor = ON, **options: Any) -> MultiplicativeLogNormal:
    return MultiplicativeLogNormal(activation, ALPHA, **options)


def gaussian(activation: Tensor = MIXED, **options: Any) -> MultiplicativeNormal:
    return MultiplicativeNormal(activation, VARIANCE, **options)


def uniform(gate: Tensor = GATE, *bounds: Tensor | float, **options: Any) -> ZeroInflatedLogUniform:
    return ZeroInflatedLogUniform(gate, *bounds, **options)


MLN, MN, MB = MultiplicativeLogNormal, MultiplicativeNormal, MultiplicativeBernoulli
ZILU, FLN = ZeroInflatedLogUniform, FactorizedLogNormal
LN, TRANSFORMED, INDEPENDENT = (
    torch_dist.LogNormal,
    torch_dist.TransformedDistribution,
    torch_dist.Independent,
)
NARROW = (math.log(0.5), math.log(2.0))

PAIRS = [
    Pair("noise, log-uniform", noise, uniform, (MLN, ZILU)),
    Pair("noise with atoms, log-uniform", lambda: noise(MIXED), uniform, (MLN, ZILU)),
    Pair("noise of unit mean, log-uniform", lambda: noise(unit_mean=True), uniform, (MLN, ZILU)),
    Pair("noise, log-uniform with its own c", noise, lambda: uniform(log_c=t(-1.0, 0.0, 2.0)), (MLN, ZILU)),
    Pair(
        "noise from log f, log-uniform", lambda: MLN.from_log_activation(LOG_F, ALPHA), uniform, (MLN, ZILU)
    ),
    Pair(
        "noise, bounded log-uniform",
        lambda: noise(MIXED),
        lambda: uniform(GATE, 0.1, 9.0),
        (MLN, ZILU),
        infinite=(False, True, True),
    ),
    Pair(
        "noise, log-uniform bounded above",
        lambda: noise(MIXED),
        lambda: uniform(GATE, high=9.0),
        (MLN, ZILU),
        infinite=(False, True, True),
    ),
    Pair("log-normal, log-uniform", lambda: dist.LogNormal(LOG_F, ALPHA), uniform, (LN, ZILU)),
    Pair("noise, noise", noise, lambda: MLN(t(1.0, 1.5, 0.1), t(0.5, 0.3, 1.0)), (MLN, MLN)),
    Pair(
        "noise with atoms, noise with atoms",
        lambda: noise(t(0.0, 0.0, 1.0)),
        lambda: MLN(t(0.0, 1.5, 0.0), ALPHA),
        (MLN, MLN),
        infinite=(False, True, True),
    ),
    Pair(
        "noise, log-normal",
        lambda: noise(unit_mean=True),
        lambda: dist.LogNormal(LOC, SCALE),
        (MLN, LN),
    ),
    Pair(
        "noise with atoms, log-normal",
        lambda: noise(MIXED),
        lambda: dist.LogNormal(LOC, SCALE),
        (MLN, LN),
        infinite=(True, False, False),
    ),
    Pair(
        "log-normal, log-normal",
        lambda: dist.LogNormal(LOG_F, ALPHA),
        lambda: dist.LogNormal(LOC, SCALE),
        (TRANSFORMED, TRANSFORMED),
    ),
    Pair(
        "Gaussian noise, two-sided log-uniform (Molchanov)",
        gaussian,
        lambda: uniform(two_sided=True),
        (MN, ZILU),
        two_sided=True,
        log_bounds=(-40.0, 4.0),
        tolerance=8e-3,
    ),
    Pair(
        "Gaussian noise, two-sided log-uniform (Kingma)",
        lambda: gaussian(t(-1.0, 0.5, 2.0), approximation="kingma"),
        lambda: uniform(two_sided=True, log_c=0.3),
        (MN, ZILU),
        two_sided=True,
        log_bounds=(-40.0, 4.0),
        tolerance=6e-3,
    ),
    Pair(
        "Gaussian noise, normal",
        gaussian,
        lambda: dist.Normal(t(0.0, 0.1, 1.0), t(1.0, 2.0, 0.5)),
        (MN, torch_dist.Normal),
        two_sided=True,
        log_bounds=(-40.0, 3.0),
        infinite=(True, False, False),
    ),
    Pair(
        "gates, gates",
        lambda: GateLogit(t(-2.0, 0.1, 3.0), 0.7),
        lambda: GateLogit(t(0.0, 0.0, -1.0), 0.7),
        (GateLogit, GateLogit),
        two_sided=True,
        log_bounds=(-40.0, 4.5),
    ),
    Pair(
        "log-uniform, log-uniform",
        lambda: uniform(t(0.0, 0.3, 1.0), 0.5, 2.0),
        lambda: uniform(GATE, 0.1, 4.0),
        (ZILU, ZILU),
        log_bounds=NARROW,
    ),
    Pair(
        "log-uniform, improper log-uniform",
        lambda: uniform(GATE, 0.5, 2.0),
        lambda: uniform(t(0.1, 0.2, 0.3)),
        (ZILU, ZILU),
        log_bounds=NARROW,
    ),
    Pair(
        "two-sided log-uniform, two-sided log-uniform",
        lambda: uniform(GATE, 0.5, 2.0, two_sided=True),
        lambda: uniform(t(0.1, 0.2, 0.3), 0.1, 4.0, two_sided=True),
        (ZILU, ZILU),
        two_sided=True,
        log_bounds=NARROW,
    ),
    Pair(
        "log-uniform, two-sided log-uniform",
        lambda: uniform(GATE, 0.5, 2.0),
        lambda: uniform(t(0.1, 0.2, 0.3), 0.1, 4.0, two_sided=True),
        (ZILU, ZILU),
        log_bounds=NARROW,
    ),
    Pair(
        "log-uniform, narrower log-uniform",
        lambda: uniform(t(0.3, 1.0, 0.5), 0.5, 2.0),
        lambda: uniform(t(0.1, 0.2, 0.0), 0.6, 4.0),
        (ZILU, ZILU),
        log_bounds=NARROW,
        infinite=(True, False, True),
    ),
    Pair(
        "two-sided log-uniform, log-uniform",
        lambda: uniform(t(0.3, 1.0, 0.5), 0.5, 2.0, two_sided=True),
        lambda: uniform(GATE, 0.1, 4.0),
        (ZILU, ZILU),
        log_bounds=NARROW,
        infinite=(True, False, True),
    ),
    Pair(
        "Bernoulli noise, log-uniform",
        lambda: MB(t(0.0, 1.0, -2.0), 0.3),
        uniform,
        (MB, ZILU),
        infinite=(False, True, True),
    ),
]
EVENTS = [
    Pair(
        "noise, factorised",
        lambda: noise().to_event(1),
        lambda: FLN(LOG_F, ALPHA),
        (INDEPENDENT, FLN),
    ),
    Pair(
        "noise with atoms, factorised",
        lambda: noise(MIXED).to_event(1),
        lambda: FLN(LOG_F, ALPHA),
        (INDEPENDENT, FLN),
        infinite=(True, False, False),
    ),
    Pair(
        "log-normal, factorised",
        lambda: dist.LogNormal(LOC, ALPHA).to_event(1),
        lambda: FLN(LOG_F, SCALE),
        (INDEPENDENT, FLN),
    ),
    Pair(
        "factorised, factorised",
        lambda: FLN(LOC, ALPHA),
        lambda: FLN(LOG_F, SCALE),
        (FLN, FLN),
    ),
    Pair(
        "factorised, log-normal",
        lambda: FLN(LOC, ALPHA),
        lambda: dist.LogNormal(LOG_F, SCALE).to_event(1),
        (FLN, INDEPENDENT),
    ),
    Pair(
        "factorised, log-uniform",
        lambda: FLN(LOC, ALPHA),
        lambda: uniform().to_event(1),
        (FLN, INDEPENDENT),
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    everything = PAIRS + EVENTS
    chosen = {
        "pair": everything,
        "event_pair": EVENTS,
        "measured_pair": [pair for pair in everything if not isinstance(pair.p(), MB)],
        "program_pair": [pair for pair in everything if pair.has_rsample and not any(pair.infinite)],
    }
    for fixture, pairs in chosen.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, pairs, ids=[pair.name for pair in pairs])

"""The table that drives every distribution's tests, and a quadrature for mixed measures."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from ib_pyro.distributions import (
    FactorizedLogNormal,
    GateLogit,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)

Distribution = Any


@dataclass(frozen=True)
class Case:
    """One distribution of three units: its parameters, and what SciPy and a person know about it."""

    name: str
    make: Callable[..., Distribution]
    params: dict[str, list[float]]
    cls: type
    options: dict[str, Any] = field(default_factory=dict)
    # The continuous part's law under SciPy, unit by unit; without atoms it is the whole law.
    law: Callable[..., Any] | None = None
    # Atoms as (place, mass) from the unit's parameters.
    atoms: Callable[..., list[tuple[float, float]]] = lambda **params: []
    two_sided: bool = False
    # Bounds of log|z| for quadrature.
    log_bounds: Callable[..., tuple[float, float]] = lambda **params: (-40.0, 12.0)
    # (parameters that break a constraint, what the message must say)
    invalid: tuple[tuple[dict[str, float], str], ...] = ()
    outside: float | None = -1.0
    proper: bool = True

    def tensors(self, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        return {key: torch.tensor(values, dtype=dtype) for key, values in self.params.items()}

    def build(self, dtype: torch.dtype = torch.float64, **options: Any) -> Distribution:
        return self.make(**self.tensors(dtype), **self.options, **options)

    def unit(self, index: int) -> tuple[Distribution, dict[str, float]]:
        values = {key: values[index] for key, values in self.params.items()}
        tensors = {key: value[index] for key, value in self.tensors().items()}
        return self.make(**tensors, **self.options), values

    @property
    def event_dim(self) -> int:
        return 1 if self.cls is FactorizedLogNormal else 0


def log_normal(activation: float, alpha: float, shift: float = 0.0) -> Any:
    return stats.lognorm(s=alpha, scale=activation * math.exp(shift)) if activation else None


def log_uniform(gate: float, low: float, high: float) -> Any:
    return stats.loguniform(low, high)


BAD_ALPHA = ({"alpha": 0.0}, "alpha"), ({"alpha": -0.2}, "alpha"), ({"alpha": math.nan}, "alpha")
LOG_NORMAL_INVALID = (
    ({"activation": -0.3}, "activation"),
    ({"activation": math.nan}, "activation"),
    *BAD_ALPHA,
)

CASES = [
    Case(
        "log-normal noise",
        MultiplicativeLogNormal,
        {"activation": [0.3, 1.0, 4.0], "alpha": [0.2, 0.7, 1.3]},
        MultiplicativeLogNormal,
        law=log_normal,
        invalid=LOG_NORMAL_INVALID,
    ),
    Case(
        "log-normal noise of unit mean",
        MultiplicativeLogNormal,
        {"activation": [0.3, 1.0, 4.0], "alpha": [0.2, 0.7, 1.3]},
        MultiplicativeLogNormal,
        options={"unit_mean": True},
        law=lambda activation, alpha: log_normal(activation, alpha, -0.5 * alpha**2),
        invalid=LOG_NORMAL_INVALID,
    ),
    Case(
        "log-normal noise with atoms",
        MultiplicativeLogNormal,
        {"activation": [0.0, 0.5, 0.0], "alpha": [0.2, 0.7, 1.3]},
        MultiplicativeLogNormal,
        law=log_normal,
        atoms=lambda activation, alpha: [] if activation else [(0.0, 1.0)],
        invalid=LOG_NORMAL_INVALID,
    ),
    Case(
        "log-normal noise from log f",
        MultiplicativeLogNormal.from_log_activation,
        {"log_activation": [-3.0, 0.0, 1.5], "alpha": [0.2, 0.7, 1.3]},
        MultiplicativeLogNormal,
        law=lambda log_activation, alpha: log_normal(math.exp(log_activation), alpha),
        invalid=(({"log_activation": math.nan}, "activation"), *BAD_ALPHA),
    ),
    Case(
        "Gaussian noise",
        MultiplicativeNormal,
        {"activation": [-1.5, 0.5, 2.0], "alpha": [0.1, 0.6, 2.0]},
        MultiplicativeNormal,
        law=lambda activation, alpha: stats.norm(activation, abs(activation) * math.sqrt(alpha)),
        two_sided=True,
        log_bounds=lambda activation, alpha: (-40.0, 4.0),
        invalid=(({"activation": math.nan}, "activation"), *BAD_ALPHA),
        outside=math.nan,
    ),
    Case(
        "Gaussian noise with an atom",
        MultiplicativeNormal,
        {"activation": [0.0, 0.5, -2.0], "alpha": [0.1, 0.6, 0.9]},
        MultiplicativeNormal,
        options={"approximation": "kingma"},
        law=lambda activation, alpha: stats.norm(activation, abs(activation) * math.sqrt(alpha)),
        atoms=lambda activation, alpha: [] if activation else [(0.0, 1.0)],
        two_sided=True,
        log_bounds=lambda activation, alpha: (-40.0, 4.0),
        invalid=(({"activation": math.nan}, "activation"), ({"alpha": 1.5}, "molchanov"), *BAD_ALPHA),
        outside=math.nan,
    ),
    Case(
        "Bernoulli noise",
        MultiplicativeBernoulli,
        {"activation": [-1.0, 0.0, 2.0], "drop_prob": [0.5, 0.3, 0.1]},
        MultiplicativeBernoulli,
        atoms=lambda activation, drop_prob: (
            [(0.0, drop_prob), (activation / (1 - drop_prob), 1 - drop_prob)] if activation else [(0.0, 1.0)]
        ),
        invalid=(({"drop_prob": 1.0}, "drop_prob"), ({"drop_prob": -0.1}, "drop_prob")),
        outside=0.123,
    ),
    Case(
        "gate's logit",
        GateLogit,
        {"logits": [-1.5, 0.5, 2.0]},
        GateLogit,
        options={"temperature": 0.6},
        law=lambda logits: stats.logistic(logits / 0.6, 1 / 0.6),
        two_sided=True,
        log_bounds=lambda logits: (-40.0, 4.5),
        invalid=(({"logits": math.nan}, "logits"),),
        outside=math.nan,
    ),
    Case(
        "factorised log-normal",
        FactorizedLogNormal,
        {"loc": [-1.0, 0.0, 0.7], "scale": [0.2, 0.7, 1.1]},
        FactorizedLogNormal,
        law=lambda loc, scale: stats.lognorm(s=scale, scale=math.exp(loc)),
        invalid=(({"scale": 0.0}, "scale"), ({"loc": math.nan}, "loc")),
    ),
    Case(
        "proper log-uniform",
        ZeroInflatedLogUniform,
        {"gate": [0.0, 0.25, 0.9], "low": [0.1, 0.01, 1.0], "high": [10.0, 1.0, 3.0]},
        ZeroInflatedLogUniform,
        law=log_uniform,
        atoms=lambda gate, low, high: [(0.0, gate)],
        log_bounds=lambda gate, low, high: (math.log(low), math.log(high)),
        invalid=(
            ({"gate": 1.2}, "gate"),
            ({"gate": -0.1}, "gate"),
            ({"low": 20.0}, "low must be below high"),
        ),
        outside=100.0,
    ),
    Case(
        "proper two-sided log-uniform",
        ZeroInflatedLogUniform,
        {"gate": [0.0, 0.25, 0.9], "low": [0.1, 0.01, 1.0], "high": [10.0, 1.0, 3.0]},
        ZeroInflatedLogUniform,
        options={"two_sided": True},
        law=log_uniform,
        atoms=lambda gate, low, high: [(0.0, gate)],
        two_sided=True,
        log_bounds=lambda gate, low, high: (math.log(low), math.log(high)),
        invalid=(({"gate": 1.2}, "gate"), ({"high": math.nan}, "low must be below high")),
        outside=-100.0,
    ),
    Case(
        "improper log-uniform",
        ZeroInflatedLogUniform,
        {"gate": [0.1, 0.25, 0.9]},
        ZeroInflatedLogUniform,
        atoms=lambda gate: [(0.0, gate)],
        invalid=(
            ({"gate": 1.2}, "gate"),
            ({"low": -1.0}, "low"),
            ({"low": math.inf}, "low must be below high"),
        ),
        proper=False,
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = {
        "case": lambda case: True,
        "proper_case": lambda case: case.proper,
        "continuous_case": lambda case: case.proper and case.law is not None,
        "reparameterised_case": lambda case: case.cls is not ZeroInflatedLogUniform,
    }
    for fixture, keep in chosen.items():
        if fixture in metafunc.fixturenames:
            cases = [case for case in CASES if keep(case)]
            metafunc.parametrize(fixture, cases, ids=[case.name for case in cases])


@pytest.fixture
def integrate() -> Callable[..., float]:
    """Integrate a function of z over ``±exp([low, high])`` by the trapezoid rule in log z.

    That rule converges faster than any power where the integrand fades at both ends, and is exact for c / z.
    """

    def rule(
        function: Callable[[Tensor], Tensor],
        low: float,
        high: float,
        *,
        two_sided: bool = False,
        num: int = 20001,
    ) -> float:
        u = torch.linspace(low, high, num, dtype=torch.float64)
        total = 0.0
        for sign in (1.0, -1.0) if two_sided else (1.0,):
            z = sign * u.exp()
            # exp(log(bound)) may round to just outside of a bounded support.
            z[0] = torch.nextafter(z[0], torch.tensor(sign * math.inf, dtype=z.dtype))
            z[-1] = torch.nextafter(z[-1], torch.zeros((), dtype=z.dtype))
            total += torch.trapezoid(function(z) * z.abs(), u).item()
        return total

    return rule

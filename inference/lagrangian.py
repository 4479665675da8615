"""The Lagrangian that a configuration describes, and how its weights move over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ib_pyro.elbo import (
    CapacityELBO,
    FreeBitsELBO,
    InformationBottleneckELBO,
    MinibatchTotalCorrelation,
)
from ib_pyro.elbo.schedules import SCHEDULES, linear_warm_up
from ib_pyro.elbo.total_correlation import TotalCorrelationEstimator
from ib_pyro.elbo.weights import Weight, require_known_sites, weight_of
from inference.config import SiteValues

if TYPE_CHECKING:
    from inference.config import FitConfig

__all__ = ["Schedule", "build_elbo", "build_schedules", "describe", "lagrangian", "reached"]

Schedule = Callable[[float], Weight]
"""A weight as a function of the number of finished epochs, fractions included."""

# A rate within this share of its capacity is at its target. The penalty has a kink there, around which steps of a
# finite size oscillate.
_CAPACITY_TOLERANCE = 0.05


def build_elbo(config: FitConfig, num_train: int, sites: Iterable[str]) -> InformationBottleneckELBO:
    """Build the objective of a fit, at the weights that its schedules end in.

    Args:
        config: Settings.
        num_train: Number of training images.
        sites: Names of the program's latent sites.

    Raises:
        ValueError: If a setting names a site that the program does not have, or weighs something without any.
    """
    sites = tuple(sites)
    for name in ("beta_factors", "gamma", "capacity", "free_nats"):
        value = getattr(config, name)
        if value and not sites:
            raise ValueError(f"--{name.replace('_', '-')} {value}: the program has no latent site")
        require_known_sites(value, f"--{name.replace('_', '-')}", set(sites))
    beta = _by_site(config.betas(num_train)[0], config.beta_factors, sites)
    options = {"gamma": config.gamma, "total_correlation": _total_correlation(config, num_train)}
    if config.capacity is not None:
        return CapacityELBO(config.capacity, beta, **options)
    if config.free_nats is not None:
        return FreeBitsELBO(config.free_nats, beta, **options)
    return InformationBottleneckELBO(beta, **options)


def build_schedules(config: FitConfig, num_train: int, sites: Iterable[str]) -> dict[str, Schedule]:
    """Build what moves while the fit goes on: ``"beta"`` and ``"capacity"``, or nothing.

    Args:
        config: Settings.
        num_train: Number of training images.
        sites: Names of the program's latent sites.
    """
    schedules: dict[str, Schedule] = {}
    if config.beta_schedule != "constant":
        target = config.betas(num_train)[0]
        options = {"target": target, "start": config.beta_start * target}
        length = "period" if config.beta_schedule == "cyclical" else "warm_up"
        options[length] = getattr(config, f"beta_{length}")
        beta = partial(SCHEDULES[config.beta_schedule], **options)
        schedules["beta"] = _Scaled(beta, config.beta_factors, tuple(sites))
    if config.capacity_warm_up > 0:
        schedules["capacity"] = partial(_capacity, target=config.capacity, warm_up=config.capacity_warm_up)
    return schedules


def lagrangian(row: Mapping[str, float], beta: Weight, gamma: Weight = 0.0) -> float:
    """Return ``distortion + sum_l (beta_l * rate_l + gamma_l * TC_l)``, in nats per sample.

    Args:
        row: Means ``distortion``, ``rate/<site>`` and, where gamma is not zero, ``total_correlation/<site>``.
        beta: Weight of the rate; sites that a mapping leaves out have 1.
        gamma: Weight of the total correlation; sites that a mapping leaves out have 0.

    >>> lagrangian({"distortion": 0.5, "rate/z1": 10.0, "rate/z2": 2.0}, beta={"z1": 0.1})
    3.5
    """
    parts = [row["distortion"]]
    for name, value in row.items():
        kind, _, site = name.partition("/")
        if kind == "rate" and site:
            parts.append(float(weight_of(beta, site, 1.0)) * value)
        elif kind == "total_correlation":
            parts.append(float(weight_of(gamma, site, 0.0)) * value)
    return math.fsum(parts)


def describe(config: FitConfig) -> str:
    """Name in a few words what makes the objective more than one constant beta; empty if nothing does.

    >>> from pathlib import Path
    >>> from inference import FitConfig
    >>> plain = {"out": Path("runs/a"), "beta": 1.0}
    >>> describe(FitConfig(**plain, beta_schedule="linear", beta_warm_up=10, free_nats={"z1": 2.0}))
    'beta linear, 10 epochs; free nats z1=2'
    """
    parts = []
    if config.beta_factors:
        parts.append(f"beta times {_written(config.beta_factors)}")
    if config.beta_schedule != "constant":
        start = f", from {config.beta_start:g} of it" if config.beta_start else ""
        length = config.beta_warm_up or config.beta_period
        parts.append(f"beta {config.beta_schedule}, {length:g} epochs{start}")
    if config.gamma:
        parts.append(f"gamma {_written(config.gamma)}, {config.total_correlation}")
    if config.capacity is not None:
        grown = f", grown over {config.capacity_warm_up:g} epochs" if config.capacity_warm_up else ""
        parts.append(f"capacity {_written(config.capacity)}{grown}")
    if config.free_nats is not None:
        parts.append(f"free nats {_written(config.free_nats)}")
    return "; ".join(parts)


def reached(config: FitConfig, elbo: InformationBottleneckELBO, row: Mapping[str, float]) -> dict[str, Any]:
    """Say whether a fit ended at its targets, for ``result.json``.

    Args:
        config: Settings.
        elbo: The objective, at its targets.
        row: Metrics of the last epoch.

    Returns:
        ``beta_reached``, whether the last step had the target as its weight; where there is a capacity,
        ``capacity_reached/<site>``, whether the site's rate over the last epoch is within 5 % of it; nothing for
        what has neither schedule nor target. A site with capacity 0 has its rate pressed down as ever.
    """
    found: dict[str, Any] = {}
    if config.beta_schedule != "constant":
        targets = elbo.beta if isinstance(elbo.beta, Mapping) else {"": elbo.beta}
        columns = {f"beta/{site}" if site else "beta": float(target) for site, target in targets.items()}
        found["beta_reached"] = all(row[column] == target for column, target in columns.items())
    if isinstance(elbo, CapacityELBO):
        rates = [name.removeprefix("rate/") for name in row if name.startswith("rate/")]
        for site in rates:
            target = float(weight_of(elbo.capacity, site, 0.0))
            if target > 0:
                distance = abs(row[f"rate/{site}"] - target)
                found[f"capacity_reached/{site}"] = distance <= _CAPACITY_TOLERANCE * target
    return found


def _total_correlation(config: FitConfig, num_train: int) -> str | TotalCorrelationEstimator:
    method = config.total_correlation.removeprefix("minibatch-")
    if method == config.total_correlation:
        return method
    # The program's plate has the batch alone.
    return MinibatchTotalCorrelation(method=method, num_data=num_train)


class _Scaled:
    def __init__(self, beta: Schedule, factors: Mapping[str, float] | None, sites: tuple[str, ...]) -> None:
        self._beta, self._factors, self._sites = beta, factors, sites

    def __call__(self, epoch: float) -> Weight:
        return _by_site(self._beta(epoch), self._factors, self._sites)


def _written(values: SiteValues) -> str:
    if not isinstance(values, Mapping):
        return f"{values:g}"
    return ", ".join(f"{site}={value:g}" for site, value in values.items())


def _by_site(beta: Weight, factors: Mapping[str, float] | None, sites: tuple[str, ...]) -> Weight:
    return beta if not factors else {site: factors.get(site, 1.0) * beta for site in sites}


def _capacity(epoch: float, *, target: SiteValues, warm_up: float) -> Weight:
    if not isinstance(target, Mapping):
        return linear_warm_up(epoch, target=target, warm_up=warm_up)
    return {site: linear_warm_up(epoch, target=value, warm_up=warm_up) for site, value in target.items()}

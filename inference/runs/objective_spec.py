"""The Lagrangian of a run, and how its weights move over the epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ib_pyro.choices import require_known
from inference.runs.settings import SiteValues, flag, require, setting, written

if TYPE_CHECKING:
    from ib_pyro.elbo import InformationBottleneckELBO
    from ib_pyro.elbo.total_correlation import TotalCorrelationEstimator
    from ib_pyro.elbo.weights import Weight
    from ib_pyro.training.lagrangian import Schedule

__all__ = ["BETA_SCHEDULES", "ObjectiveSpec"]

BETA_SCHEDULES = ("constant", "cosine", "cyclical", "linear")
_TOTAL_CORRELATIONS = ("gaussian", "minibatch-stratified", "minibatch-weighted")
_UNITS = ("epochs", "steps")

# A rate within this share of its capacity is at its target. The penalty has a kink there, around which steps of a
# finite size oscillate.
_CAPACITY_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec:
    """Weights of the Lagrangian, in nats per sample, and their schedules.

    Raises:
        ValueError: If a value is out of range, or excluded by another one.
    """

    beta: float | None = setting(None, "weight of the rate, per sample, in nats")
    beta_paper: float | None = setting(None, "the same, times the number of training images, as in the paper")
    beta_factors: dict[str, float] | None = setting(
        None, "what single sites multiply beta by, as z1=0.5,z3=2; others by 1"
    )
    beta_schedule: str = setting(
        "constant", f"how beta moves over the epochs: {', '.join(BETA_SCHEDULES)}", known=BETA_SCHEDULES
    )
    beta_start: float = setting(0.0, "share of beta that the schedule starts with")
    beta_warm_up: float | None = setting(
        None, "epochs until linear and cosine arrive at beta; or steps, see --warm-up-unit"
    )
    beta_period: float | None = setting(None, "epochs of a cycle of cyclical, half of them warm-up")
    gamma: SiteValues = setting(
        0.0, "weight of the total correlation, per sample, in nats; for single sites as z1=0.5"
    )
    total_correlation: str = setting(
        "gaussian", f"its estimator: {', '.join(_TOTAL_CORRELATIONS)}", known=_TOTAL_CORRELATIONS
    )
    shrinkage: float = setting(
        0.0,
        "weight of the identity in the correlation matrix of gaussian, for batches of fewer images than units",
    )
    capacity: SiteValues | None = setting(
        None, "nats per sample that the rate is drawn to, by beta times the distance; or as z1=20,z3=5"
    )
    capacity_warm_up: float = setting(0.0, "epochs in which the capacity grows from zero")
    free_nats: SiteValues | None = setting(
        None, "nats per sample up to which the rate costs the same; or as z1=20,z3=5"
    )
    warm_up_unit: str = setting(
        "epochs",
        f"what --beta-warm-up, --beta-period and --capacity-warm-up count: {', '.join(_UNITS)} of the optimiser",
        known=_UNITS,
    )

    def __post_init__(self) -> None:
        require_known("beta schedule", self.beta_schedule, BETA_SCHEDULES)
        require_known("total correlation", self.total_correlation, _TOTAL_CORRELATIONS)
        require_known("warm-up unit", self.warm_up_unit, _UNITS)
        self._check_beta()
        self._check_beta_schedule()
        self._check_site_values()
        self._check_shrinkage()
        self._check_unit()

    def betas(self, num_train: int, default: float = 0.0) -> tuple[float, float]:
        """Both units of beta: per sample in nats, and ``beta_paper = beta * num_train``.

        Args:
            num_train: Number of training images.
            default: Beta per sample where none was given.
        """
        if self.beta_paper is not None:
            return self.beta_paper / num_train, self.beta_paper
        beta = default if self.beta is None else self.beta
        return beta, beta * num_train

    def build(
        self, num_train: int, sites: Iterable[str], *, steps: int, default_beta: float = 0.0
    ) -> tuple[InformationBottleneckELBO, dict[str, Schedule]]:
        """Build the objective at the weights that its schedules end in, and the schedules.

        Args:
            num_train: Number of training images.
            sites: Names of the program's latent sites.
            steps: Number of steps in an epoch.
            default_beta: Beta per sample where none was given.

        Returns:
            The objective; and what moves while the fit goes on, ``"beta"`` and ``"capacity"``, or nothing.

        Raises:
            ValueError: If a setting names a site that the program does not have, or weighs something without any.
        """
        from ib_pyro.elbo import CapacityELBO, FreeBitsELBO, InformationBottleneckELBO

        sites = tuple(sites)
        self._check_sites(sites)
        target = self.betas(num_train, default_beta)[0]
        beta = _by_site(target, self.beta_factors, sites)
        options = {"gamma": self.gamma, "total_correlation": self._estimator(num_train)}
        if self.capacity is not None:
            elbo: InformationBottleneckELBO = CapacityELBO(self.capacity, beta, **options)
        elif self.free_nats is not None:
            elbo = FreeBitsELBO(self.free_nats, beta, **options)
        else:
            elbo = InformationBottleneckELBO(beta, **options)
        return elbo, self._schedules(target, sites, steps)

    def describe(self) -> str:
        """Name in a few words what makes the objective more than one constant beta; empty if nothing does.

        >>> plain = {"beta_schedule": "linear", "beta_warm_up": 10}
        >>> ObjectiveSpec(**plain, free_nats={"z1": 2.0}).describe()
        'beta linear, 10 epochs; free nats z1=2'
        """
        parts = []
        if self.beta_factors:
            parts.append(f"beta times {written(self.beta_factors)}")
        if self.beta_schedule != "constant":
            start = f", from {self.beta_start:g} of it" if self.beta_start else ""
            length = self.beta_warm_up or self.beta_period
            parts.append(f"beta {self.beta_schedule}, {length:g} {self.warm_up_unit}{start}")
        if self.gamma:
            shrunk = f", shrinkage {self.shrinkage:g}" if self.shrinkage else ""
            parts.append(f"gamma {written(self.gamma)}, {self.total_correlation}{shrunk}")
        if self.capacity is not None:
            grown = (
                f", grown over {self.capacity_warm_up:g} {self.warm_up_unit}" if self.capacity_warm_up else ""
            )
            parts.append(f"capacity {written(self.capacity)}{grown}")
        if self.free_nats is not None:
            parts.append(f"free nats {written(self.free_nats)}")
        return "; ".join(parts)

    def reached(self, elbo: InformationBottleneckELBO, row: Mapping[str, float]) -> dict[str, Any]:
        """Say whether a fit ended at its targets, for ``result.json``.

        Args:
            elbo: The objective, at its targets.
            row: Metrics of the last epoch.

        Returns:
            ``beta_reached``, whether the last step had the target as its weight; where there is a capacity,
            ``capacity_reached/<site>``, whether the site's rate over the last epoch is within 5 % of it; nothing for
            what has neither schedule nor target. A site with capacity 0 has its rate pressed down as ever.
        """
        from ib_pyro.elbo.weights import weight_of

        found: dict[str, Any] = {}
        if self.beta_schedule != "constant":
            targets = elbo.beta if isinstance(elbo.beta, Mapping) else {"": elbo.beta}
            columns = {f"beta/{site}" if site else "beta": float(target) for site, target in targets.items()}
            found["beta_reached"] = all(row[column] == target for column, target in columns.items())
        if self.capacity is not None:
            for site in (name.removeprefix("rate/") for name in row if name.startswith("rate/")):
                target = float(weight_of(self.capacity, site, 0.0))
                if target > 0:
                    distance = abs(row[f"rate/{site}"] - target)
                    found[f"capacity_reached/{site}"] = distance <= _CAPACITY_TOLERANCE * target
        return found

    def _schedules(self, target: float, sites: tuple[str, ...], steps: int) -> dict[str, Schedule]:
        from ib_pyro.elbo.schedules import SCHEDULES

        schedules: dict[str, Schedule] = {}
        if self.beta_schedule != "constant":
            length = "period" if self.beta_schedule == "cyclical" else "warm_up"
            options = {
                "target": target,
                "start": self.beta_start * target,
                length: getattr(self, f"beta_{length}"),
            }
            beta = partial(SCHEDULES[self.beta_schedule], **options)
            schedules["beta"] = lambda epoch: _by_site(beta(epoch), self.beta_factors, sites)
        if self.capacity_warm_up > 0:
            schedules["capacity"] = partial(_capacity, target=self.capacity, warm_up=self.capacity_warm_up)
        if self.warm_up_unit == "steps":
            # A fraction of an epoch, times the steps in one, is a whole number but for its last digits.
            return {name: _in_steps(schedule, steps) for name, schedule in schedules.items()}
        return schedules

    def _estimator(self, num_train: int) -> str | TotalCorrelationEstimator:
        from ib_pyro.elbo import GaussianTotalCorrelation, MinibatchTotalCorrelation

        if self.shrinkage:
            return GaussianTotalCorrelation(shrinkage=self.shrinkage)
        method = self.total_correlation.removeprefix("minibatch-")
        if method == self.total_correlation:
            return method
        # The program's plate has the batch alone.
        return MinibatchTotalCorrelation(method=method, num_data=num_train)

    def _check_sites(self, sites: tuple[str, ...]) -> None:
        from ib_pyro.elbo.weights import require_known_sites

        for name in ("beta_factors", "gamma", "capacity", "free_nats"):
            value = getattr(self, name)
            if value and not sites:
                raise ValueError(f"{flag(name)} {value}: the program has no latent site")
            require_known_sites(value, flag(name), set(sites))

    def _check_beta(self) -> None:
        if self.beta is not None and self.beta_paper is not None:
            raise ValueError(
                f"--beta {self.beta:g} (nats per sample) and --beta-paper {self.beta_paper:g} (times the number of "
                "training images) are two units of one number; give one of them"
            )
        for name in ("beta", "beta_paper"):
            value = getattr(self, name)
            require(value is None or 0 <= value < math.inf, name, value, "finite and not negative")

    def _check_beta_schedule(self) -> None:
        lengths = {"beta_warm_up": ("linear", "cosine"), "beta_period": ("cyclical",)}
        for name, schedules in lengths.items():
            value = getattr(self, name)
            if self.beta_schedule in schedules and value is None:
                raise ValueError(
                    f"--beta-schedule {self.beta_schedule} needs its length: {flag(name)} EPOCHS"
                )
            if self.beta_schedule not in schedules and value is not None:
                raise ValueError(
                    f"{flag(name)} {value:g} goes with --beta-schedule {' or '.join(schedules)}, and it is "
                    f"{self.beta_schedule}"
                )
            require(value is None or 0 < value < math.inf, name, value, "positive and finite")
        start = self.beta_start
        require(0 <= start < math.inf, "beta_start", start, "finite and not negative")
        if self.beta_schedule == "constant":
            require(start == 0, "beta_start", start, "left alone without --beta-schedule")

    def _check_shrinkage(self) -> None:
        require(0 <= self.shrinkage <= 1, "shrinkage", self.shrinkage, "within [0, 1]")
        if self.shrinkage and (not self.gamma or self.total_correlation != "gaussian"):
            raise ValueError(
                f"--shrinkage {self.shrinkage:g} has no effect here; it goes with --gamma and --total-correlation "
                "gaussian"
            )

    def _check_unit(self) -> None:
        if self.warm_up_unit != "steps":
            return
        lengths = {name: getattr(self, name) for name in ("beta_warm_up", "beta_period", "capacity_warm_up")}
        if not any(lengths.values()):
            raise ValueError(
                f"--warm-up-unit steps has no effect here; it goes with {', '.join(map(flag, lengths))}"
            )
        for name, value in lengths.items():
            require(not value or value == int(value), name, value, "whole with --warm-up-unit steps")

    def _check_site_values(self) -> None:
        for name in ("beta_factors", "gamma", "capacity", "free_nats"):
            value = getattr(self, name)
            for number in value.values() if isinstance(value, Mapping) else [value]:
                require(number is None or 0 <= number < math.inf, name, number, "finite and not negative")
        if self.capacity is not None and self.free_nats is not None:
            raise ValueError(
                "--capacity draws the rate to its target and --free-nats lets it be; give one of them"
            )
        warm_up = self.capacity_warm_up
        require(0 <= warm_up < math.inf, "capacity_warm_up", warm_up, "finite and not negative")
        if self.capacity is None and warm_up > 0:
            raise ValueError(
                f"--capacity-warm-up {warm_up:g} needs the target that it ends in: --capacity NATS"
            )


def _by_site(beta: Weight, factors: Mapping[str, float] | None, sites: tuple[str, ...]) -> Weight:
    return beta if not factors else {site: factors.get(site, 1.0) * beta for site in sites}


def _in_steps(schedule: Schedule, steps: int) -> Schedule:
    return lambda epoch: schedule(round(epoch * steps))


def _capacity(epoch: float, *, target: SiteValues, warm_up: float) -> Weight:
    from ib_pyro.elbo.schedules import linear_warm_up

    if not isinstance(target, Mapping):
        return linear_warm_up(epoch, target=target, warm_up=warm_up)
    return {site: linear_warm_up(epoch, target=value, warm_up=warm_up) for site, value in target.items()}

"""What may take the place of a site's rate in the Lagrangian: its distance to a target, or what exceeds one."""

from typing import Protocol

from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.elbo.weights import Weight, check_scalar_weight, require_known_sites, weight_of

__all__ = ["Capacity", "FreeBits", "Penalty", "require_penalty"]


class Penalty(Protocol):
    """Function of one site's rate, summed over its samples, that beta weights in the rate's place.

    A penalty with an attribute ``per`` is of a part of the rate: ``"unit"`` gives it one sum for each unit of z, and
    ``"sample"`` the rate of each sample, as of one; what it returns is summed.
    """

    name: str

    def __call__(self, site: str, total: Tensor, num_samples: float | Tensor) -> Tensor:
        """Return the penalty of a site, in nats, summed over its samples as the rate is."""

    def require_known(self, sites: set[str]) -> None:
        """Raise a ValueError if a target is given for a site that is not among these."""


def require_penalty(penalty: Penalty | None) -> Penalty | None:
    """Return what takes a rate's place, if that is one.

    Raises:
        TypeError: If it is none, such as a number or the class of one.
    """
    if penalty is None or (
        not isinstance(penalty, type) and callable(getattr(penalty, "require_known", None))
    ):
        return penalty
    raise TypeError(f"penalty={penalty!r} is none; pass one, such as Capacity(20.0) or FreeBits(2.0)")


class _Target:
    """One number of nats per sample for every site, or one for each."""

    name: str

    def __init__(self, target: Weight) -> None:
        self.target = target

    @property
    def target(self) -> Weight:
        """Nats per sample: a number for every site, or a mapping."""
        return self._target

    @target.setter
    def target(self, value: Weight) -> None:
        self._target = check_scalar_weight(value, self.name, "as the rate is averaged before it is compared")

    def require_known(self, sites: set[str]) -> None:
        """Raise a ValueError if a target is given for a site that is not among these."""
        require_known_sites(self.target, self.name, sites)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    def _total(self, site: str, num_samples: float | Tensor) -> float | Tensor:
        return weight_of(self.target, site, 0.0) * num_samples


class Capacity(_Target):
    r"""Draws each rate to a capacity C instead of to zero: ``|R_l - C_l|``.

    ``R_l`` is the rate of site l averaged over its plates (Burgess et al. 2018, eq. 8, where beta is called gamma and
    C grows during training). With C = 0 it is the rate itself. Where a rate is sampled (``on_no_closed_form``), the
    mean of the distance exceeds the distance of the mean, the less the larger the batch.

    Args:
        target: C in nats per sample, at least 0: a number for every site, or a mapping, in which missing sites have
            capacity 0. May be set between steps, as by a schedule.

    Raises:
        ValueError: If a capacity is negative, infinite or a vector.
    """

    name = "capacity"

    def __call__(self, site: str, total: Tensor, num_samples: float | Tensor) -> Tensor:
        """Return ``|R - C|`` times the number of samples."""
        return (total - self._total(site, num_samples)).abs()


class FreeBits(_Target):
    r"""Lets each rate have a number of nats for free: ``max(R_l, lambda_l)``.

    Kingma et al. (2016), "Improved variational inference with inverse autoregressive flow", eq. 15. Below the floor a
    part of the rate has no gradient, so that it is not pressed to collapse. What is compared with the floor is

    * ``per="site"``: ``R_l``, the rate of site l averaged over its plates;
    * ``per="unit"``: that of each unit of z, ``sum_j max(R_lj, lambda_l)``, as in the paper, with a unit as the group:
      each has nats of its own, and none can take those of another. Posterior and prior are of independent units;
    * ``per="sample"``: the rate of each sample before it is averaged, ``mean_n max(R_ln, lambda_l)``, so that a sample
      of which z tells much pays, whatever the others do.

    Args:
        target: lambda in nats per sample (of each unit, where ``per="unit"``), at least 0: a number for every site, or
            a mapping, in which missing sites have none for free.
        per: ``"site"``, ``"unit"`` or ``"sample"``.

    Raises:
        ValueError: If a number of nats is negative, infinite or a vector, or ``per`` is unknown.
    """

    name = "free_nats"

    def __init__(self, target: Weight, *, per: str = "site") -> None:
        super().__init__(target)
        self._per = require_known("per=", per, ("site", "unit", "sample"))

    @property
    def per(self) -> str:
        """What has the nats for free."""
        return self._per

    def __call__(self, site: str, total: Tensor, num_samples: float | Tensor) -> Tensor:
        """Return ``max(R, lambda)`` times the number of samples."""
        return total.clamp_min(self._total(site, num_samples))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r}{'' if self.per == 'site' else f', per={self.per!r}'})"

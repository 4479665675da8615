"""Targets for the rate: a capacity that it is drawn to, and nats that it has for free."""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from ib_pyro.elbo.information_bottleneck import InformationBottleneckELBO, Sites, Terms
from ib_pyro.elbo.sites import Site, num_samples, scaled_sum
from ib_pyro.elbo.weights import Weight, check_weight, is_zero, require_known_sites, weight_of

__all__ = ["CapacityELBO", "FreeBitsELBO"]


class _TargetELBO(InformationBottleneckELBO):
    """An ELBO whose penalty compares each site's rate, averaged over its plates, with a target."""

    _target_name: str

    def __init__(self, target: Weight, beta: Weight, gamma: Weight, **options: Any) -> None:
        super().__init__(beta, gamma, **options)
        self._target = check_weight(target, self._target_name)

    @abstractmethod
    def _penalty(self, total: Tensor, target: Tensor | float) -> Tensor:
        """Return what takes the place of the rate, both summed over the site's samples."""

    def _evaluate(self, model_sites: Sites, guide_sites: Sites, *, with_unweighted: bool) -> Terms:
        require_known_sites(self._target, self._target_name, guide_sites.keys())
        return super()._evaluate(model_sites, guide_sites, with_unweighted=with_unweighted)

    def _weighted_rate(  # type: ignore[override]
        self, beta: float | Tensor, values: Tensor, site: Site
    ) -> Tensor | float:
        name = site["name"]
        if is_zero(beta):
            return 0.0
        if isinstance(beta, Tensor) and beta.dim():
            raise ValueError(
                f"site {name!r}: beta has shape {tuple(beta.shape)}, but a rate that is averaged before "
                f"it is compared with its {self._target_name} has one weight; pass a scalar"
            )
        if site["infer"].get("is_auxiliary"):
            raise NotImplementedError(
                f"site {name!r} is auxiliary: an automatic guide spreads a rate over several sites, which cannot be "
                f"compared with a {self._target_name} one by one; write the guide with one site for each latent"
            )
        target = weight_of(self._target, name, 0.0) * num_samples(site)
        return beta * self._penalty(scaled_sum(values, site), target)


class CapacityELBO(_TargetELBO):
    r"""The Lagrangian with each rate drawn to a capacity C instead of to zero.

    ``L = E[-log p(y|z)] + sum_l beta_l * |R_l - C_l|``, with ``R_l`` the rate of site l averaged over its plates
    (Burgess et al. 2018, eq. 8, where beta is called gamma and C grows during training). With C = 0 it is
    :class:`InformationBottleneckELBO`. ``terms()`` reports the rates themselves; its ``loss`` has the penalty.

    Args:
        capacity: C in nats per sample, at least 0: a number for every site, or a mapping, in which missing sites
            have capacity 0. May be set between steps, as by a schedule.
        beta: Weight of the distance, as in :class:`InformationBottleneckELBO`, but one for all samples.
        gamma: Weight of the total correlation.
        **options: Options of :class:`InformationBottleneckELBO`.

    Raises:
        ValueError: If a capacity or weight is negative, or names a site that the program does not have.
        NotImplementedError: If an automatic guide spreads a site over several.
    """

    _target_name = "capacity"

    def __init__(self, capacity: Weight, beta: Weight = 1.0, gamma: Weight = 0.0, **options: Any) -> None:
        super().__init__(capacity, beta, gamma, **options)

    @property
    def capacity(self) -> Weight:
        """Target of each site's rate, nats per sample."""
        return self._target

    @capacity.setter
    def capacity(self, value: Weight) -> None:
        self._target = check_weight(value, self._target_name)

    def _penalty(self, total: Tensor, target: Tensor | float) -> Tensor:
        return (total - target).abs()


class FreeBitsELBO(_TargetELBO):
    r"""The Lagrangian in which each site's rate is free up to a number of nats.

    ``L = E[-log p(y|z)] + sum_l beta_l * max(R_l, lambda_l)``, with ``R_l`` the rate of site l averaged over the
    batch (Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow", eq. 15, with a
    site as the group). Below the floor a site's rate has no gradient, so it is not pressed to collapse.

    Args:
        free_nats: lambda in nats per sample, at least 0: a number for every site, or a mapping, in which missing
            sites have none for free.
        beta: Weight of the rate, as in :class:`InformationBottleneckELBO`, but one for all samples.
        gamma: Weight of the total correlation.
        **options: Options of :class:`InformationBottleneckELBO`.

    Raises:
        ValueError: If a number of nats or a weight is negative, or names a site that the program does not have.
        NotImplementedError: If an automatic guide spreads a site over several.
    """

    _target_name = "free_nats"

    def __init__(self, free_nats: Weight, beta: Weight = 1.0, gamma: Weight = 0.0, **options: Any) -> None:
        super().__init__(free_nats, beta, gamma, **options)

    @property
    def free_nats(self) -> Weight:
        """Nats per sample that each site's rate has for free."""
        return self._target

    @free_nats.setter
    def free_nats(self, value: Weight) -> None:
        self._target = check_weight(value, self._target_name)

    def _penalty(self, total: Tensor, target: Tensor | float) -> Tensor:
        return total.clamp_min(target)

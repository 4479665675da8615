"""Shorter names of the ELBO with a target for its rates."""

from typing import Any

from ib_pyro.elbo.information_bottleneck import InformationBottleneckELBO
from ib_pyro.elbo.penalties import Capacity, FreeBits
from ib_pyro.elbo.weights import Weight

__all__ = ["CapacityELBO", "FreeBitsELBO"]


class CapacityELBO(InformationBottleneckELBO):
    r"""``InformationBottleneckELBO(beta, gamma, penalty=Capacity(capacity))``: ``sum_l beta_l * |R_l - C_l|``.

    Args:
        capacity: C in nats per sample, as in :class:`ib_pyro.elbo.Capacity`.
        beta: Weight of the distance, one for all samples of a site.
        gamma: Weight of the total correlation.
        **options: Options of :class:`InformationBottleneckELBO`.

    Raises:
        ValueError: If a capacity or weight is negative, or names a site that the program does not have.
        NotImplementedError: If an automatic guide spreads a site over several.
    """

    def __init__(self, capacity: Weight, beta: Weight = 1.0, gamma: Weight = 0.0, **options: Any) -> None:
        self._capacity = Capacity(capacity)
        super().__init__(beta, gamma, penalty=self._capacity, **options)

    @property
    def capacity(self) -> Weight:
        """Target of each site's rate, nats per sample."""
        return self._capacity.target

    @capacity.setter
    def capacity(self, value: Weight) -> None:
        self._capacity.target = value


class FreeBitsELBO(InformationBottleneckELBO):
    r"""``InformationBottleneckELBO(beta, gamma, penalty=FreeBits(free_nats))``: ``sum_l beta_l * max(R_l, lambda_l)``.

    Args:
        free_nats: lambda in nats per sample, as in :class:`ib_pyro.elbo.FreeBits`.
        beta: Weight of the rate, one for all samples of a site.
        gamma: Weight of the total correlation.
        per: ``"site"``, ``"unit"`` or ``"sample"``, as in :class:`ib_pyro.elbo.FreeBits`.
        **options: Options of :class:`InformationBottleneckELBO`.

    Raises:
        ValueError: If a number of nats or a weight is negative, or names a site that the program does not have.
        NotImplementedError: If an automatic guide spreads a site over several.
    """

    def __init__(
        self,
        free_nats: Weight,
        beta: Weight = 1.0,
        gamma: Weight = 0.0,
        *,
        per: str = "site",
        **options: Any,
    ) -> None:
        self._free_bits = FreeBits(free_nats, per=per)
        super().__init__(beta, gamma, penalty=self._free_bits, **options)

    @property
    def free_nats(self) -> Weight:
        """Nats per sample that each site's rate has for free."""
        return self._free_bits.target

    @free_nats.setter
    def free_nats(self, value: Weight) -> None:
        self._free_bits.target = value

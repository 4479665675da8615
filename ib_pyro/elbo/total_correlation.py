"""Total correlation of a latent site, estimated from one batch: what gamma weights in the Lagrangian."""

from collections.abc import Callable
from copy import copy

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Distribution

from ib_pyro.checks import checks_values, fails
from ib_pyro.choices import require_known
from ib_pyro.handlers import unwrap
from ib_pyro.information import (
    critic_total_correlation,
    gaussian_total_correlation,
    minibatch_total_correlation,
)
from ib_pyro.precision import single_or_wider, without_autocast

__all__ = [
    "CriticTotalCorrelation",
    "GaussianTotalCorrelation",
    "MinibatchTotalCorrelation",
    "TotalCorrelationEstimator",
    "resolve_total_correlation",
]

TotalCorrelationEstimator = Callable[[TorchDistributionMixin, Tensor, int], Tensor]
"""Function of a site's posterior p(z|x), its sample z ``[batch, *event]`` and the size of the data set.

It returns TC(z) as a scalar in nats, differentiable in z and the posterior's parameters, in the type of z, but float32
for the half types. Of a single unit it is zero. Those of this module compute outside of autocast. An estimator may say
by a method ``least_samples(num_units)`` how many samples it takes, so that a fit can be refused before it starts.
"""


class GaussianTotalCorrelation:
    """TC of the Gaussian with the batch's covariance, ``½ (sum_j log Sigma_jj - log |Sigma|)``.

    Args:
        space: ``"log"`` takes the covariance of log z, where multiplicative noise is additive (z must be
            positive); ``"identity"`` of z itself; ``"auto"`` of log z if all z are positive.
        shrinkage: Weight of the identity in the correlation matrix; needed for batches that are not larger than
            the representation.

    See :func:`ib_pyro.information.gaussian_total_correlation`.
    """

    def __init__(self, *, space: str = "auto", shrinkage: float = 0.0) -> None:
        require_known("space=", space, ("auto", "identity", "log"))
        self.space, self.shrinkage = space, shrinkage

    def least_samples(self, num_units: int) -> int:
        """Fewest samples that TC can be estimated from: one more than units, or two if the matrix is shrunk."""
        if num_units == 1:
            return 1
        return 2 if self.shrinkage else num_units + 1

    def __call__(self, posterior: TorchDistributionMixin, z: Tensor, dataset_size: int) -> Tensor:
        """Return TC(z) in nats."""
        if _is_single_unit(z):
            return _zero(z)
        z = single_or_wider(z)
        if self.space == "log" and checks_values() and fails(z > 0):
            raise ValueError(
                "space='log' needs z > 0, but some units are off; use space='identity', or softplus"
            )
        in_log = self.space == "log" or (self.space == "auto" and bool((z > 0).all()))
        return gaussian_total_correlation(z.log() if in_log else z, shrinkage=self.shrinkage)


class MinibatchTotalCorrelation:
    """TC from the aggregate posterior of the batch, by importance-weighted sampling (Chen et al. 2018).

    Args:
        method: ``"stratified"`` or ``"weighted"``; see :func:`ib_pyro.information.minibatch_total_correlation`.
        num_data: Number of training samples, whose aggregate posterior is meant. By default it is the size of the
            site's plate: right where the plate knows of the whole set (``Bottleneck(..., num_data=N)``), and the batch
            alone where it does not.

    Raises:
        ValueError: If the method is unknown or the number not positive.
    """

    def __init__(self, *, method: str = "stratified", num_data: int | None = None) -> None:
        require_known("method=", method, ("stratified", "weighted"))
        if num_data is not None and num_data < 1:
            raise ValueError(f"num_data must be at least 1; got {num_data}")
        self.method, self.num_data = method, num_data

    def least_samples(self, num_units: int) -> int:
        """Fewest samples that TC can be estimated from: the stratified estimate needs a sample beside the own one."""
        return 2 if num_units > 1 and self.method == "stratified" else 1

    def __call__(self, posterior: TorchDistributionMixin, z: Tensor, dataset_size: int) -> Tensor:
        """Return TC(z) in nats."""
        if _is_single_unit(z):
            return _zero(z)
        log_q = log_density_matrix(posterior, z)
        size = dataset_size if self.num_data is None else self.num_data
        return minibatch_total_correlation(log_q, max(size, len(z)), method=self.method)


class CriticTotalCorrelation:
    """TC as a density-ratio critic sees it (Kim & Mnih 2018); the critic is trained alongside.

    Args:
        critic: Module from ``[batch, *event]`` to logits ``[batch]``, such as
            :class:`ib_pyro.information.DensityRatioCritic`; train it with :func:`ib_pyro.information.critic_step`.
    """

    def __init__(self, critic: nn.Module) -> None:
        self.critic = critic

    def __call__(self, posterior: TorchDistributionMixin, z: Tensor, dataset_size: int) -> Tensor:
        """Return TC(z) in nats."""
        return _zero(z) if _is_single_unit(z) else critic_total_correlation(self.critic, z)


def log_density_matrix(posterior: TorchDistributionMixin, z: Tensor) -> Tensor:
    """Return ``log p(z_ij | x_k)`` for every pair of samples, ``[batch i, batch k, units j]``.

    Args:
        posterior: p(z|x) of a batch, with independent units.
        z: A sample of it, ``[batch, *event]``.

    Returns:
        Nats, computed outside of autocast in float32 at least.

    Raises:
        ValueError: If the units of the posterior are not independent.
    """
    elementwise = unwrap(posterior)
    if elementwise.event_shape:
        raise ValueError(
            f"{type(elementwise).__name__} has dependent units of shape {tuple(elementwise.event_shape)}; minibatch "
            "estimators of the total correlation need an elementwise posterior made whole by .to_event()"
        )
    # Values of one batch are scored under the parameters of another, where they may lie off its atoms.
    with without_autocast(z.device):
        log_q = _in_single(elementwise).log_prob(single_or_wider(z).unsqueeze(1))
    return log_q.flatten(2) if log_q.dim() > 2 else log_q.unsqueeze(-1)


def _in_single(distribution: Distribution) -> Distribution:
    """The same law with parameters of the half types in float32, where alone its log density keeps its digits."""
    new = copy(distribution)
    for name, value in vars(distribution).items():
        if isinstance(value, Tensor):
            new.__dict__[name] = single_or_wider(value)
        elif isinstance(value, Distribution):
            new.__dict__[name] = _in_single(value)
    return new


def _is_single_unit(z: Tensor) -> bool:
    return z[:1].numel() == 1


def _zero(z: Tensor) -> Tensor:
    """Zero with a gradient of zero, and no number where z is none."""
    return torch.where(z.isfinite(), 0.0, single_or_wider(z)).sum()


ESTIMATORS: dict[str, Callable[[], TotalCorrelationEstimator]] = {
    "gaussian": GaussianTotalCorrelation,
    "minibatch-stratified": MinibatchTotalCorrelation,
    "minibatch-weighted": lambda: MinibatchTotalCorrelation(method="weighted"),
}


def resolve_total_correlation(estimator: str | TotalCorrelationEstimator) -> TotalCorrelationEstimator:
    """Return the estimator of that name, or the function itself.

    Raises:
        ValueError: If the name is unknown.
    """
    if callable(estimator):
        return estimator
    way_out = "pass an estimator such as CriticTotalCorrelation(critic)"
    return ESTIMATORS[require_known("total_correlation=", estimator, ESTIMATORS, otherwise=way_out)]()

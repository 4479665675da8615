r"""A linear program whose Lagrangian the closed-form Gaussian bottleneck bounds from below, and which attains it.

Generative process, for each of N pairs of vectors x and y::

    z1 ~ N(m, diag(s²))
    y  ~ N(W z1 + b, L L'),  L lower triangular

Guide::

    z1 ~ N(A x + a, I)

with all of m, s, W, b, L, A, a learned. With the decoder at its optimum the distortion is ``h(y) - I(z; y)``, h(y)
the differential entropy of y; with the prior at its optimum the rate is ``I(x; z) + TC(z)``, and rotating A takes the
total correlation away. So for jointly Gaussian x and y (Chechik et al. 2005)::

    min E[-log p(y|z)] + beta * rate - h(y) = min -I(z; y) + beta I(x; z)

which is :func:`ib_pyro.oracle.gaussian_ib`. The noise may have scale 1 because A may have any.
"""

import torch
from pyro.distributions import MultivariateNormal, Normal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.nn import AdditiveNormal
from models.constant_scale import ConstantScale

__all__ = ["GaussianBottleneck", "LinearGaussianNoise"]


class LinearGaussianNoise(AdditiveNormal):
    """``z = A x + a + n``, ``n ~ N(0, I)``, under a Gaussian prior with independent units that is learned.

    Args:
        in_features: Dimension of x.
        num_units: Dimension of z.
    """

    _prior_is_fixed = False

    def __init__(self, in_features: int, num_units: int) -> None:
        super().__init__(nn.Linear(in_features, num_units), ConstantScale(num_units))
        self.prior_loc = nn.Parameter(torch.zeros(num_units))
        self.prior_log_scale = nn.Parameter(torch.zeros(num_units))

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return the learned normal prior."""
        loc, log_scale = self._own_parameter("prior_loc"), self._own_parameter("prior_log_scale")
        return Normal(loc.expand(event_shape), log_scale.exp().expand(event_shape)).to_event(len(event_shape))


class _LinearGaussian(nn.Module):
    """Mean and lower Cholesky factor of ``p(y|z)``."""

    def __init__(self, num_units: int, out_features: int) -> None:
        super().__init__()
        self.mean = nn.Linear(num_units, out_features)
        self.raw_factor = nn.Parameter(torch.zeros(out_features, out_features))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        factor = self.raw_factor.tril(-1) + self.raw_factor.diagonal().exp().diag()
        return self.mean(z), factor


def _multivariate_normal(output: tuple[Tensor, Tensor]) -> TorchDistributionMixin:
    loc, scale_tril = output
    return MultivariateNormal(loc, scale_tril=scale_tril)


def GaussianBottleneck(  # noqa: N802  (a program's constructor reads as a class)
    dim_x: int, dim_y: int, num_units: int | None = None
) -> Bottleneck:
    """Build the linear-Gaussian program with the noisy site ``z1``.

    Args:
        dim_x: Dimension of x.
        dim_y: Dimension of y.
        num_units: Dimension of z; by default ``min(dim_x, dim_y)``, which always suffices.

    Returns:
        A :class:`ib_pyro.Bottleneck`, called as ``program.model(x, y)`` with x ``[N, dim_x]``, y ``[N, dim_y]``.
    """
    units = min(dim_x, dim_y) if num_units is None else num_units
    encoder, decoder = LinearGaussianNoise(dim_x, units), _LinearGaussian(units, dim_y)
    return Bottleneck(encoder, decoder, likelihood=_multivariate_normal)

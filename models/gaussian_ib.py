r"""A linear program whose Lagrangian the closed-form Gaussian bottleneck bounds from below, and which attains it.

Generative process, for each of N pairs of vectors x and y::

    z1 ~ N(0, I)
    y  ~ N(W z1 + b, L L'),  L lower triangular

Guide::

    z1 ~ N(A x + a, diag(s²))

with all of W, b, L, A, a, s learned. With the decoder at its optimum the distortion is ``h(y) - I(z; y)``, h(y)
the differential entropy of y. With the units of z at mean 0 and variance 1 the rate is ``I(x; z) + TC(z)``, as it
would be under a normal prior that is learned, and rotating A takes the total correlation away. So for jointly
Gaussian x and y (Chechik et al. 2005)::

    min E[-log p(y|z)] + beta * rate - h(y) = min -I(z; y) + beta I(x; z)

which is :func:`ib_pyro.oracle.gaussian_ib`.
"""

import torch
from pyro.distributions import MultivariateNormal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.nn import AdditiveNormal
from models.constant_scale import ConstantScale

__all__ = ["GaussianBottleneck"]


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
    encoder = AdditiveNormal(nn.Linear(dim_x, units), ConstantScale(units, learn=True))
    return Bottleneck(encoder, _LinearGaussian(units, dim_y), likelihood=_multivariate_normal)

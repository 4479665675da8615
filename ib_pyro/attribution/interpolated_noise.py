"""Noise that replaces a value by what the value is like in general: a Gaussian interpolation."""

import torch
from pyro.distributions import Normal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro.nn import StochasticLayer
from ib_pyro.nn.additive_normal import GaussianNoise

__all__ = ["InterpolatedNoise", "interpolation_rate"]


def interpolation_rate(keep: Tensor, deviation: Tensor) -> Tensor:
    r"""Rate of a value that is kept in part, under what it is like in general.

    With :math:`\lambda` the share that is kept and :math:`d = (f - \mu) / \sigma`:

    .. math:: \mathrm{KL} = \tfrac12 \big(\lambda^2 d^2 + (1 - \lambda)^2 - 1\big) - \log(1 - \lambda)

    It is 0 where nothing is kept, and infinite where all is (Schulz et al. 2020, eq. 6 and appendix).

    Args:
        keep: Share that is kept, in [0, 1), any shape.
        deviation: The value's distance from its mean in standard deviations, broadcastable.

    Returns:
        Nats per element.
    """
    return 0.5 * ((keep * deviation).square() + (1 - keep).square() - 1) - torch.log1p(-keep)


class InterpolatedNoise(StochasticLayer):
    r"""The noisy value ``z = keep * f + (1 - keep) * eps`` with ``eps ~ N(loc, scale²)`` (Schulz et al. 2020, eq. 3).

    loc and scale are the mean and standard deviation of each feature over a set of images. As a law,
    ``p(z|x) = N(keep * f + (1 - keep) * loc, ((1 - keep) * scale)²)`` under the prior ``q(z) = N(loc, scale²)``: the
    value that noise alone would give is the value that the prior has, so that noise does not take the network out of
    what it was trained on, and the rate has the closed form of :func:`interpolation_rate`.

    Args:
        keep: Network of f whose output is the share that is kept, in [0, 1), of the shape of f.
        loc: Mean of each feature, of the shape of one sample of f.
        scale: Standard deviation of each feature, likewise, positive.
        name: Name of the site.

    Raises:
        ValueError: If the shapes of loc and scale differ, or a scale is not positive.
    """

    def __init__(self, keep: nn.Module, loc: Tensor, scale: Tensor, *, name: str | None = None) -> None:
        if loc.shape != scale.shape or not bool((scale > 0).all()):
            raise ValueError(
                f"loc {tuple(loc.shape)} and scale {tuple(scale.shape)} must have the shape of one sample, and every "
                f"scale must be positive (min {scale.min():.4g})"
            )
        super().__init__(nn.Identity(), activation="identity", event_dim=loc.dim(), name=name)
        self.keep = keep
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)

    def posterior(self, x: Tensor) -> Normal:
        """Return ``p(z|x)``, elementwise."""
        keep = self.keep(x)
        return GaussianNoise(torch.lerp(self.loc, x, keep), (1 - keep) * self.scale, validate_args=False)

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return ``q(z)``, what each feature is like in general."""
        if event_shape != self.loc.shape:
            raise ValueError(f"a sample of shape {tuple(event_shape)}, but loc has {tuple(self.loc.shape)}")
        return Normal(self.loc, self.scale, validate_args=False).to_event(len(event_shape))

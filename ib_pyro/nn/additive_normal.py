"""Additive Gaussian noise, under a standard normal prior if no other is given: the latent of a VAE and of deep VIB."""

import torch
from pyro.distributions import Normal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.nn import functional as F
from torch.types import _size

from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.priors.given import Prior

__all__ = ["AdditiveNormal", "GaussianNoise"]


class GaussianNoise(Normal):
    """A normal whose noise can be switched off: z = loc."""

    def expand(self, batch_shape: _size, _instance: object = None) -> "GaussianNoise":
        """Return the law with a larger batch shape, as PyTorch's does."""
        return super().expand(batch_shape, self._get_checked_instance(GaussianNoise, _instance))

    @property
    def noise_free(self) -> Tensor:
        """The mean."""
        return self.loc

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Return draws, as PyTorch's does."""
        # PyTorch draws into a tensor of zeros, which torch.func.vmap does not take; the numbers are the same.
        shape = self._extended_shape(sample_shape)
        return self.loc + self.scale * torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)


class AdditiveNormal(StochasticLayer):
    """The noisy representation ``z = loc(x) + scale(x) * n`` with ``n ~ N(0, 1)``, prior ``N(0, 1)`` by default.

    The latent of the VAE (Kingma & Welling 2014) and of deep VIB (Alemi et al. 2017). Rates and slopes are finite
    where the type holds the scale as a normal number: for ``scale(x)`` above -87, and above -9 in float16.

    Args:
        loc: Network whose output is the mean of z.
        scale: Network of the same input and output shape; the scale is its softplus.
        prior: Another prior; see :class:`StochasticLayer`.
        event_dim: See :class:`StochasticLayer`.
        name: Name of the site.
    """

    has_noise_branch = True

    def __init__(
        self,
        loc: nn.Module,
        scale: nn.Module,
        *,
        prior: Prior | None = None,
        event_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(loc, activation="identity", event_dim=event_dim, name=name)
        self.noise, self.prior = scale, prior

    @property
    def has_fixed_prior(self) -> bool:  # type: ignore[override]
        """Whether the prior is the standard normal one."""
        return self.prior is None

    def posterior(self, x: Tensor) -> Normal:
        """Return ``p(z|x)``, elementwise: its batch shape is that of loc(x)."""
        scale = F.softplus(self.noise(x))
        tiny = torch.finfo(scale.dtype).tiny
        return GaussianNoise(self.activation_of(x), scale.clamp_min(tiny), validate_args=False)

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return the standard normal prior, or the one that was given."""
        given = self.given_prior(event_shape)
        if given is not None:
            return given
        like = self._reference()
        zeros = torch.zeros(event_shape, dtype=like.dtype, device=like.device)
        # The layer looks at z itself: a law that did so too would keep densities at the draw from being recorded.
        return Normal(zeros, torch.ones_like(zeros), validate_args=False).to_event(len(event_shape))

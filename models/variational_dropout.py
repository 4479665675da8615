r"""Variational dropout twice: noise on the activations, and a posterior over weights.

Both programs are one linear layer with weights ``theta`` on the activations f(x) of any network, for N samples.

**On the activations**, :func:`VariationalDropout`. Generative process and guide, inside of the plate::

    z1_i ~ c / |z1_i|                          z1_i = f_i(x) * xi_i,  xi_i ~ N(1, alpha)
    y    ~ p(y | z1 theta + b)

**On the weights**, :class:`WeightDropout`: a global latent, outside of the plate, ``correlated=True``::

    s_i ~ c / |s_i|                            s_i ~ N(1, alpha)
    y_n ~ p(y | f(x_n) w + b),  w_ij = s_i theta_ij

or, ``correlated=False``, one for each weight::

    w_ij ~ c / |w_ij|                          w_ij ~ N(theta_ij, alpha theta_ij²)

(Kingma, Salimans & Welling 2015, sections 3.2 and 3.1.) With k(alpha) the rate of one N(1, alpha) factor under the
log-uniform prior, which no scale and so neither f nor theta enters, and d inputs and m outputs of the layer:

* the rates are equal: ``beta = 1/N`` times the rate d k(alpha) of each of N samples is d k(alpha), that of s, once
  for the whole data. An input that is exactly 0 has no noise to be charged for, so this wants f(x) != 0: softplus,
  not ReLU;
* the distortions are equal draw by draw if all samples have the same noise, ``xi_n = s``, and in expectation always:
  each sample's term depends on its own noise alone, which has the same distribution. Fresh noise for each sample is
  what makes the gradient's variance small;
* with a noise for each weight the rate is d m k(alpha). For m = 1 the two are one program; for m > 1 they are not.

So ``InformationBottleneckELBO(beta=1/N)`` on the first program and ``beta=1`` on the second are the same objective
(their eq. 1), also for minibatches, whose likelihood is scaled by N over their size while the global rate is not.
"""

import math

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.distributions import MultiplicativeNormal, ZeroInflatedLogUniform
from ib_pyro.likelihoods import Likelihood, resolve_likelihood
from ib_pyro.nn import GaussianDropout

__all__ = ["VariationalDropout", "WeightDropout"]


def VariationalDropout(  # noqa: N802  (a program's constructor reads as a class)
    features: nn.Module,
    linear: nn.Linear,
    likelihood: str | Likelihood = "categorical",
    *,
    num_data: int,
    alpha: float = 0.5,
    approximation: str = "kingma",
) -> Bottleneck:
    """Build the program with Gaussian noise on the activations, at the noisy site ``z1``.

    Args:
        features: Network from x to the activations f(x), ``[batch, d]``.
        linear: The layer behind the noise.
        likelihood: See :class:`ib_pyro.Bottleneck`.
        num_data: Number N of training samples, of which a batch is a subsample.
        alpha: Initial variance of the noise, shared over samples and units; it is learned.
        approximation: ``"kingma"``, for alpha < 1, or ``"molchanov"``.

    Returns:
        A :class:`ib_pyro.Bottleneck`, for ``InformationBottleneckELBO(beta=1 / num_data)``.
    """
    layer = GaussianDropout(
        features, alpha, activation="identity", event_dim=1, approximation=approximation, name="z1"
    )
    return Bottleneck(layer, linear, likelihood, num_data=num_data)


class WeightDropout(nn.Module):
    """The same network with its noise on the weights: a Bayesian last layer, at the global site ``s`` or ``w``.

    Args:
        features: Network from x to the activations f(x), ``[batch, d]``.
        linear: The layer whose weights are the means theta.
        likelihood: See :class:`ib_pyro.Bottleneck`.
        num_data: Number N of training samples, of which a batch is a subsample.
        alpha: Initial variance of the noise, shared over all weights; it is learned.
        correlated: One noise for each input, on all the weights that leave it (site ``s``), or one for each weight
            (site ``w``).
        approximation: ``"kingma"``, for alpha < 1, or ``"molchanov"``.

    Raises:
        ValueError: If alpha is out of its range, or the likelihood is unknown.
    """

    def __init__(
        self,
        features: nn.Module,
        linear: nn.Linear,
        likelihood: str | Likelihood = "categorical",
        *,
        num_data: int,
        alpha: float = 0.5,
        correlated: bool = True,
        approximation: str = "kingma",
    ) -> None:
        super().__init__()
        self.features, self.linear = features, linear
        self.likelihood = resolve_likelihood(likelihood)
        self.num_data, self.correlated = num_data, correlated
        self.approximation = approximation
        bounded = approximation == "kingma"
        if not 0 < alpha < (1 if bounded else math.inf):
            raise ValueError(f"alpha={alpha} must be positive{', and below 1' * bounded}")
        start = math.log(alpha / (1 - alpha)) if bounded else math.log(alpha)
        self.raw_alpha = nn.Parameter(torch.tensor(start))

    @property
    def alpha(self) -> Tensor:
        """Variance of the noise, a scalar."""
        return self.raw_alpha.sigmoid() if self.approximation == "kingma" else self.raw_alpha.exp()

    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Sample the noise of the weights from its prior, once, and y given x, ``[batch, ...]``."""
        pyro.module("weight_dropout", self)
        weight = self._weight(self._prior())
        with pyro.plate("data", self.num_data, subsample=range(len(x)), dim=-1):
            likelihood = self.likelihood(self.features(x) @ weight + self.linear.bias)
            return pyro.sample("y", likelihood, obs=y)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """Sample the noise of the weights."""
        pyro.module("weight_dropout", self)
        mean = self._mean()
        noise = MultiplicativeNormal(mean, self.alpha, approximation=self.approximation)
        pyro.sample(self._site, noise.to_event(mean.dim()))

    @property
    def _site(self) -> str:
        return "s" if self.correlated else "w"

    def _mean(self) -> Tensor:
        theta = self.linear.weight.mT
        return torch.ones_like(theta[:, 0]) if self.correlated else theta

    def _prior(self) -> TorchDistributionMixin:
        mean = self._mean()
        prior = ZeroInflatedLogUniform(torch.ones_like(mean), two_sided=True)
        return prior.to_event(mean.dim())

    def _weight(self, prior: TorchDistributionMixin) -> Tensor:
        """Return the noisy weights ``[d, m]``."""
        value = pyro.sample(self._site, prior)
        return value.unsqueeze(-1) * self.linear.weight.mT if self.correlated else value

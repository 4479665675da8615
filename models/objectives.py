r"""The special cases that differ in their weights alone: each a name for an ``InformationBottleneckELBO``.

All of them are ``E[-log p(y|z)] + beta KL(p(z|x) || q(z)) + gamma TC(z)`` in nats per sample. Which program they are
used on decides the rest: with y = x they are autoencoders, with labels classifiers.
"""

from typing import Any

from torch import nn

from ib_pyro import InformationBottleneckELBO
from ib_pyro.elbo import CriticTotalCorrelation, MinibatchTotalCorrelation
from ib_pyro.elbo.total_correlation import TotalCorrelationEstimator

__all__ = [
    "beta_tcvae",
    "beta_vae",
    "cross_entropy",
    "deep_vib",
    "factor_vae",
    "independent_components",
    "variational_dropout",
]


def cross_entropy(**options: Any) -> InformationBottleneckELBO:
    """The distortion alone: beta = gamma = 0, on any program with a categorical likelihood."""
    return InformationBottleneckELBO(beta=0.0, gamma=0.0, **options)


def deep_vib(beta: float = 1e-3, **options: Any) -> InformationBottleneckELBO:
    """The deep variational information bottleneck (Alemi et al. 2017, eq. 17), on :func:`models.deep_vib.DeepVIB`.

    Args:
        beta: Weight of the rate per sample; the paper's best on MNIST is 1e-3.
        **options: Options of :class:`ib_pyro.InformationBottleneckELBO`.
    """
    return InformationBottleneckELBO(beta=beta, **options)


def beta_vae(beta: float, **options: Any) -> InformationBottleneckELBO:
    """The beta-VAE (Higgins et al. 2017, eq. 4), on a VAE; beta = 1 is the VAE itself.

    Args:
        beta: Weight of the rate per sample, usually above 1.
        **options: Options of :class:`ib_pyro.InformationBottleneckELBO`.
    """
    return InformationBottleneckELBO(beta=beta, **options)


def beta_tcvae(
    beta: float, *, method: str = "stratified", num_data: int | None = None, **options: Any
) -> InformationBottleneckELBO:
    """The beta-TCVAE (Chen et al. 2018, eq. 4 with alpha = gamma = 1), on a VAE.

    ``-log p(x|z) + I(x; z) + beta TC(z) + sum_j KL(q(z_j) || p(z_j))``. The three terms with weight 1 sum to the rate,
    so the weight of the total correlation beside the rate is ``beta - 1``.

    Args:
        beta: Their weight of the total correlation, at least 1.
        method: ``"stratified"`` or ``"weighted"``; see :func:`ib_pyro.information.minibatch_total_correlation`.
        num_data: Number of training samples, unless the program's own plate has it.
        **options: Options of :class:`ib_pyro.InformationBottleneckELBO`.

    Raises:
        ValueError: If beta is below 1 or the method is unknown.
    """
    if not beta >= 1:
        raise ValueError(
            f"beta weights the total correlation that the rate holds once; got {beta}, need at least 1"
        )
    estimator = MinibatchTotalCorrelation(method=method, num_data=num_data)
    return InformationBottleneckELBO(beta=1.0, gamma=beta - 1.0, total_correlation=estimator, **options)


def factor_vae(gamma: float, critic: nn.Module, **options: Any) -> InformationBottleneckELBO:
    """The FactorVAE (Kim & Mnih 2018, eq. 2), on a VAE.

    ``-log p(x|z) + KL(q(z|x) || p(z)) + gamma TC(z)``, with the total correlation as a density-ratio critic sees it.

    Args:
        gamma: Weight of the total correlation.
        critic: Module from z to logits, such as :class:`ib_pyro.information.DensityRatioCritic`; train it alongside
            with :func:`ib_pyro.information.critic_step`.
        **options: Options of :class:`ib_pyro.InformationBottleneckELBO`.
    """
    estimator = CriticTotalCorrelation(critic)
    return InformationBottleneckELBO(beta=1.0, gamma=gamma, total_correlation=estimator, **options)


def independent_components(
    gamma: float = 1.0,
    *,
    total_correlation: str | TotalCorrelationEstimator = "minibatch-stratified",
    **options: Any,
) -> InformationBottleneckELBO:
    """Independent component analysis: beta = 0 and gamma > 0, on :func:`models.ica.ICA`.

    The Gaussian estimate cannot serve on whitened data: it is zero for every rotation of them.

    Args:
        gamma: Weight of the total correlation.
        total_correlation: Its estimator; a :class:`ib_pyro.elbo.MinibatchTotalCorrelation` may be told the number of
            training samples.
        **options: Options of :class:`ib_pyro.InformationBottleneckELBO`.
    """
    return InformationBottleneckELBO(beta=0.0, gamma=gamma, total_correlation=total_correlation, **options)


def variational_dropout(num_data: int, **options: Any) -> InformationBottleneckELBO:
    """Variational dropout (Kingma et al. 2015, eq. 1): ``beta = 1 / N`` charges one rate for the whole data set.

    Args:
        num_data: Number N of training samples.
        **options: Options of :class:`ib_pyro.InformationBottleneckELBO`.

    Raises:
        ValueError: If there are no samples.
    """
    if num_data < 1:
        raise ValueError(f"num_data must be at least 1; got {num_data}")
    return InformationBottleneckELBO(beta=1.0 / num_data, **options)

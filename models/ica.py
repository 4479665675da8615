r"""Independent component analysis: the bottleneck with beta = 0 and gamma > 0.

Generative process, for each of N whitened observations x of d mixed sources::

    z1 ~ N(0, I)
    x  ~ N(V z1, I)

Guide, with W orthogonal and a small fixed noise s::

    z1 ~ N(W x, s² I)

``InformationBottleneckELBO(beta=0, gamma=...)``, or :func:`models.objectives.independent_components`, does not charge
the rate. What is left is to reconstruct x, which every rotation W does equally well, and to make the total correlation
of z small, which of all rotations the one onto the sources does best (Comon 1994; Achille & Soatto 2018, section 4
with the factorised prior's I(x; z) at weight zero). The estimate of TC must see more than covariances: on whitened
data the Gaussian one is zero for every W. At most one source may be Gaussian; order and sign stay undetermined.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from ib_pyro import Bottleneck
from ib_pyro.nn import AdditiveNormal
from models.constant_scale import ConstantScale

__all__ = ["ICA", "amari_distance", "unmixing_matrix", "whiten"]


def ICA(num_sources: int, *, noise: float = 0.2) -> Bottleneck:  # noqa: N802  (a constructor reads as a class)
    """Build the program with the noisy site ``z1``.

    Args:
        num_sources: Number of sources d, and of observed mixtures.
        noise: Scale s of the noise, in standard deviations of a source. It is the bandwidth at which the minibatch
            estimators see the density of z.

    Returns:
        A :class:`ib_pyro.Bottleneck`, called as ``program.model(x, x)`` with whitened x ``[N, d]``.

    Raises:
        ValueError: If there are fewer than two sources, or the noise is not positive.
    """
    if num_sources < 2:
        raise ValueError(f"num_sources must be at least 2; got {num_sources}")
    rotation = orthogonal(nn.Linear(num_sources, num_sources, bias=False))
    encoder = AdditiveNormal(rotation, ConstantScale(num_sources, noise))
    return Bottleneck(encoder, nn.Linear(num_sources, num_sources, bias=False), likelihood="normal")


def whiten(x: Tensor) -> tuple[Tensor, Tensor]:
    """Centre the observations and give them the identity as their covariance.

    Args:
        x: Observations ``[N, d]``, with more samples than dimensions.

    Returns:
        The whitened observations ``[N, d]``, and the symmetric matrix ``[d, d]`` that whitens a centred row from the
        right.
    """
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.mT @ centred / len(x))
    matrix = vectors * values.rsqrt() @ vectors.mT
    return centred @ matrix, matrix


def unmixing_matrix(program: Bottleneck, whitening: Tensor) -> Tensor:
    """Return the matrix ``[d, d]`` that takes centred observations, as columns, to the sources."""
    (layer,) = program.stochastic_layers.values()
    rotation: Tensor = layer.features.weight
    return rotation.detach() @ whitening.mT


def amari_distance(unmixing: Tensor, mixing: Tensor) -> float:
    r"""How far ``P = unmixing @ mixing`` is from a permutation with signs and scales, in [0, 1].

    .. math::
        \frac{1}{2 d (d - 1)} \Big(\sum_i \Big(\frac{\sum_j |P_{ij}|}{\max_j |P_{ij}|} - 1\Big)
            + \sum_j \Big(\frac{\sum_i |P_{ij}|}{\max_i |P_{ij}|} - 1\Big)\Big)

    (Amari, Cichocki & Yang 1996, eq. 5, divided by its largest value).

    Args:
        unmixing: Matrix from observations to sources, ``[d, d]``.
        mixing: Matrix from sources to observations, ``[d, d]``.

    >>> amari_distance(torch.tensor([[0.0, 2.0], [-1.0, 0.0]]), torch.eye(2))
    0.0
    """
    size = (unmixing @ mixing).abs()
    rows = size.sum(1) / size.amax(1) - 1
    columns = size.sum(0) / size.amax(0) - 1
    d = len(size)
    return ((rows.sum() + columns.sum()) / (2 * d * (d - 1))).item()

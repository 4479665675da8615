r"""The variational autoencoder of the paper's Table 1, with Gaussian or with information-dropout latents.

Generative process, for each of N binary images x::

    z1 ~ prod_j q(z1_j)
    x  ~ Bernoulli(sigmoid(W2 relu(W1 z1 + b1) + b2)), a pixel each

Guide, with the hidden layer ``h = relu(V1 x + c1)``; ``latent="information"``::

    z1_j = f_j * eps_j,  f = softplus(V2 h + c2)
    log eps_j ~ N(0, alpha_j(h)²),  alpha affine in h, squashed
    q(z1_j) = LogNormal(mu, sigma²), with the scalars mu and sigma learned

(``link="exponential"``: ``f = exp(V2 h + c2)``; ``prior_per_unit=True``: mu_j and sigma_j, a pair a unit; with both,
log z1 is the Gaussian latent of a VAE with a bounded scale and a learned prior),

or ``latent="gaussian"`` (Kingma & Welling 2014)::

    z1_j ~ N((V2 h + c2)_j, softplus(V3 h + c3)_j²),  q(z1_j) = N(0, 1)

Grey images have a likelihood of their own, a continuous Bernoulli law or a logistic one that is rounded to 256 levels;
and either latent may have another prior, such as a mixture or a VampPrior.

It is the information bottleneck with y = x, called as ``program.model(x, x)``. With beta = 1 the Lagrangian is the
negative ELBO, a bound on -log p(x); a beta divided by the number of images would make it none. With beta > 1 it is the
beta-VAE, with gamma > 0 the beta-TCVAE or FactorVAE: see :mod:`models.objectives`.

Achille & Soatto 2018, section 6 and Table 1, state 256 k units of z and 512 k hidden units in the encoder and in the
decoder. Ours: one hidden layer in each, its ReLU, fully connected layers, softplus with the log-normal prior for
the information latents (the paper's form for a bounded rate), and stochastically binarised images.
"""

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.choices import require_known
from ib_pyro.nn import AdditiveNormal, InformationDropout, StochasticLayer
from ib_pyro.priors import Prior
from models.blocks import ImageInput

__all__ = ["VAE", "LocationAndScale", "binarise"]

LATENTS = ("gaussian", "information")
LIKELIHOODS = ("bernoulli", "continuous-bernoulli", "discretized-logistic")
LINKS = ("softplus", "exponential")


def VAE(  # noqa: N802  (a program's constructor reads as a class)
    k: int = 1,
    latent: str = "information",
    image_shape: tuple[int, ...] = (1, 28, 28),
    *,
    num_latent: int | None = None,
    hidden: int | None = None,
    num_data: int | None = None,
    likelihood: str = "bernoulli",
    prior: Prior | None = None,
    link: str = "softplus",
    prior_per_unit: bool = False,
    **options: Any,
) -> Bottleneck:
    """Build the autoencoder as a program with the noisy site ``z1``.

    Args:
        k: Size of the network, in the paper's units: 256 k latents, 512 k hidden units.
        latent: ``"information"`` or ``"gaussian"``.
        image_shape: Shape of one image, channels first.
        num_latent: Number of latents, in place of ``256 * k``.
        hidden: Number of hidden units in the encoder and in the decoder, in place of ``512 * k``.
        num_data: See :class:`ib_pyro.Bottleneck`.
        likelihood: ``"bernoulli"`` of binary images, ``"continuous-bernoulli"`` of grey ones, or
            ``"discretized-logistic"`` of grey ones of 256 levels, with a scale for each pixel.
        prior: Another prior of the latents; see :mod:`ib_pyro.priors`.
        link: From the encoder to f of information latents: ``"softplus"`` or ``"exponential"``.
        prior_per_unit: Whether each information latent learns a prior of its own.
        **options: Options of :class:`ib_pyro.nn.InformationDropout`, such as ``alpha_max``.

    Returns:
        A :class:`ib_pyro.Bottleneck`, called as ``program.model(x, x)`` with x ``[N, C, H, W]`` of that likelihood.

    Raises:
        ValueError: If a size is not positive, or the latent or the likelihood is unknown or given options that it does
            not have.

    >>> program = VAE(latent="gaussian", image_shape=(1, 4, 4), num_latent=3, hidden=8)
    >>> x = binarise(torch.rand(5, 1, 4, 4))
    >>> program.model(x, x).shape
    torch.Size([5, 1, 4, 4])
    """
    width, units = (
        hidden if hidden is not None else 512 * k,
        num_latent if num_latent is not None else 256 * k,
    )
    if min(k, width, units) < 1:
        raise ValueError(f"sizes must be positive; got k={k}, num_latent={units}, hidden={width}")
    require_known("link=", link, LINKS)
    if latent == "information":
        options = {"activation": link, "prior_shape": (units,) if prior_per_unit else (), **options}
    elif link != LINKS[0] or prior_per_unit:
        raise ValueError(
            f"latent={latent!r} has neither link={link!r} nor prior_per_unit={prior_per_unit}; they are information "
            "dropout's"
        )
    pixels = math.prod(image_shape)
    encoder = OrderedDict(
        input=ImageInput(image_shape, flatten=True),
        hidden=nn.Sequential(nn.Linear(pixels, width), nn.ReLU()),
        z1=_latent_layer(latent, width, units, prior, options),
    )
    require_known("likelihood=", likelihood, LIKELIHOODS)
    decoder = nn.Sequential(
        nn.Linear(units, width), nn.ReLU(), nn.Linear(width, pixels), nn.Unflatten(-1, image_shape)
    )
    if likelihood == "discretized-logistic":
        decoder.append(LocationAndScale(image_shape))
    return Bottleneck(nn.Sequential(encoder), decoder, likelihood, num_data=num_data)


class LocationAndScale(nn.Module):
    """The location of each pixel's grey value, within [0, 1], and a learned scale of it that all images share.

    Args:
        image_shape: Shape of one image.
    """

    def __init__(self, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full(image_shape, -2.0))

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return both, of the shape of the logits.

        Args:
            logits: Logits of the location, ``[N, *image_shape]``.
        """
        return logits.sigmoid(), self.log_scale.exp().expand_as(logits)


def binarise(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw each pixel as 1 with its grey value as the probability (Salakhutdinov & Murray 2008).

    Drawn afresh at every pass over the training set, and once for a test set, whose bound is then one number.

    Args:
        x: Grey images in [0, 1], any shape.
        generator: Source of the draws, on the device of ``x``; torch's ambient one if None.

    Returns:
        Zeros and ones in the dtype and shape of ``x``.

    Raises:
        ValueError: If a value is outside of [0, 1].
    """
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(
            f"pixels are probabilities here, in [0, 1]; they reach from {x.min():.4g} to {x.max():.4g}: rescale, and "
            "do not whiten"
        )
    return torch.bernoulli(x, generator=generator)


def _latent_layer(
    latent: str, width: int, units: int, prior: Prior | None, options: dict[str, Any]
) -> StochasticLayer:
    require_known("latent=", latent, LATENTS)
    if latent == "information":
        own: str | Prior = "log-normal" if prior is None else prior
        return InformationDropout.linear(width, units, prior=own, **options)
    if options:
        raise ValueError(
            f"latent='gaussian' has no options {sorted(options)}; they are information dropout's"
        )
    return AdditiveNormal(nn.Linear(width, units), nn.Linear(width, units), prior=prior)

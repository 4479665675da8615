r"""A hierarchy of latents, inferred top-down as in the ladder VAE, or bottom-up as before it.

Generative process, for each of N binary images x, from the top layer L to the bottom::

    zL ~ N(0, 1)
    zl ~ N(mu_l(zl+1), sigma_l(zl+1)²),  l = L-1, ..., 1
    x  ~ Bernoulli(sigmoid(decoder(z1))), a pixel each

Guide of the ladder, with a deterministic pass upwards, ``d1 = up1(x)``, ``dl = upl(dl-1)``, whose evidence
``N(m_l(dl), s_l(dl)²)`` about each latent is weighed against the generative law by their precisions::

    zL ~ N(m_L, s_L²)
    zl ~ N((m_l / s_l² + mu_l / sigma_l²) v_l, v_l),  l = L-1, ..., 1
    1 / v_l = 1 / s_l² + 1 / sigma_l²

(Sønderby et al. 2016, eqs. 8 to 12.) It samples in the generative order, so that each rate
``KL(q(zl | zl+1, x) || p(zl | zl+1))`` is in closed form given the layer above.

Guide of ``inference="bottom-up"``, the hierarchical VAE that they compare with::

    z1 ~ N(m_1(d1), s_1(d1)²),  zl ~ N(m_l(dl), s_l(dl)²) with dl = upl(zl-1),  l = 2, ..., L

It samples against the generative order: when z1 is drawn, the z2 that its prior depends on is not. Its rates below the
top have no closed form, and are taken at the draw: ``InformationBottleneckELBO(on_no_closed_form="monte-carlo")``. Put
into a closed form all the same, they would make the loss no bound: it may lie below the truth.
"""

import math

import pyro
import torch
from pyro.distributions import Bernoulli, Normal
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro.choices import require_known
from models.blocks import ImageInput

__all__ = ["LadderVAE", "precision_weighted"]

INFERENCE = ("ladder", "bottom-up")
SMALLEST_SCALE = 1e-4


class LadderVAE(nn.Module):
    """The hierarchy as a program with the latent sites ``zL, ..., z1`` and the observed site ``y``, the image itself.

    Args:
        image_shape: Shape of one image, channels first.
        units: Numbers of latents of z1, z2, ..., from the bottom to the top.
        hidden: Number of hidden units of each network.
        inference: ``"ladder"`` or ``"bottom-up"``.

    Raises:
        ValueError: If a size is not positive, or the kind of inference is unknown.

    >>> program = LadderVAE(image_shape=(1, 4, 4), units=(3, 2), hidden=8)
    >>> x = torch.randint(2, (5, 1, 4, 4)).float()
    >>> program.model(x, x).shape
    torch.Size([5, 1, 4, 4])
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] = (1, 28, 28),
        units: tuple[int, ...] = (64, 32),
        hidden: int = 512,
        *,
        inference: str = "ladder",
    ) -> None:
        super().__init__()
        require_known("inference=", inference, INFERENCE)
        if not units or min(*units, hidden) < 1:
            raise ValueError(f"sizes must be positive; got units={units}, hidden={hidden}")
        self.inference = inference
        pixels = math.prod(image_shape)
        self.input = ImageInput(image_shape, flatten=True)
        below = [pixels, *([hidden] * len(units[1:]) if inference == "ladder" else units[:-1])]
        self.up = nn.ModuleList(nn.Sequential(nn.Linear(width, hidden), nn.ReLU()) for width in below)
        self.evidence = nn.ModuleList(nn.Linear(hidden, 2 * width) for width in units)
        self.down = nn.ModuleList(
            _two_layers(above, hidden, 2 * width) for width, above in zip(units, units[1:], strict=False)
        )
        self.decoder = nn.Sequential(_two_layers(units[0], hidden, pixels), nn.Unflatten(-1, image_shape))
        self.units = tuple(units)

    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Sample the latents from the top to the bottom, then the image, or observe it.

        Args:
            x: Images ``[N, C, H, W]``; only their number counts.
            y: The same images, observed; None to dream some.

        Returns:
            Images in {0, 1}, ``[N, C, H, W]``.
        """
        with pyro.plate("data", len(x)):
            z = None
            for layer in reversed(range(len(self.units))):
                z = pyro.sample(_site(layer), Normal(*self._generative(layer, z, x)).to_event(1))
            logits = self.decoder(z)
            return pyro.sample("y", Bernoulli(logits=logits).to_event(logits.dim() - 1), obs=y)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """Sample the latents given the images: top-down in a ladder, otherwise bottom-up.

        Args:
            x: Images ``[N, C, H, W]``.
            y: Not looked at.
        """
        with pyro.plate("data", len(x)):
            if self.inference == "ladder":
                self._sample_downwards(x)
            else:
                self._sample_upwards(x)

    def _sample_downwards(self, x: Tensor) -> None:
        evidence, d = [], self.input(x)
        for up, head in zip(self.up, self.evidence, strict=True):
            d = up(d)
            evidence.append(_loc_and_scale(head(d)))
        z = None
        for layer in reversed(range(len(self.units))):
            law = evidence[layer]
            if z is not None:
                law = precision_weighted(*law, *self._generative(layer, z, x))
            z = pyro.sample(_site(layer), Normal(*law).to_event(1))

    def _sample_upwards(self, x: Tensor) -> None:
        z = self.input(x)
        for layer, (up, head) in enumerate(zip(self.up, self.evidence, strict=True)):
            z = pyro.sample(_site(layer), Normal(*_loc_and_scale(head(up(z)))).to_event(1))

    def _generative(self, layer: int, above: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale of a layer's latents given the layer above, ``[N, units]``; None above the top."""
        if above is None:
            zeros = x.new_zeros(len(x), self.units[layer])
            return zeros, torch.ones_like(zeros)
        return _loc_and_scale(self.down[layer](above))


def precision_weighted(
    loc: Tensor, scale: Tensor, other_loc: Tensor, other_scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Location and scale of the normalised product of two normal densities (Sønderby et al. 2016, eqs. 11 and 12).

    ``1 / v = 1 / s² + 1 / sigma²`` and ``m v / s² + mu v / sigma²``, computed from shares ``v / s² =
    sigma² / (s² + sigma²)`` that stay finite where a precision does not.

    Args:
        loc: Location m of the first, any shape.
        scale: Scale s of the first.
        other_loc: Location mu of the second.
        other_scale: Scale sigma of the second.

    Returns:
        Location and scale of the product, broadcast.
    """
    share = other_scale.square() / (scale.square() + other_scale.square())
    return share * loc + (1 - share) * other_loc, scale * share.sqrt()


def _site(layer: int) -> str:
    return f"z{layer + 1}"


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _loc_and_scale(raw: Tensor) -> tuple[Tensor, Tensor]:
    loc, scale = raw.chunk(2, -1)
    return loc, F.softplus(scale) + SMALLEST_SCALE

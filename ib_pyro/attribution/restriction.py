"""A restriction of the flow through a place of a network: the noise, and how much of each feature it keeps."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro.attribution.feature_statistics import FeatureStatistics
from ib_pyro.attribution.image_maps import InformationMaps
from ib_pyro.attribution.interpolated_noise import InterpolatedNoise
from ib_pyro.bottleneck import Bottleneck
from ib_pyro.choices import require_known
from ib_pyro.diagnostics import elementwise_rates
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.inputs import Input
from ib_pyro.nn import InformationDropout, StochasticLayer
from ib_pyro.nn.places import Place

__all__ = ["NOISES", "Keep", "Restriction"]

NOISES = ("interpolated", "log-normal")
"""Kinds of noise: that of Schulz et al. 2020, and the multiplicative noise of information dropout."""

# Nothing is ever kept as a whole, which would cost an infinite rate.
MOST = 0.999

LAYOUTS = ("tokens", "series")
"""What features of two dimensions are: ``[positions, width]``, or ``[width, positions]``."""
# Modules behind which it is known which they are.
OF_SERIES = (
    nn.Conv1d,
    nn.ConvTranspose1d,
    nn.BatchNorm1d,
    nn.InstanceNorm1d,
    nn.MaxPool1d,
    nn.AvgPool1d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveAvgPool1d,
)
OF_TOKENS = (
    nn.Linear,
    nn.Embedding,
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerEncoder,
)


class Keep(nn.Module):
    """The share of each feature that is kept, set from outside: a squashed and smoothed map of logits.

    Args:
        smoothing: Standard deviation, in positions, of the Gaussian that smooths the shares of images; 0 leaves them.

    Attributes:
        logits: ``[N, *event]``; the batch that they are for may hold each sample several times, one after another.
    """

    logits: Tensor

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing

    def share(self) -> Tensor:
        """Return the shares, ``[N, *event]``, in [0, 0.999]."""
        share = self.logits.sigmoid()
        return (_smoothed(share, self.smoothing) if self.smoothing else share).clamp_max(MOST)

    def forward(self, f: Tensor) -> Tensor:
        """Return the share for each row of a batch of features."""
        share = self.share()
        return share.repeat_interleave(len(f) // len(share), 0)


class _NoiseLogits(nn.Module):
    """The logits of the scale of a multiplicative noise that keeps a share."""

    def __init__(self, keep: Keep) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, f: Tensor) -> Tensor:
        return -torch.logit(self.keep(f), eps=1e-6)


class Restriction:
    """The parts that both ways of attribution share: the layer of noise at a place, its loss and its maps.

    Args:
        network: A trained classifier: a network of x whose output are logits ``[N, classes]``.
        place: Where its flow is restricted, as for :class:`~ib_pyro.nn.insert`.
        statistics: Of the features there.
        noise: ``"interpolated"``: :class:`InterpolatedNoise`, which replaces features. ``"log-normal"``:
            :class:`~ib_pyro.nn.InformationDropout` on features that are not negative, which blurs their size up to
            ``alpha_max``. It hides no feature, and leaves those that are zero alone: its rate counts how exactly a
            feature must be known, and is zero all over an image whose answer survives all of that noise.
        beta: Weight of the rate, per image and in nats; by default ``10 / k`` for k features, the
            choice of Schulz et al. (whose beta multiplies the mean over features).
        smoothing: Standard deviation, in positions, of the Gaussian that smooths what is kept.
        alpha_max: Largest noise of ``"log-normal"``.
        layout: What features of two dimensions are: ``"tokens"``, ``[positions, width]``, or ``"series"``, ``[width,
            positions]``. By default what the module at the place puts out; behind any other they are tokens, but in a
            network with convolutions of series nobody knows.

    Raises:
        ValueError: If the noise or the layout is unknown, ``beta`` is negative, or it is not known which dimension of
            the features is that of positions.
    """

    def __init__(
        self,
        network: nn.Module,
        place: str,
        statistics: FeatureStatistics,
        *,
        noise: str = "interpolated",
        beta: float | None = None,
        smoothing: float = 1.0,
        alpha_max: float = 0.7,
        layout: str | None = None,
    ) -> None:
        require_known("noise=", noise, NOISES)
        if beta is not None and beta < 0:
            raise ValueError(f"beta must not be negative; got {beta}")
        self.network, self.place, self.statistics = network, place, statistics
        self.beta = 10 / statistics.loc.numel() if beta is None else beta
        self.layout = layout_of(network, place, statistics.loc, layout)
        # Only images have neighbours on both sides of every feature.
        self.keep = Keep(smoothing if statistics.loc.dim() == 3 else 0.0)
        self.layer = self._layer(noise, alpha_max)
        self.elbo = InformationBottleneckELBO(self.beta)

    def _layer(self, noise: str, alpha_max: float) -> StochasticLayer:
        loc, scale, _ = self.statistics
        if noise == "interpolated":
            return InterpolatedNoise(self.keep, loc, scale)
        options: dict[str, Any] = {"activation": "identity", "event_dim": loc.dim(), "alpha_max": alpha_max}
        return InformationDropout(nn.Identity(), _NoiseLogits(self.keep), **options)

    @torch.no_grad()
    def classes(self, x: Input, y: Tensor | None) -> Tensor:
        """Return the classes to explain: those given, or those that the network sees."""
        if y is not None:
            return y
        modes = [(module, module.training) for module in self.network.modules()]
        try:
            predicted: Tensor = self.network.eval()(x).argmax(-1)
        finally:
            for module, mode in modes:
                module.training = mode
        return predicted

    def maps(self, program: Bottleneck, x: Tensor, y: Tensor, num_samples: int) -> InformationMaps:
        """Return the rate by position, and the distortion over some draws."""
        rate = elementwise_rates(program, x)[self.place]
        # Units are the first of an image's own dimensions and of a series', and the last of tokens'.
        by_position = rate.sum(1) if rate.dim() > 3 or self.layout == "series" else rate.sum(-1)
        with torch.no_grad():
            draws = [
                self.elbo.terms(program.model, program.guide, x, y).distortion for _ in range(num_samples)
            ]
        return InformationMaps(by_position.detach(), torch.stack(draws).mean(0))


def layout_of(network: nn.Module, place: str, features: Tensor, layout: str | None) -> str | None:
    """Return what features of two dimensions are, ``"tokens"`` or ``"series"``; None of others.

    Args:
        network: The network.
        place: Where they come from.
        features: Those of one sample, or their mean.
        layout: What its user says that they are; None to find out.

    Raises:
        ValueError: If nobody knows, or features of other dimensions are said to be one of these.
    """
    if layout is not None:
        require_known("layout=", layout, LAYOUTS)
        if features.dim() != 2:
            raise ValueError(
                f"layout={layout!r} is of features with two dimensions, and those at {place!r} have the shape "
                f"{tuple(features.shape)}; leave it out"
            )
        return layout
    if features.dim() != 2:
        return None
    module = network.get_submodule(Place.of(place, 0).path)
    if isinstance(module, OF_SERIES):
        return "series"
    has_series = any(isinstance(part, nn.Conv1d | nn.ConvTranspose1d) for part in network.modules())
    if has_series and not isinstance(module, OF_TOKENS):
        raise ValueError(
            f"{place!r}: features of shape {tuple(features.shape)} behind a {type(module).__name__} may be those of a "
            "series, [width, positions], as the network has convolutions of such, or of tokens, [positions, width]; "
            "pass layout='series' or 'tokens'"
        )
    return "tokens"


def _smoothed(share: Tensor, width: float) -> Tensor:
    """Blur ``[N, C, H, W]`` over positions by a Gaussian, with what is at the border repeated beyond it."""
    reach = max(1, round(2 * width))
    offsets = torch.arange(-reach, reach + 1, dtype=share.dtype, device=share.device)
    weights = torch.softmax(-0.5 * (offsets / width).square(), 0)
    channels = share.shape[1]
    padded = F.pad(share, [reach] * 4, mode="replicate")
    rows = F.conv2d(padded, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

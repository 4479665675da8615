"""The paper's all-convolutional networks, with noise of any kind in their stride-2 layers.

Generative process, for each of N images with label y and L noisy layers::

    z1 ~ q(z1),  ...,  zL ~ q(zL)
    y  ~ Categorical(softmax(decoder(zL)))

Guide, with ``g_l`` plain convolutions, ``f_l`` a stride-2 convolution, batch norm and an activation, and ``alpha_l``
a stride-2 convolution of the same input, without batch norm::

    h_l = g_l(z_{l-1}),  z_l = f_l(h_l) * eps_l,  log eps_l ~ N(0, alpha_l(h_l)²),  z_0 = x

(Achille & Soatto 2016, Table 2, after Springenberg et al. 2015.)
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro import Bottleneck
from ib_pyro.choices import require_known
from ib_pyro.handlers import noise_is_off
from models.authors import VARIANTS, SamePadding, authors_defaults, authors_noise
from models.blocks import ImageInput, noisy_conv2d

__all__ = ["AllCNN32", "AllCNN96", "all_cnn_head"]


def AllCNN32(  # noqa: N802  (a program's constructor reads as a class)
    fraction: float = 1.0,
    dropout: str = "information",
    activation: str = "relu",
    *,
    image_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    input_dropout: float = 0.2,
    final_linear: bool = True,
    channels_last: bool = False,
    prior: str | None = None,
    variant: str = "ours",
    **options: Any,
) -> Bottleneck:
    """Build All-CNN-32 as a program with the noisy sites ``z1`` (96 filters, 16x16) and ``z2`` (192, 8x8).

    Args:
        fraction: Share of the filters of Table 2, in (0, 1] or above; numbers of filters are rounded down.
        dropout: ``"information"``, ``"binary"``, ``"gaussian"``, ``"constant"`` or ``"none"``.
        activation: ``"relu"`` or ``"softplus"``.
        image_shape: Channels, height and width of an image; the network is made for 32x32.
        num_classes: Number of classes.
        input_dropout: Probability that an input value is dropped in training, as in the authors' code.
        final_linear: End in a linear map of the spatial average, as the authors' code; Table 2 has none.
        channels_last: Compute in channels-last memory, which is faster on CPUs.
        prior: Prior of information dropout; by default ``"log-uniform"`` for ReLU and ``"log-normal"`` for softplus.
        variant: ``"ours"``, or ``"authors"`` for the defaults of the authors' code (:mod:`models.authors`).
        **options: Options of the noise's layer, such as ``drop_prob`` or ``alpha_max``.

    Returns:
        A :class:`ib_pyro.Bottleneck`, called as ``program.model(x, y)`` with x ``[N, C, H, W]``.

    Raises:
        ValueError: If ``fraction`` leaves no filter, or an option is unknown or out of range.

    >>> program = AllCNN32(fraction=1 / 16)
    >>> program.predict(torch.rand(2, 3, 32, 32), num_samples=1).shape
    torch.Size([2, 10])
    """
    return _all_cnn(
        (96, 192),
        192,
        fraction=fraction,
        dropout=dropout,
        activation=activation,
        image_shape=image_shape,
        num_classes=num_classes,
        input_dropout=input_dropout,
        final_linear=final_linear,
        channels_last=channels_last,
        prior=prior,
        variant=variant,
        options=options,
    )


def AllCNN96(  # noqa: N802  (a program's constructor reads as a class)
    fraction: float = 1.0,
    dropout: str = "information",
    activation: str = "relu",
    *,
    image_shape: tuple[int, int, int] = (1, 96, 96),
    num_classes: int = 10,
    input_dropout: float = 0.0,
    final_linear: bool = True,
    channels_last: bool = False,
    prior: str | None = None,
    variant: str = "ours",
    **options: Any,
) -> Bottleneck:
    """Build All-CNN-96 as a program with the noisy sites ``z1`` to ``z4`` of 32, 64, 96 and 192 filters.

    Their maps are 48x48, 24x24, 12x12 and 6x6. The arguments are those of :func:`AllCNN32`; the authors' code takes
    ``alpha_max=1.0`` here, and no dropout of the input.

    Raises:
        ValueError: If ``fraction`` leaves no filter, or an option is unknown or out of range.
    """
    return _all_cnn(
        (32, 64, 96, 192),
        192,
        fraction=fraction,
        dropout=dropout,
        activation=activation,
        image_shape=image_shape,
        num_classes=num_classes,
        input_dropout=input_dropout,
        final_linear=final_linear,
        channels_last=channels_last,
        prior=prior,
        variant=variant,
        options=options,
    )


def all_cnn_head(
    channels: int, width: int, num_classes: int = 10, *, activation: str = "relu", final_linear: bool = True
) -> nn.Sequential:
    """Build what follows the last noise in both networks: three convolutions, a spatial average, a linear map.

    Args:
        channels: Channels of the last noisy layer.
        width: Filters of the first two convolutions.
        num_classes: Number of classes.
        activation: ``"relu"`` or ``"softplus"``.
        final_linear: End in a linear map of the spatial average.

    Returns:
        A network from ``[N, channels, H, W]`` to logits ``[N, num_classes]``.
    """
    common: dict[str, Any] = {"batch_norm": True, "activation": activation}
    return nn.Sequential(
        noisy_conv2d("none", channels, width, 3, padding=1, **common),
        noisy_conv2d("none", width, width, 1, **common),
        noisy_conv2d("none", width, num_classes, 1, **common),
        SpatialAverage(),
        *([nn.Linear(num_classes, num_classes)] if final_linear else []),
    )


class InputDropout(nn.Module):
    """Dropout of the input in training, which the switch of the noise turns off too.

    Batch-norm statistics for a network without noise are estimated in training mode; a plain ``nn.Dropout`` would
    stay on there.

    Args:
        drop_prob: Probability that a value is dropped.

    Raises:
        ValueError: If the probability is outside of [0, 1).
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        if not 0 <= drop_prob < 1:
            raise ValueError(f"input_dropout={drop_prob} must be a probability below 1")
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of x, and scale the others up."""
        return F.dropout(x, self.drop_prob, training=self.training and not noise_is_off())


class ChannelsLast(nn.Module):
    """Lay images out in memory with their channels last, which the convolutions behind it keep."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the images in that layout, copied only if they had another."""
        return x.contiguous(memory_format=torch.channels_last)


class SpatialAverage(nn.Module):
    """Average each channel over its positions."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to ``[N, C]``."""
        return x.mean((2, 3))


def _all_cnn(
    stages: Sequence[int],
    top: int,
    *,
    fraction: float,
    dropout: str,
    activation: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    input_dropout: float,
    final_linear: bool,
    channels_last: bool,
    prior: str | None,
    variant: str,
    options: dict[str, Any],
) -> Bottleneck:
    """Stack a stage of two plain and one noisy stride-2 convolution for each of ``stages``, then the decoder."""
    authors = require_known("variant=", variant, VARIANTS) == "authors"
    if dropout == "information":
        prior = prior or {"softplus": "log-normal"}.get(activation, "log-uniform")
        options = {"prior": prior, **(authors_noise(prior, options) if authors else options)}
    elif prior is not None:
        raise ValueError(
            f"prior={prior!r} is an option of information dropout; dropout={dropout!r} has its own"
        )
    common: dict[str, Any] = {"batch_norm": True, "activation": activation}
    layers: OrderedDict[str, nn.Module] = OrderedDict(input=ImageInput(image_shape, flatten=False))
    if channels_last:
        layers["layout"] = ChannelsLast()
    layers["input_dropout"] = InputDropout(input_dropout)
    channels = image_shape[0]
    for stage, filters in enumerate(stages, start=1):
        width = _share(filters, fraction)
        layers[f"conv{stage}a"] = noisy_conv2d("none", channels, width, 3, padding=1, **common)
        layers[f"conv{stage}b"] = noisy_conv2d("none", width, width, 3, padding=1, **common)
        if authors:
            layers[f"padding{stage}"] = SamePadding(3, 2)
        padding = 0 if authors else 1
        layers[f"z{stage}"] = noisy_conv2d(dropout, width, width, 3, 2, padding=padding, **common, **options)
        channels = width
    decoder = all_cnn_head(
        channels, _share(top, fraction), num_classes, activation=activation, final_linear=final_linear
    )
    program = Bottleneck(nn.Sequential(layers), decoder)
    if authors:
        authors_defaults(program)
    return program.to(memory_format=torch.channels_last) if channels_last else program


def _share(filters: int, fraction: float) -> int:
    width = int(filters * fraction)
    if width < 1:
        raise ValueError(
            f"fraction={fraction} leaves no filter of {filters}; take at least {1 / filters:.4g}"
        )
    return width

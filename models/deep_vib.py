r"""The deep variational information bottleneck of Alemi et al. 2017.

Generative process, for each of N images with label y::

    z1 ~ N(0, I)
    y  ~ Categorical(softmax(W z1 + b))

Guide, with ``h = relu(V2 relu(V1 x + c1) + c2)``::

    z1 ~ N(V3 h + c3, diag(softplus(V4 h + c4 - 5))²)

Sizes as in their section 4.1: 784 - 1024 - 1024 - 256 units of z. The weight of the rate is beta, per sample
and in nats: ``InformationBottleneckELBO(beta=1e-3)``, or :func:`models.objectives.deep_vib`.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.nn import AdditiveNormal
from models.blocks import ImageInput

__all__ = ["DeepVIB"]

SCALE_BIAS = -5.0


def DeepVIB(  # noqa: N802  (a program's constructor reads as a class)
    num_latent: int = 256,
    hidden: Sequence[int] = (1024, 1024),
    image_shape: tuple[int, ...] = (1, 28, 28),
    *,
    num_classes: int = 10,
) -> Bottleneck:
    """Build the classifier as a program with the noisy site ``z1``.

    Args:
        num_latent: Number of units of z.
        hidden: Widths of the encoder's hidden layers.
        image_shape: Shape of one image, channels first.
        num_classes: Number of classes.

    Returns:
        A :class:`ib_pyro.Bottleneck`, called as ``program.model(x, y)`` with x ``[N, C, H, W]``.

    Raises:
        ValueError: If a width is not positive.
    """
    widths = [math.prod(image_shape), *hidden]
    if min(num_latent, *widths) < 1:
        raise ValueError(f"widths must be positive; got num_latent={num_latent}, hidden={tuple(hidden)}")
    layers: OrderedDict[str, nn.Module] = OrderedDict(input=ImageInput(image_shape, flatten=True))
    for position, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        layers[f"hidden{position}"] = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU())
    loc, scale = nn.Linear(widths[-1], num_latent), nn.Linear(widths[-1], num_latent)
    with torch.no_grad():
        scale.bias += SCALE_BIAS
    layers["z1"] = AdditiveNormal(loc, scale)
    return Bottleneck(nn.Sequential(layers), nn.Linear(num_latent, num_classes))

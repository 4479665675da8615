"""The paper's fully connected network: three hidden layers with noise of any kind.

Generative process, for each of N images with label y::

    z1 ~ q(z1),  z2 ~ q(z2),  z3 ~ q(z3)
    y  ~ Categorical(softmax(W z3 + b))

Guide, with ``f_l`` a linear map, batch norm and an activation, and ``alpha_l`` a linear map of the same input::

    z_l = f_l(z_{l-1}) * eps_l,  log eps_l ~ N(0, alpha_l(z_{l-1})²),  z_0 = x

(Achille & Soatto 2016, section 6 and Figure 3a.)
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import nn

from ib_pyro import Bottleneck
from models.blocks import ImageInput, noisy_linear

__all__ = ["MLP"]


def MLP(  # noqa: N802  (a program's constructor reads as a class)
    hidden: int | Sequence[int] = 64,
    dropout: str = "information",
    image_shape: tuple[int, ...] = (1, 28, 28),
    batch_norm: bool = True,
    *,
    num_classes: int = 10,
    activation: str = "relu",
    prior: str | None = None,
    **options: Any,
) -> Bottleneck:
    """Build the three-hidden-layer classifier as a program with the noisy sites ``z1``, ``z2``, ``z3``.

    Args:
        hidden: Width of the three hidden layers, or one width for each of as many layers as given.
        dropout: ``"information"``, ``"binary"``, ``"gaussian"``, ``"constant"`` or ``"none"``.
        image_shape: Shape of one image, channels first.
        batch_norm: Batch norm before each activation, without which dropout and constant noise err more.
        num_classes: Number of classes.
        activation: ``"relu"`` or ``"softplus"``.
        prior: Prior of information dropout; by default ``"log-uniform"`` for ReLU and ``"log-normal"`` for softplus.
        **options: Options of the noise's layer.

    Returns:
        A :class:`ib_pyro.Bottleneck`, called as ``program.model(x, y)`` with x ``[N, C, H, W]``.

    Raises:
        ValueError: If a width is not positive, or the dropout or activation is unknown.
    """
    widths = [hidden] * 3 if isinstance(hidden, int) else list(hidden)
    if not widths or min(widths) < 1:
        raise ValueError(f"hidden widths must be positive; got {hidden}")
    if dropout == "information":
        options["prior"] = prior or {"softplus": "log-normal"}.get(activation, "log-uniform")
    elif prior is not None:
        raise ValueError(
            f"prior={prior!r} is an option of information dropout; dropout={dropout!r} has its own"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict(input=ImageInput(image_shape, flatten=True))
    inputs = [math.prod(image_shape), *widths]
    for position, (width_in, width_out) in enumerate(zip(inputs, widths, strict=False), start=1):
        layers[f"z{position}"] = noisy_linear(
            dropout, width_in, width_out, batch_norm=batch_norm, activation=activation, **options
        )
    return Bottleneck(nn.Sequential(layers), nn.Linear(widths[-1], num_classes))

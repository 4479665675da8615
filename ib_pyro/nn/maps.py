"""Linear maps and convolutions, with batch norm where it is asked for."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ib_pyro.choices import require_known

__all__ = ["LAYOUTS", "conv_map", "linear_map", "positionwise_map"]

LAYOUTS = {"vector": 1, "tokens": 2, "series": 2, "image": 3, "volume": 4}
"""How a value is laid out, with the number of dimensions of one sample: the last, or of ``series``, ``image`` and
``volume`` the first of them are the units."""
CONVOLUTIONS: dict[int, tuple[Callable[..., nn.Module], Callable[[int], nn.Module]]] = {
    2: (nn.Conv2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.BatchNorm3d),
}


def linear_map(
    in_features: int, out_features: int, *, batch_norm: bool = False, bias: bool = True
) -> nn.Module:
    """Build a linear map, with batch norm behind it if asked for; its bias then is batch norm's."""
    linear = nn.Linear(in_features, out_features, bias=bias and not batch_norm)
    return nn.Sequential(linear, nn.BatchNorm1d(out_features)) if batch_norm else linear


def conv_map(
    dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    batch_norm: bool = False,
    bias: bool = True,
    **options: Any,
) -> nn.Module:
    """Build a convolution, with batch norm behind it if asked for; its bias then is batch norm's.

    Args:
        dims: Dimensions that it goes over: 2 for images, 3 for volumes.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel.
        batch_norm: Put batch norm behind the convolution.
        bias: Give the convolution a bias.
        **options: Options of :class:`torch.nn.Conv2d`, such as ``stride`` and ``padding``.
    """
    convolution, norm = CONVOLUTIONS[dims]
    conv = convolution(in_channels, out_channels, kernel_size, bias=bias and not batch_norm, **options)
    return nn.Sequential(conv, norm(out_channels)) if batch_norm else conv


def positionwise_map(width: int, layout: str) -> nn.Module:
    """Build a linear map of the units at each position.

    Args:
        width: Number of units.
        layout: ``"vector"`` ``[batch, width]``, ``"tokens"`` ``[batch, positions, width]``, ``"series"``
            ``[batch, width, positions]``, ``"image"`` ``[batch, width, rows, columns]``, or ``"volume"``, with three
            dimensions of positions.

    Raises:
        ValueError: If the layout is unknown.
    """
    require_known("layout=", layout, LAYOUTS)
    kinds = {"series": nn.Conv1d, "image": nn.Conv2d, "volume": nn.Conv3d}
    return kinds[layout](width, width, 1) if layout in kinds else nn.Linear(width, width)

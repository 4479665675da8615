"""Linear maps and convolutions, with batch norm where it is asked for."""

from typing import Any

from torch import nn

__all__ = ["conv2d_map", "linear_map"]


def linear_map(
    in_features: int, out_features: int, *, batch_norm: bool = False, bias: bool = True
) -> nn.Module:
    """Build a linear map, with batch norm behind it if asked for; its bias then is batch norm's."""
    linear = nn.Linear(in_features, out_features, bias=bias and not batch_norm)
    return nn.Sequential(linear, nn.BatchNorm1d(out_features)) if batch_norm else linear


def conv2d_map(
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
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel.
        batch_norm: Put batch norm behind the convolution.
        bias: Give the convolution a bias.
        **options: Options of :class:`torch.nn.Conv2d`, such as ``stride`` and ``padding``.
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=bias and not batch_norm, **options)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels)) if batch_norm else conv

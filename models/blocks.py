"""Layers with any of the five kinds of dropout, by name."""

from typing import Any

from torch import Tensor, nn

from ib_pyro.choices import require_known
from ib_pyro.nn import BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout, StochasticLayer
from ib_pyro.nn.maps import conv_map, linear_map

__all__ = ["DROPOUTS", "noisy_conv2d", "noisy_linear"]

DROPOUTS: dict[str, type[StochasticLayer] | None] = {
    "information": InformationDropout,
    "binary": BinaryDropout,
    "gaussian": GaussianDropout,
    "constant": ConstantDropout,
    "none": None,
}
ACTIVATION_MODULES = {"relu": nn.ReLU, "softplus": nn.Softplus}


def noisy_linear(
    dropout: str,
    in_features: int,
    out_features: int,
    *,
    batch_norm: bool = False,
    activation: str = "relu",
    **options: Any,
) -> nn.Module:
    """Build a linear layer with batch norm, activation and noise of the given kind.

    Args:
        dropout: One of :data:`DROPOUTS`.
        in_features: Width of the input.
        out_features: Width of the output.
        batch_norm: Put batch norm between the map and the activation.
        activation: ``"relu"`` or ``"softplus"``.
        **options: Options of the noise's layer, such as ``drop_prob`` or ``alpha_max``.

    Raises:
        ValueError: If the dropout or activation is unknown, or ``"none"`` is given options.
    """
    layer = _layer_class(dropout, options)
    if layer is not None:
        return layer.linear(
            in_features, out_features, batch_norm=batch_norm, activation=activation, **options
        )
    features = linear_map(in_features, out_features, batch_norm=batch_norm)
    return nn.Sequential(features, _activation_module(activation))


def noisy_conv2d(
    dropout: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    padding: int = 0,
    batch_norm: bool = False,
    activation: str = "relu",
    **options: Any,
) -> nn.Module:
    """Build a convolution with batch norm, activation and noise of the given kind; see :func:`noisy_linear`."""
    layer = _layer_class(dropout, options)
    conv: dict[str, Any] = {"stride": stride, "padding": padding, "batch_norm": batch_norm}
    if layer is not None:
        return layer.conv2d(in_channels, out_channels, kernel_size, activation=activation, **conv, **options)
    features = conv_map(2, in_channels, out_channels, kernel_size, **conv)
    return nn.Sequential(features, _activation_module(activation))


class ImageInput(nn.Module):
    """Pass images of one shape on, flattened or as they are.

    Args:
        image_shape: Shape of one image, channels first.
        flatten: Flatten each image to a vector.
    """

    def __init__(self, image_shape: tuple[int, ...], *, flatten: bool) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.flatten = flatten

    def forward(self, x: Tensor) -> Tensor:
        """Check the images' shape.

        Raises:
            ValueError: If it is not the one that the network was built for.
        """
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"images have shape {tuple(x.shape[1:])}, but this network was built for image_shape="
                f"{self.image_shape}; pass a batch [N, C, H, W] of such images, or build it for theirs"
            )
        return x.flatten(1) if self.flatten else x


def _layer_class(dropout: str, options: dict[str, Any]) -> type[StochasticLayer] | None:
    layer = DROPOUTS[require_known("dropout=", dropout, DROPOUTS)]
    if layer is None and options:
        raise ValueError(f"dropout='none' has no noise to set {sorted(options)} of; leave them out")
    return layer


def _activation_module(activation: str) -> nn.Module:
    return ACTIVATION_MODULES[require_known("activation=", activation, ACTIVATION_MODULES)]()

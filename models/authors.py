"""Where the authors' TensorFlow code builds its networks otherwise than ours.

Their code (github.com/ucla-vision/information-dropout) takes its layers from ``tensorflow.contrib.layers``, whose
defaults are not PyTorch's: batch norm with an offset and no scale, and 1e-3 beside the variance; weights drawn as
Glorot & Bengio 2010 propose, and biases of zero; "SAME" padding, which pads a stride-2 convolution of an even map at
its end alone. Its noise has the scale ``0.001 + max_alpha * sigmoid(a)``, charges a unit that is off as if it were on,
and takes logarithms of activations from 1e-4 on.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["VARIANTS", "SamePadding", "authors_defaults", "authors_noise"]

VARIANTS = ("ours", "authors")
_LEAST_NOISE = 1e-3
_LEAST_ACTIVATION = 1e-4
_BATCH_NORM_EPS = 1e-3


class SamePadding(nn.Module):
    """Pad maps with zeros as TensorFlow's "SAME" does: what an odd number leaves over goes to the end.

    Args:
        kernel_size: Side of the kernel of the convolution behind it, which itself pads nothing.
        stride: Its stride.

    >>> import torch
    >>> SamePadding(3, 2)(torch.ones(1, 1, 4, 5)).shape
    torch.Size([1, 1, 5, 7])
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to the padded maps."""
        pads = []
        for size in (x.shape[-1], x.shape[-2]):
            outputs = -(-size // self.stride)
            total = max(0, (outputs - 1) * self.stride + self.kernel_size - size)
            pads += [total // 2, total - total // 2]
        return F.pad(x, pads)


def authors_noise(prior: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of information dropout as in the authors' code; those that are given stand.

    Their rate of a log-normal prior bounds the activation by 1e-4, and their z does not; here both do.

    Args:
        prior: ``"log-uniform"`` or ``"log-normal"``.
        options: What was asked for; ``alpha_max`` is their ``max_alpha``, to which they add 0.001.
    """
    largest = options.get("alpha_max", 0.7) + _LEAST_NOISE
    of_prior = {"activation_floor": _LEAST_ACTIVATION} if prior == "log-normal" else {"atom": "ignore"}
    return {"alpha_min": _LEAST_NOISE, **of_prior, **options, "alpha_max": largest}


def authors_defaults(program: nn.Module) -> None:
    """Give the layers of a program, which is new, the defaults of the authors' code, in place."""
    for module in program.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.register_parameter("weight", None)
            module.eps = _BATCH_NORM_EPS
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

"""The network of :mod:`models.mlp` with information dropout, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from inference.studies.bench.noise_by_hand import noisy

__all__ = ["MLPByHand"]


class MLPByHand(nn.Module):
    """Hidden layers with batch norm, ReLU and log-normal noise, and a linear map to logits.

    Args:
        hidden: Width of the three hidden layers, or one width for each of as many as given.
        inputs: Pixels of an image.
        classes: Number of classes.
        atom: Charge nothing for units that are off, as the exact rate does.
    """

    def __init__(
        self, hidden: int | Sequence[int], *, inputs: int = 784, classes: int = 10, atom: bool = True
    ) -> None:
        super().__init__()
        widths = [inputs, *([hidden] * 3 if isinstance(hidden, int) else hidden)]
        pairs = list(zip(widths, widths[1:], strict=False))
        self.features = nn.ModuleList([nn.Linear(a, b, bias=False) for a, b in pairs])
        self.norms = nn.ModuleList([nn.BatchNorm1d(b) for _, b in pairs])
        self.noise = nn.ModuleList([nn.Linear(a, b) for a, b in pairs])
        self.head = nn.Linear(widths[-1], classes)
        self.atom = atom

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, classes]`` and the rate ``[B]``, nats per sample."""
        z = x.flatten(1)
        rate = x.new_zeros(len(x))
        for features, norm, noise in zip(self.features, self.norms, self.noise, strict=True):
            z, site_rate = noisy(F.relu(norm(features(z))), noise(z), atom=self.atom)
            rate = rate + site_rate
        return self.head(z), rate

    def loss(self, x: Tensor, y: Tensor, beta: float) -> Tensor:
        """Return the mean Lagrangian of a batch, nats per sample."""
        logits, rate = self(x)
        return F.cross_entropy(logits, y) + beta * rate.mean()

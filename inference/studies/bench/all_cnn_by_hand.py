"""All-CNN-32 of :mod:`models.all_cnn` with information dropout, in plain PyTorch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from inference.studies.bench.noise_by_hand import noisy

__all__ = ["AllCNNByHand"]


class AllCNNByHand(nn.Module):
    """Two stages of three convolutions, the third with stride 2 and noise, and three more with a spatial average.

    Args:
        fraction: Share of the filters of the paper's Table 2.
        input_dropout: Probability that an input value is dropped.
        atom: Charge nothing for units that are off, as the exact rate does.
    """

    def __init__(self, fraction: float = 1.0, *, input_dropout: float = 0.2, atom: bool = True) -> None:
        super().__init__()
        narrow, wide = int(96 * fraction), int(192 * fraction)
        self.first = nn.Sequential(_plain(3, narrow), _plain(narrow, narrow))
        self.second = nn.Sequential(_plain(narrow, wide), _plain(wide, wide))
        self.features = nn.ModuleList([_strided(each, bias=False) for each in (narrow, wide)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(each) for each in (narrow, wide)])
        self.noise = nn.ModuleList([_strided(each, bias=True) for each in (narrow, wide)])
        self.top = nn.Sequential(_plain(wide, wide), _plain(wide, wide, 1), _plain(wide, 10, 1))
        self.head = nn.Linear(10, 10)
        self.input_dropout, self.atom = input_dropout, atom

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, 10]`` and the rate ``[B]``, nats per sample."""
        z = F.dropout(x, self.input_dropout, training=self.training)
        rate = x.new_zeros(len(x))
        stages = zip((self.first, self.second), self.features, self.norms, self.noise, strict=True)
        for plain, features, norm, noise in stages:
            h = plain(z)
            z, site_rate = noisy(F.relu(norm(features(h))), noise(h), atom=self.atom)
            rate = rate + site_rate
        return self.head(self.top(z).mean((2, 3))), rate

    def loss(self, x: Tensor, y: Tensor, beta: float) -> Tensor:
        """Return the mean Lagrangian of a batch, nats per sample."""
        logits, rate = self(x)
        return F.cross_entropy(logits, y) + beta * rate.mean()


def _plain(channels: int, filters: int, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU())


def _strided(filters: int, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(filters, filters, 3, stride=2, padding=1, bias=bias)

"""A classifier of images whose evidence is known: a bright square in one of four corners of a noisy canvas."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

SIDE = 16


class Corners(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 64, 4),
        )


def squares(count, seed):
    """Images, their corner, and the pixels of the square; a second square of half the brightness is anywhere."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.1 * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    y = torch.randint(4, (count,), generator=generator)
    inside = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for image, corner, mask in zip(x, y.tolist(), inside, strict=True):
        row, column = (2 + 8 * (corner // 2), 2 + 8 * (corner % 2))
        mask[row : row + 4, column : column + 4] = True
        image[0, mask] += 1
    return x, y, inside


@pytest.fixture(scope="session")
def data():
    return squares(60, seed=1)


@pytest.fixture(scope="session")
def trained():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Corners()
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        for step in range(60):
            x, y, _ = squares(64, seed=100 + step)
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
    network.zero_grad()
    return network.eval()

"""A small classifier with two noisy layers, for the tests of `Bottleneck`."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout

BATCH, WIDTH_IN, CLASSES = 6, 4, 3


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(BATCH, WIDTH_IN)


@pytest.fixture
def y() -> torch.Tensor:
    return torch.arange(BATCH) % CLASSES


@pytest.fixture
def two_layers() -> Callable[..., nn.Sequential]:
    """A builder of its encoder, with the sites z1 (5 units) and z2 (2 units)."""

    def build(batch_norm: bool = False, **options: object) -> nn.Sequential:
        layers = OrderedDict(
            z1=InformationDropout.linear(WIDTH_IN, 5, batch_norm=batch_norm, **options),
            z2=InformationDropout.linear(5, 2, batch_norm=batch_norm, **options),
        )
        return nn.Sequential(layers)

    return build


@pytest.fixture
def make(two_layers: Callable[..., nn.Sequential]) -> Callable[..., Bottleneck]:
    """A builder of the program, around another encoder if one is given."""

    def build(encoder: nn.Module | None = None, **options: object) -> Bottleneck:
        return Bottleneck(two_layers() if encoder is None else encoder, nn.Linear(2, CLASSES), **options)

    return build

"""What the programs' tests share: a handler that gives two programs the same noise."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pyro.poutine.messenger import Messenger
from torch import Tensor


class FixedNoise(Messenger):
    """Draw the normal sites named here as ``mean + stddev * noise``, and leave the others alone."""

    def __init__(self, noise: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["name"] in self.noise and not msg["done"]:
            fn = msg["fn"]
            msg["value"] = fn.mean + fn.variance.sqrt() * self.noise[msg["name"]]
            msg["done"] = True


@pytest.fixture
def fixed_noise() -> Callable[..., FixedNoise]:
    """A handler called with standard normal draws by site: ``with fixed_noise(z1=noise): ...``."""
    return lambda **noise: FixedNoise(noise)

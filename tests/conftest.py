"""What every test starts from: seeds, Pyro's global state, where the real images lie, a small program and a set."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyro
import pytest
import torch

from ib_pyro import Bottleneck
from models.mlp import MLP

# Before anything imports pyplot: figures are tested without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_configure() -> None:
    # xdist's workers share the cores: with more threads each would wait for the other's.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Seed torch, random and NumPy; validate; give each test an empty store; undo what it changed."""
    dtype, settings = torch.get_default_dtype(), pyro.settings.get()
    pyro.set_rng_seed(0)
    with pyro.validation_enabled(True), pyro.get_param_store().scope():
        yield
    pyro.settings.set(**settings)
    torch.set_default_dtype(dtype)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the real images; a test that asks for it skips where there is none."""
    root = os.environ.get("IB_PYRO_DATA")
    if not root:
        pytest.skip("needs real images: set IB_PYRO_DATA to their root folder")
    return Path(root)


@pytest.fixture(scope="session")
def mnist_root(data_root: Path) -> Path:
    """The same folder, once it is known to hold MNIST."""
    if not (data_root / "MNIST" / "raw").is_dir():
        pytest.skip(f"needs MNIST: no MNIST/raw in IB_PYRO_DATA={data_root}")
    return data_root


@pytest.fixture
def stripes() -> SimpleNamespace:
    """90 noisy 4x4 images of 3 classes, each with a bright row of its own: learnt in a few epochs."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(90) % 3
    x = 0.1 * torch.rand(90, 1, 4, 4, generator=generator)
    x[torch.arange(90), 0, y] += 0.9
    return SimpleNamespace(x=x, y=y)


@pytest.fixture
def build() -> Callable[..., Bottleneck]:
    """A builder of small classifiers of those images, with the same parameters each time."""

    def build_program(**options: object) -> Bottleneck:
        torch.manual_seed(3)
        return MLP(**{"hidden": 8, "image_shape": (1, 4, 4), "num_classes": 3, **options})

    return build_program

"""What every test starts from: seeds, Pyro's global state, and where the real images lie."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyro
import pytest
import torch

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

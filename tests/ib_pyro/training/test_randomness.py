"""Ambient generators: taken, restored, seeded for a block only, and safe to keep in a file."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from ib_pyro.training.randomness import rng_state, seeded, set_rng_state


def draws() -> tuple[float, ...]:
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(()).item(), torch.randn(()).item()  # noqa: NPY002


def test_state_survives_a_file_that_loads_without_pickled_code(tmp_path: Path) -> None:
    draws()
    torch.save(rng_state(), tmp_path / "state.pt")
    expected = draws()
    draws()
    set_rng_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draws() == expected


def test_block_is_seeded_and_leaves_no_trace() -> None:
    before = rng_state()
    expected = draws()
    set_rng_state(before)
    with seeded(4):
        first = draws()
    with seeded(4):
        assert draws() == first
    with seeded(5):
        assert draws() != first
    assert draws() == expected


def test_state_is_restored_after_an_error() -> None:
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded(1):
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), state)

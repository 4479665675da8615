"""The nuisance probe: it reads what a representation shows, and nothing of what it does not."""

import copy
from dataclasses import replace

import pytest
import torch

from ib_pyro.data import LabelledImages
from inference.runs.splits import Splits
from inference.studies.paper.probe import probe_errors
from models.all_cnn import AllCNN32

NAMES = tuple("0123456789")


def images(count: int, seed: int) -> LabelledImages:
    """Images whose nuisance, one of two, is the brightness."""
    generator = torch.Generator().manual_seed(seed)
    nuisance = torch.randint(2, (count,), generator=generator)
    x = 0.2 * torch.randn(count, 3, 32, 32, generator=generator) + 2.0 * nuisance.view(-1, 1, 1, 1)
    return LabelledImages(
        x, torch.zeros(count, dtype=torch.int64), NAMES, nuisance=nuisance, nuisance_classes=NAMES
    )


@pytest.fixture
def splits():
    return Splits(images(120, 1), None, images(60, 2), "real")


def test_it_reads_a_nuisance_that_is_there_and_leaves_the_network_as_it_was(splits):
    program = AllCNN32(1 / 24).eval()
    before = copy.deepcopy(program.state_dict())
    errors = probe_errors(program, splits, epochs=12, batch_size=20, num_draws=2)
    assert errors["nuisance_error_noisy"] < 0.1
    assert errors["nuisance_error_deterministic"] < 0.1
    assert all(torch.equal(value, before[name]) for name, value in program.state_dict().items())
    assert all(parameter.grad is None for parameter in program.parameters())


def test_it_cannot_read_what_is_not_there(splits):
    generator = torch.Generator().manual_seed(3)

    def shuffled(data):
        labels = torch.randint(2, (len(data),), generator=generator)
        return replace(data, nuisance=labels)

    blind = Splits(shuffled(splits.train), None, shuffled(splits.test), "real")
    errors = probe_errors(AllCNN32(1 / 24).eval(), blind, epochs=2, batch_size=20, num_draws=1)
    assert errors["nuisance_error_noisy"] > 0.25


def test_images_without_a_nuisance_are_refused(splits):
    plain = Splits(replace(splits.train, nuisance=None), None, splits.test, "real")
    with pytest.raises(ValueError, match="no nuisance labels"):
        probe_errors(AllCNN32(1 / 24).eval(), plain, epochs=1)

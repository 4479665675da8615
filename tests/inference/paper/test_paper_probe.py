"""The nuisance probe: it reads what a representation shows, and nothing of what it does not."""

import copy
from dataclasses import replace

import pytest
import torch
from pyro import poutine

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.data import LabelledImages
from inference.paper.data import Splits
from inference.paper.probe import FrozenRepresentation, probe_errors
from models.all_cnn import AllCNN32, all_cnn_head

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
    for parameter in program.parameters():
        parameter.grad = torch.ones_like(parameter)
    names, state = list(program.stochastic_layers), torch.get_rng_state()
    errors = probe_errors(program.train(), splits, passes=24, batch_size=20)
    assert errors["nuisance_error_noisy"] < 0.1
    assert errors["nuisance_error_deterministic"] < 0.1
    assert all(torch.equal(value, before[name]) for name, value in program.state_dict().items())
    assert all((parameter.grad == 1).all() for parameter in program.parameters())
    assert all(module.training for module in program.modules())
    assert list(program.stochastic_layers) == names
    assert torch.equal(torch.get_rng_state(), state)


def test_each_call_of_a_frozen_representation_draws_the_noise_anew(splits):
    program = AllCNN32(1 / 24).eval()
    noisy, quiet = (FrozenRepresentation(program, noise=noise) for noise in (True, False))
    x = splits.test.x[:4]
    torch.manual_seed(3)
    first, second = noisy(x), noisy(x)
    torch.manual_seed(3)
    assert torch.equal(program.encoder(x), first)
    assert not torch.equal(first, second)
    with noise_off():
        expected = program.encoder(x)
    assert torch.equal(quiet(x), expected)
    assert torch.equal(quiet(x), expected)


def test_nothing_of_a_frozen_representation_is_fitted_or_charged(splits):
    program = AllCNN32(1 / 24).eval()
    frozen = FrozenRepresentation(program, noise=True)
    probe = Bottleneck(frozen, all_cnn_head(8, 8)).train()
    assert not list(frozen.parameters())
    assert not program.training
    statistics = copy.deepcopy(program.state_dict())
    x, y = splits.test.x[:20], splits.test.nuisance[:20]
    terms = InformationBottleneckELBO().terms(probe.model, probe.guide, x, y)
    assert terms.rate == {}
    terms.loss.backward()
    assert all(parameter.grad is not None for parameter in probe.parameters())
    assert all(parameter.grad is None for parameter in program.parameters())
    assert all(torch.equal(value, statistics[name]) for name, value in program.state_dict().items())
    with poutine.trace() as trace:
        frozen(x)
    assert not trace.trace.nodes


def test_it_cannot_read_what_is_not_there(splits):
    generator = torch.Generator().manual_seed(3)

    def shuffled(data):
        labels = torch.randint(2, (len(data),), generator=generator)
        return replace(data, nuisance=labels)

    blind = Splits(shuffled(splits.train), None, shuffled(splits.test), "real")
    errors = probe_errors(AllCNN32(1 / 24).eval(), blind, passes=2, batch_size=20)
    assert errors["nuisance_error_noisy"] > 0.25


def test_images_without_a_nuisance_are_refused(splits):
    plain = Splits(replace(splits.train, nuisance=None), None, splits.test, "real")
    with pytest.raises(ValueError, match="no nuisance labels"):
        probe_errors(AllCNN32(1 / 24).eval(), plain, passes=1)

"""Maps of features with two dimensions are over positions, wherever those stand, and never over units."""

import pytest
import torch
from torch import nn

from ib_pyro.attribution import PerSampleAttribution, ReadoutAttribution, feature_statistics

CHANNELS, POSITIONS = 5, 12


def series() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv1d(2, CHANNELS, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(CHANNELS * POSITIONS, 3)
    return nn.Sequential(*layers).eval()


X = torch.randn(6, 2, POSITIONS, generator=torch.Generator().manual_seed(1))


def test_a_series_has_a_map_of_its_positions() -> None:
    network = series()
    with torch.no_grad():
        # Only the first two positions reach the answer.
        network[3].weight.view(3, CHANNELS, POSITIONS)[..., 2:] = 0
        network[3].weight.mul_(20)
    for place, options in (("0", {}), ("1", {"layout": "series"})):
        measured = feature_statistics(network, place, [X])
        torch.manual_seed(0)
        rate = PerSampleAttribution(network, place, measured, **options)(X).rate
        assert rate.shape == (6, POSITIONS)
        assert rate[:, :2].sum() > 100 * rate[:, 2:].sum()


def test_where_nobody_knows_the_layout_is_asked_for() -> None:
    network = series()
    measured = feature_statistics(network, "1", [X])
    with pytest.raises(
        ValueError, match=r"'1': features of shape \(5, 12\) behind a ReLU.*layout='series' or"
    ):
        PerSampleAttribution(network, "1", measured)
    found = PerSampleAttribution(network, "1", measured, layout="tokens", steps=1, draws=1)(X)
    assert found.rate.shape == (6, CHANNELS)
    with pytest.raises(ValueError, match="layout="):
        PerSampleAttribution(network, "1", measured, layout="serial")
    images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    with pytest.raises(ValueError, match=r"two dimensions.*\(2, 4, 4\).*leave it out"):
        PerSampleAttribution(
            images, "0", feature_statistics(images, "0", [torch.rand(2, 1, 6, 6)]), layout="series"
        )


def test_a_readout_goes_through_its_batches_again_or_says_that_it_cannot() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3)).eval()
    x, y = torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])
    batches = [(x[:2], y[:2]), (x[2:], y[2:])]
    readout = ReadoutAttribution(network, "0", feature_statistics(network, "0", [x]))
    assert len(readout.fit(batches, epochs=3)) == 6
    assert len(readout.fit(iter(batches))) == 2  # one epoch needs them once
    with pytest.raises(TypeError, match="a list_iterator gives its batches once, and each of 3 epochs"):
        readout.fit(iter(batches), epochs=3)
    with pytest.raises(TypeError, match="a generator gives"):
        readout.fit((batch for batch in batches), epochs=2)

    class Anew:
        def __iter__(self):
            self.rest = iter(batches)
            return self

        def __next__(self):
            return next(self.rest)

    assert len(readout.fit(Anew(), epochs=3)) == 6

    class Once:
        rest = iter(batches)

        def __iter__(self):
            return self.rest

    with pytest.raises(ValueError, match="none in epoch 2"):
        readout.fit(Once(), epochs=2)
    with pytest.raises(ValueError, match="none in epoch 1"):
        readout.fit([])
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        readout.fit(batches, epochs=0)

"""Stand-ins have the shapes, labels and boxes of the sets they stand for."""

import pytest
import torch

from inference.runs.stand_in import stand_in

SHAPES = {
    "mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "occluded-cifar": (3, 32, 32),
    "cluttered-mnist": (1, 96, 96),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape_range_and_repeatability(name):
    data = stand_in(name, "train", 30)
    assert data.image_shape == SHAPES[name]
    assert len(data) == 30
    assert 0 <= data.x.min() <= data.x.max() <= 1
    assert torch.equal(stand_in(name, "train", 30).x, data.x)
    assert not torch.equal(stand_in(name, "test", 30).x, data.x)


def test_the_box_is_where_the_digit_is():
    data = stand_in("cluttered-mnist", "train", 20)
    for image, (x0, y0, x1, y1) in zip(data.x[:, 0], data.box.tolist(), strict=True):
        outside = image.clone()
        outside[y0:y1, x0:x1] = 0
        assert outside.max() <= 0.2
        assert image[y0:y1, x0:x1].max() > 0.5


def test_the_occluded_stand_in_has_a_label_and_a_nuisance_of_its_own():
    data = stand_in("occluded-cifar", "train", 200)
    assert data.nuisance is not None
    assert (data.nuisance != data.y).float().mean() > 0.5

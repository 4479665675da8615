"""A set of images stays consistent: shapes, labels, subsets, devices."""

import dataclasses

import pytest
import torch

from ib_pyro.data import LabelledImages

CLASSES = ("even", "odd")


@pytest.fixture
def data():
    n = 6
    return LabelledImages(
        torch.rand(n, 1, 4, 5),
        torch.arange(n) % 2,
        CLASSES,
        nuisance=torch.arange(n) % 3,
        nuisance_classes=("a", "b", "c"),
        box=torch.arange(4 * n).view(n, 4),
    )


def test_describes_itself(data):
    assert (len(data), data.num_classes, data.image_shape) == (6, 2, (1, 4, 5))
    assert repr(data) == "LabelledImages(6 images of shape (1, 4, 5), 2 classes, nuisance, box, cpu)"


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (torch.tensor([4, 1, 1]), [4, 1, 1]),
        ([3, 0], [3, 0]),
        (slice(1, 3), [1, 2]),
        (torch.tensor([True, False, False, True, False, True]), [0, 3, 5]),
    ],
)
def test_subset_takes_the_same_rows_of_everything(data, index, rows):
    subset = data.subset(index)
    for name in ("x", "y", "nuisance", "box"):
        expected = torch.stack([getattr(data, name)[row] for row in rows])
        assert torch.equal(getattr(subset, name), expected)
    assert subset.classes == data.classes


def test_slices_copy_nothing(data):
    assert data.subset(slice(2, 4)).x.data_ptr() == data.x[2:].data_ptr()


def test_is_a_map_style_dataset(data):
    halves = torch.utils.data.random_split(data, [0.5, 0.5], torch.Generator().manual_seed(0))
    both = torch.utils.data.ConcatDataset(halves)
    x, y = next(iter(torch.utils.data.DataLoader(both, batch_size=6)))
    order = [*halves[0].indices, *halves[1].indices]
    assert torch.equal(x, data.x[order])
    assert torch.equal(y, data.y[order])
    assert len(list(data)) == 6
    assert torch.equal(data[-1][0], data.x[5])


@pytest.mark.parametrize("index", [slice(1, 3), [0, 1], torch.tensor([0, 1]), None, 0.0])
def test_gives_one_image_by_its_number(data, index):
    with pytest.raises(TypeError, match=r"an image by its number; .*\.subset\(\) takes several"):
        data[index]
    with pytest.raises(IndexError):
        data[6]


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs a second device")
def test_moves_every_tensor(data):
    device = torch.accelerator.current_accelerator()
    moved = data.to(device)
    assert {getattr(moved, name).device.type for name in ("x", "y", "nuisance", "box")} == {device.type}
    assert torch.equal(moved.subset([2, 0]).y.cpu(), data.y[[2, 0]])


def test_prepared_images_are_checked_again(data):
    assert torch.equal(dataclasses.replace(data, x=data.x - 1).x, data.x - 1)
    with pytest.raises(ValueError, match=r"y: expected int64 labels of shape \[3\]"):
        dataclasses.replace(data, x=data.x[:3])


def test_is_frozen(data):
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.x = torch.zeros(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(6, 1, 4, 5, dtype=torch.uint8)}, r"x: expected floating images.*uint8"),
        ({"x": torch.zeros(6, 20)}, r"x: expected floating images.*\[6, 20\]"),
        ({"x": torch.zeros(0, 1, 4, 5)}, "x: the set is empty"),
        ({"y": torch.arange(6)}, r"y: labels go from 0 to 5, outside of 0\.\.1"),
        ({"y": torch.arange(6) % 2 - 1}, r"y: labels go from -1 to 0"),
        ({"y": torch.zeros(6)}, "y: expected int64 labels"),
        ({"nuisance": torch.full((6,), 3)}, "nuisance: labels go from 3 to 3"),
        ({"box": torch.zeros(6, 2)}, r"box: expected shape \[6, 4\], got \[6, 2\]"),
    ],
)
def test_refuses_what_does_not_fit(data, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(data, **changes)

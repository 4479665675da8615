"""A folder of images, one folder a class: its splits, its classes and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from ib_pyro.data import load_image_folder


def draw(folder, classes=("cat", "dog"), number=10, side=6, mode="L"):
    rng = np.random.default_rng(0)
    for label in classes:
        (folder / label).mkdir(parents=True)
        for index in range(number):
            shape = (side, side, 3) if mode == "RGB" else (side, side)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / label / f"{index}.png")


def test_a_flat_folder_is_parted_by_its_files_alone(tmp_path):
    draw(tmp_path, number=10)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    first, again = load_image_folder(tmp_path), load_image_folder(tmp_path)
    assert set(first) == {"train", "test"}
    assert [len(first[part]) for part in ("train", "test")] == [16, 4]
    assert first["test"].y.bincount().tolist() == [2, 2]
    assert first["train"].classes == ("cat", "dog")
    for part in first:
        assert torch.equal(first[part].x, again[part].x)
    # Each image is in one of them, as it lies in its file.
    every = torch.cat([first["train"].x, first["test"].x])
    assert len(every.flatten(1).unique(dim=0)) == 20
    pixels = torch.tensor(np.array(Image.open(tmp_path / "dog" / "3.png")))[None] / 255
    assert any(torch.equal(pixels, image) for image in every)
    assert len(load_image_folder(tmp_path, test_share=0.5)["test"]) == 10


def test_grey_images_have_one_channel_and_others_three(tmp_path):
    draw(tmp_path / "grey")
    draw(tmp_path / "colour", mode="RGB")
    assert load_image_folder(tmp_path / "grey")["train"].image_shape == (1, 6, 6)
    assert load_image_folder(tmp_path / "colour")["train"].image_shape == (3, 6, 6)


def test_a_folder_that_says_its_splits_keeps_them(tmp_path):
    for part, number in (("train", 5), ("validation", 2), ("test", 3)):
        draw(tmp_path / part, number=number)
    found = load_image_folder(tmp_path)
    assert {part: len(images) for part, images in found.items()} == {"train": 10, "validation": 4, "test": 6}
    draw(tmp_path / "other", classes=("train", "lorry"))
    assert load_image_folder(tmp_path / "other")["train"].classes == ("lorry", "train")


def test_images_of_several_sizes_are_resized_on_request(tmp_path):
    draw(tmp_path)
    Image.fromarray(np.full((12, 9), 200, np.uint8)).save(tmp_path / "dog" / "wide.png")
    with pytest.raises(
        ValueError, match=r"dog/wide\.png: 9x12 pixels, where the first image has 6x6; pass size="
    ):
        load_image_folder(tmp_path)
    found = load_image_folder(tmp_path, size=4)
    assert found["train"].image_shape == (1, 4, 4)
    level = torch.cat([part.x for part in found.values()]).flatten(1)
    assert (level - 200 / 255).abs().amax(1).min() < 1e-6


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("no folder", "no such folder"),
        ("one class", "only 'cat' of two or more classes"),
        ("no class", "none of two or more classes"),
        ("empty class", r"dog: no image \(.jpg, .jpeg, .png\) in it"),
        ("damaged", r"cat/3\.png: not a readable image"),
        ("renamed", r"cat/3\.png: not a readable image"),
        ("sixteen bits", r"cat/3\.png: pixels of PIL's mode 'I(;16)?'"),
        ("zero and one", "the brightest pixel is 1, where white is 255"),
        ("no test", "it has train, but no test; make"),
        ("other classes", r"train and test differ in their classes \(cow, dog\)"),
    ],
)
def test_what_is_no_folder_of_classes_is_named(tmp_path, spoil, message):
    folder = tmp_path / "set"
    if spoil in ("no test", "other classes"):
        draw(folder / "train")
        if spoil == "other classes":
            draw(folder / "test", classes=("cat", "cow"))
    elif spoil != "no folder":
        draw(folder, classes={"one class": ("cat",), "no class": ()}.get(spoil, ("cat", "dog")))
        folder.mkdir(exist_ok=True)
    file = folder / "cat" / "3.png"
    if spoil == "empty class":
        for path in (folder / "dog").iterdir():
            path.unlink()
    elif spoil == "damaged":
        file.write_bytes(file.read_bytes()[:60])
    elif spoil == "renamed":
        Image.fromarray(np.zeros((6, 6), np.uint8)).save(file, format="BMP")
    elif spoil == "sixteen bits":
        Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(file)
    elif spoil == "zero and one":
        for path in folder.rglob("*.png"):
            Image.fromarray(np.eye(6, dtype=np.uint8)).save(path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_image_folder(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 0}, "size must be at least 1"), ({"test_share": 1.0}, "test_share is a share")],
    ids=["size", "share"],
)
def test_options_out_of_range_are_named(tmp_path, options, message):
    draw(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path, **options)

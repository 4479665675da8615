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


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparent_images_are_refused_and_opaque_ones_read(tmp_path, mode):
    for name in "ab":
        pixels = np.zeros((4, 4, 4), np.uint8)
        pixels[..., 0], pixels[..., 3] = 200, 255
        for number in range(2):
            save(tmp_path / name / f"{number}.png", pixels)
    assert load_image_folder(tmp_path, test_share=0.5)["train"].x[:, 0].unique().item() == pytest.approx(
        200 / 255
    )
    if mode == "P":
        image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4), "L").convert("P")
        image.save(tmp_path / "a" / "0.png", transparency=0)
        share = "6.2%"
    else:
        pixels[0, :2, 3] = 0
        save(tmp_path / "a" / "0.png", pixels)
        share = "12.5%"
    with pytest.raises(ValueError, match=f"0.png: {share} of its pixels are transparent"):
        load_image_folder(tmp_path)


def test_images_are_read_as_they_are_shown(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    turned = Image.Exif()
    turned[0x0112] = 6  # by a quarter, clockwise
    for name in "ab":
        for number in range(2):
            save(tmp_path / name / f"{number}.png", pixels, exif=turned)
    x = load_image_folder(tmp_path, test_share=0.5)["train"].x
    assert x.shape[1:] == (1, 4, 3)
    assert np.array_equal((x[0, 0] * 255).round().numpy().astype(np.uint8), np.rot90(pixels, -1))


def test_a_class_that_a_split_would_lack_is_named(tmp_path):
    for name, number in (("a", 10), ("b", 10), ("c", 1)):
        for index in range(number):
            save(tmp_path / name / f"{index}.png", np.full((3, 3), 255 - index, np.uint8))
    for share in (0.2, 0.6):
        with pytest.raises(ValueError, match=f"test_share={share}.*no image of c is for (test|train)"):
            load_image_folder(tmp_path, test_share=share)


def test_a_folder_beside_the_splits_is_named(tmp_path):
    for part in ("train", "test", "val"):
        for name in "ab":
            save(tmp_path / part / name / "0.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="val beside train and test is no split; .*train, validation, test"):
        load_image_folder(tmp_path)

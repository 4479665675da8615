"""Ink boxes are tight, and no digit comes twice before each came once."""

import pytest
import torch

from ib_pyro.data.sprites import deal, generator_for, ink_box


def test_box_is_the_smallest_with_all_ink():
    digits = (torch.rand(50, 9, 12) > 0.93).float()
    digits[:, 4, 5] = 1
    for digit, (x0, y0, x1, y1) in zip(digits, ink_box(digits).tolist(), strict=True):
        assert digit[y0:y1, x0:x1].sum() == digit.sum()
        for edge in (digit[y0, x0:x1], digit[y1 - 1, x0:x1], digit[y0:y1, x0], digit[y0:y1, x1 - 1]):
            assert edge.sum() > 0


def test_box_without_ink_is_the_whole_image():
    assert ink_box(torch.zeros(1, 9, 12)).tolist() == [[0, 0, 12, 9]]


@pytest.mark.parametrize("num_images", [3, 10, 27])
def test_digits_are_dealt_in_rounds(num_images):
    dealt = deal(num_images, 10, torch.Generator().manual_seed(0))
    assert len(dealt) == num_images
    for part in dealt.split(10):
        assert len(part.unique()) == len(part)


def test_parts_and_seeds_have_sources_of_their_own():
    draws = {
        tuple(torch.rand(3, generator=generator_for(seed, part)).tolist())
        for seed in range(4)
        for part in ("train", "test")
    }
    assert len(draws) == 8
    with pytest.raises(ValueError, match="seed: expected at least 0, got -1"):
        generator_for(-1, "train")

"""Held-out images are a stratified draw that depends on the set and the size alone."""

import pytest
import torch

from ib_pyro.data.stratified_splits import hold_out, stratified_order, stratified_sample


@pytest.fixture
def labels():
    counts = torch.tensor([40, 100, 60, 10])
    return torch.repeat_interleave(torch.arange(4), counts)[torch.randperm(210)]


def test_order_is_a_permutation_fixed_by_its_seed(labels):
    order = stratified_order(labels, 3)
    assert order.sort().values.tolist() == list(range(210))
    assert torch.equal(order, stratified_order(labels, 3))
    assert not torch.equal(order, stratified_order(labels, 4))


def test_every_prefix_has_the_classes_in_their_shares(labels):
    drawn = labels[stratified_order(labels, 0)]
    share = torch.bincount(labels) / len(labels)
    for size in range(1, len(labels) + 1):
        counts = torch.bincount(drawn[:size], minlength=4)
        assert (counts - size * share).abs().max() <= 1.5


def test_no_class_comes_early(labels):
    drawn = labels[stratified_order(labels, 0)]
    positions = torch.arange(210, dtype=torch.float64)
    for label in range(4):
        assert abs(positions[drawn == label].mean() - 104.5) < 1.5


def test_equal_classes_are_drawn_in_turns_and_not_in_their_own_order():
    labels = torch.arange(10).repeat(20)
    firsts = []
    for seed in range(20):
        drawn = labels[stratified_order(labels, seed)]
        assert all(torch.equal(turn.sort().values, torch.arange(10)) for turn in drawn.view(20, 10))
        firsts.append(int(drawn[0]))
    assert len(set(firsts)) > 3


def test_a_smaller_sample_is_part_of_a_larger_one(labels):
    small, large = stratified_sample(labels, 20, 1).tolist(), stratified_sample(labels, 50, 1).tolist()
    assert small == sorted(small)
    assert set(small) < set(large)


def test_members_of_a_class_are_drawn_alike():
    labels = torch.zeros(10, dtype=torch.int64)
    counts = torch.zeros(10)
    for seed in range(2000):
        counts[stratified_sample(labels, 3, seed)] += 1
    # Binomial(2000, 0.3): the standard deviation is 20.5.
    assert (counts - 600).abs().max() < 90


@pytest.mark.parametrize("size", [0, 1, 50, 209])
def test_hold_out_parts_the_pool(labels, size):
    train, validation = hold_out(labels, size)
    assert len(validation) == size
    assert torch.cat([train, validation]).sort().values.tolist() == list(range(210))
    assert torch.equal(hold_out(labels, size)[1], validation)
    share = torch.bincount(labels) / len(labels)
    assert (torch.bincount(labels[validation], minlength=4) - size * share).abs().max() <= 1.5


@pytest.mark.parametrize("size", [-1, 210, 1000])
def test_hold_out_refuses_what_leaves_nothing_to_train_on(labels, size):
    with pytest.raises(ValueError, match=f"holdout: {size} of a training pool of 210 images"):
        hold_out(labels, size)

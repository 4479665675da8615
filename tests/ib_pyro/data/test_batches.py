"""Batches cover every image once, keep the partial batch and follow their generator."""

import pytest
import torch

from ib_pyro.data import LabelledImages, batches


@pytest.fixture
def data():
    n = 11
    x = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1)
    return LabelledImages(x, torch.arange(n) % 3, ("a", "b", "c"), torch.arange(n) % 2, ("c", "d"))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
def test_every_image_comes_once_with_its_label(data, batch_size, shuffle):
    loader = batches(data, batch_size, shuffle=shuffle)
    seen = list(loader)
    assert len(seen) == len(loader) == -(-len(data) // batch_size)
    assert all(len(x) == batch_size for x, _ in seen[:-1])
    x, y = torch.cat([x for x, _ in seen]).flatten(), torch.cat([y for _, y in seen])
    assert x.sort().values.tolist() == list(range(11))
    assert torch.equal(y, x.long() % 3)


def test_drop_last_leaves_out_the_partial_batch_only(data):
    sizes = [len(x) for x, _ in batches(data, 4, drop_last=True)]
    assert sizes == [4, 4]
    assert len(batches(data, 4, drop_last=True)) == 2


def test_unshuffled_batches_are_views(data):
    first = next(iter(batches(data, 4, shuffle=False)))[0]
    assert first.data_ptr() == data.x.data_ptr()


def test_each_iteration_draws_a_new_order_from_the_generator(data):
    def orders(seed):
        loader = batches(data, 11, generator=torch.Generator().manual_seed(seed))
        return [next(iter(loader))[0].flatten().tolist() for _ in range(2)]

    first, second = orders(0)
    assert first != second
    assert orders(0) == [first, second]
    assert orders(1)[0] != first


def test_a_generator_leaves_the_ambient_one_alone(data):
    before = torch.get_rng_state()
    list(batches(data, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_fields_name_what_a_batch_holds(data):
    for nuisance, x in batches(data, 4, fields=("nuisance", "x")):
        assert torch.equal(nuisance, x.flatten().long() % 2)


def test_plain_tensors_are_indexed_together():
    a, b, c = torch.arange(7), torch.arange(7) * 2, torch.arange(7) * 3
    for rows, twice, thrice in batches((a, b, c), 3):
        assert torch.equal(twice, rows * 2)
        assert torch.equal(thrice, rows * 3)


def test_refuses_what_makes_no_batch(data):
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        batches(data, 0)
    with pytest.raises(ValueError, match="batch_size: 12 with drop_last leaves no batch of 11 images"):
        batches(data, 12, drop_last=True)
    with pytest.raises(ValueError, match="fields: 'box' is not in this set, which has x, y, nuisance"):
        batches(data, 4, fields=("x", "box"))
    with pytest.raises(ValueError, match=r"one common length of at least 1, got \[2, 3\]"):
        batches((torch.zeros(2), torch.zeros(3)), 1)
    with pytest.raises(ValueError, match="one common length"):
        batches((torch.zeros(0),), 1)

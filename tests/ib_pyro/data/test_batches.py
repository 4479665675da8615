"""Batches cover every image once, keep the partial batch and follow their generator."""

from types import SimpleNamespace

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


def _samples(loader):
    return {(int(x), int(y)) for xs, ys in loader for x, y in zip(xs.flatten(), ys, strict=True)}


X, Y = torch.arange(11.0).view(11, 1), torch.arange(11) % 3
PAIRS = {(n, n % 3) for n in range(11)}


class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index**2


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([(torch.ones(1), 0)])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ((X, Y), PAIRS),
        ([X, Y], PAIRS),
        (torch.utils.data.TensorDataset(X, Y), PAIRS),
        (SimpleNamespace(x=X, y=Y), PAIRS),
        (torch.utils.data.Subset(torch.utils.data.TensorDataset(X, Y), [1, 5, 7]), {(1, 1), (5, 2), (7, 1)}),
        (torch.utils.data.Subset(torch.utils.data.TensorDataset(X, Y), range(2)), {(0, 0), (1, 1)}),
    ],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_what_lies_in_memory_is_taken(data, expected, shuffle):
    loader = batches(data, 4, shuffle=shuffle)
    assert _samples(loader) == expected
    assert loader.num_images == len(expected)


def test_a_field_of_an_object_is_missed_by_name():
    with pytest.raises(ValueError, match="fields: 'box' is not in this set, which has x, y"):
        batches(SimpleNamespace(x=X, y=Y), 4, fields=("x", "box"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            Squares(),
            r"a Squares gives its samples one by one.*default_collate\(\[data\[i\] for i in range.*DataLoader",
        ),
        (torch.utils.data.Subset(Squares(), [0, 1]), "a Subset gives its samples one by one"),
        (torch.utils.data.ConcatDataset([Squares()]), "a ConcatDataset gives its samples one by one"),
        (Stream(), r"a Stream gives its samples one by one.*default_collate\(list\(data\)\)"),
        (torch.utils.data.DataLoader(Squares()), "a DataLoader makes batches itself; iterate over it"),
        (X, r"a Tensor is no set and no sequence of tensors.*\(x,\) for inputs alone"),
        ((X, None), r"a tuple of NoneType, Tensor is no set"),
        ((X, [0, 1]), r"a tuple of Tensor, list is no set"),
        ({"x": X, "y": Y}, r"a dict of x, y is no set"),
        ((), r"a tuple of nothing is no set"),
        ("mnist", r"a str is no set"),
        ((X, torch.tensor(1.0)), r"each a tensor or an array with the samples in its first dimension"),
    ],
)
def test_what_does_not_is_refused_with_the_way_there(data, message):
    with pytest.raises(TypeError, match="^data: .*" + message.lstrip("^")):
        batches(data, 2)


def test_arrays_and_parts_of_a_set_are_taken():
    assert _samples(batches((X.numpy(), Y.numpy()), 4)) == _samples(batches((X, Y), 4))
    images = LabelledImages(torch.rand(7, 1, 2, 2), torch.arange(7), tuple("abcdefg"))
    part, _ = torch.utils.data.random_split(images, [4, 3], torch.Generator().manual_seed(0))
    ((x, y),) = batches(part, 4, shuffle=False)
    assert y.tolist() == list(part.indices)
    assert torch.equal(x, images.x[y])


def test_the_advice_for_a_dataset_works():
    data = Squares()
    x, y = torch.utils.data.default_collate([data[i] for i in range(len(data))])
    assert _samples(batches((x, y), 2)) == {(n, n**2) for n in range(5)}

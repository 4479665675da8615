"""The default beta is 1 / N of the samples that are fitted, whatever draws them."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from ib_pyro.training import fit
from ib_pyro.training.loader_size import size_of_loader

N = 60
SET = TensorDataset(torch.rand(N, 4), torch.arange(N) % 2)


def fitted(data: object, **options: Any) -> dict[str, float]:
    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    return fit(program, data, epochs=1, progress=False, **options).rows[0]


class Twice(Sampler[int]):
    """Goes through the first samples twice."""

    def __iter__(self) -> Iterator[int]:
        return iter([*range(N), *range(N)])

    def __len__(self) -> int:
        return 2 * N


class Pairs(Sampler[list[int]]):
    """Makes batches of its own."""

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[0, 1], [2, 3]])

    def __len__(self) -> int:
        return 2


class Stream(IterableDataset[tuple[torch.Tensor, int]]):
    """Samples one by one, of a known number."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return iter([(torch.ones(4), 0)] * 12)

    def __len__(self) -> int:
        return 12


class WholeBatches(TensorDataset):
    """Has a batch under each number."""

    def __getitem__(self, place: int) -> tuple[torch.Tensor, ...]:
        return SET[5 * place : 5 * place + 5]

    def __len__(self) -> int:
        return N // 5


WEIGHTS = [1.0] * 20 + [0.0] * 40
SIZES = {
    "none": (DataLoader(SET, 7), N),
    "shuffled": (DataLoader(SET, 7, shuffle=True), N),
    "shuffled, the rest left out": (DataLoader(SET, 7, shuffle=True, drop_last=True), N),
    "in order, the rest left out": (DataLoader(SET, 7, drop_last=True), 56),
    "subset": (DataLoader(SET, 5, sampler=SubsetRandomSampler(range(10))), 10),
    "some": (DataLoader(SET, 5, sampler=RandomSampler(SET, num_samples=10)), N),
    "weighted": (DataLoader(SET, 5, sampler=WeightedRandomSampler([1.0] * N, 600)), N),
    "weighted by 0": (DataLoader(SET, 5, sampler=WeightedRandomSampler(WEIGHTS, 600)), 20),
    "one's own": (DataLoader(SET, 5, sampler=Twice()), N),
    "share": (DataLoader(SET, 5, sampler=DistributedSampler(SET, num_replicas=3, rank=0)), 20),
    "list": (DataLoader(SET, 5, sampler=[3, 4, 5]), 3),
    "one by one": (DataLoader(Stream(), 5), 12),
    "batches": (DataLoader(SET, batch_sampler=Pairs()), None),
    "a set of batches": (DataLoader(WholeBatches(), batch_size=None), None),
}


def test_shares_of_as_many_processes_are_one_set(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = SIZES["share"][0]
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    for processes, size in ((3, N), (2, 20)):
        monkeypatch.setattr("torch.distributed.get_world_size", lambda processes=processes: processes)
        assert size_of_loader(loader) == size


@pytest.mark.parametrize(("loader", "size"), SIZES.values(), ids=SIZES)
def test_each_sample_that_may_come_counts_once(loader: DataLoader[Any], size: int | None) -> None:
    assert size_of_loader(loader) == size


def test_a_sampler_and_a_subset_of_the_same_samples_have_one_beta() -> None:
    one = fitted(DataLoader(SET, 5, sampler=SubsetRandomSampler(range(10))))
    other = fitted(Subset(SET, range(10)), batch_size=5)
    assert one["beta"] == other["beta"] == 0.1
    assert one["beta_paper"] == other["beta_paper"] == 1.0


def test_a_beta_that_is_given_is_told_in_the_units_of_the_paper() -> None:
    row = fitted(DataLoader(SET, 5, sampler=SubsetRandomSampler(range(10))), beta=0.2)
    assert row["beta_paper"] == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["batches", "a set of batches"])
def test_where_nobody_knows_the_number_beta_is_asked_for(name: str) -> None:
    with pytest.raises(
        ValueError, match="beta: by default it is 1 / N, .* by a batch_sampler too; pass beta="
    ):
        fitted(SIZES[name][0])

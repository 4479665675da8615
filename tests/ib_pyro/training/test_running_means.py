"""Means over the steps of an epoch are those of the samples, whatever the precision of a step."""

from types import SimpleNamespace

import pytest
import torch

from ib_pyro.training.running_means import RunningMeans

TYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def steps(sizes, dtype):
    for size in sizes:
        distortion, rate = (torch.rand(size) * 0.4 + 0.1).to(dtype), (torch.rand(size) * 20 + 40).to(dtype)
        scores = torch.nn.functional.one_hot(torch.randint(2, (size,)), 10).to(dtype)
        correlation = {"z1": torch.rand(())}
        terms = SimpleNamespace(distortion=distortion, rate={"z1": rate}, total_correlation=correlation)
        yield distortion.mean(), terms, scores, torch.zeros(size, dtype=torch.int64)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("sizes", [[100] * 600, [7] * 40 + [3], [257]])
def test_means_are_those_of_the_samples(dtype, autocast, sizes):
    means, batches = RunningMeans(), list(steps(sizes, dtype))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for batch in batches:
            means.add(*batch, len(batch[-1]))
        found = means.compute()
    total = sum(sizes)
    expected = {
        "loss": sum(s * loss.double() for s, (loss, *_) in zip(sizes, batches, strict=True)) / total,
        "distortion": sum(terms.distortion.double().sum() for _, terms, *_ in batches) / total,
        "rate": sum(terms.rate["z1"].double().sum() for _, terms, *_ in batches) / total,
        "total_correlation/z1": sum(
            s * terms.total_correlation["z1"].double()
            for s, (_, terms, *_) in zip(sizes, batches, strict=True)
        )
        / total,
        "error": sum((scores.argmax(-1) != y).sum() for _, _, scores, y in batches) / total,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), rel=1e-6), name


def test_a_look_in_between_changes_nothing():
    plain, looked = RunningMeans(), RunningMeans()
    for number, batch in enumerate(steps([10] * 50, torch.bfloat16)):
        plain.add(*batch, len(batch[-1]))
        looked.add(*batch, len(batch[-1]))
        if number % 7 == 0:
            looked.compute()
    assert plain.compute() == looked.compute()

"""Batch-norm statistics for the network without noise are those of its own activations."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from ib_pyro import Bottleneck
from ib_pyro.batch_norm import has_batch_norm, noise_off_copy

Build = Callable[..., Bottleneck]


@pytest.mark.parametrize("dropout", ["information", "binary", "constant", "gaussian"])
def test_statistics_are_those_of_noise_free_activations(
    stripes: SimpleNamespace, build: Build, dropout: str
) -> None:
    program = build(dropout=dropout).double()
    x = stripes.x.double()
    before = {name: value.clone() for name, value in program.state_dict().items()}
    quiet = noise_off_copy(program, x, batch_size=len(x))
    h = x.flatten(1)
    for layer in (program.encoder.z1, program.encoder.z2, program.encoder.z3):
        linear, norm = layer.features
        a = linear(h)
        h = F.relu(F.batch_norm(a, None, None, norm.weight, norm.bias, training=True))
        found = quiet.get_submodule(f"encoder.{layer.site_name}.features.1")
        torch.testing.assert_close(found.running_mean, a.mean(0))
        torch.testing.assert_close(found.running_var, a.var(0))
    assert not quiet.training
    for name, value in program.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(("size", "batch_size"), [(5, 4), (5, 2), (7, 3), (3, 100), (2, 1)])
def test_no_batch_has_a_single_image(build: Build, size: int, batch_size: int) -> None:
    quiet = noise_off_copy(build(), torch.rand(size, 1, 4, 4), batch_size=batch_size)
    norm = quiet.encoder.z1.features[1]
    assert norm.running_var.isfinite().all()
    assert norm.num_batches_tracked == min(math.ceil(size / batch_size), size // 2)


def test_program_without_batch_norm_is_returned(stripes: SimpleNamespace, build: Build) -> None:
    program = build(batch_norm=False)
    assert not has_batch_norm(program)
    assert noise_off_copy(program, stripes.x, batch_size=10) is program

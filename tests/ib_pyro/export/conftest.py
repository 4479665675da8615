"""Programs that the tests of the export share."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout


@pytest.fixture
def classifier() -> Bottleneck:
    """Two noisy layers over six features, three classes, in double precision."""
    layers = OrderedDict(z1=InformationDropout.linear(6, 5), z2=InformationDropout.linear(5, 4))
    return Bottleneck(nn.Sequential(layers), nn.Linear(4, 3)).double()


@pytest.fixture
def labelled() -> tuple[Tensor, Tensor]:
    """Eleven rows for it, with labels."""
    return torch.randn(11, 6, dtype=torch.float64), torch.arange(11) % 3


@pytest.fixture
def group_names() -> Callable[[object], set[str]]:
    """The names of a result's groups, as ArviZ 0.x and as ArviZ 1.x tell them."""
    return _groups


@pytest.fixture
def same_groups() -> Callable[..., None]:
    """Assert that two results hold the same groups, variables, dimensions, types and values."""

    def check(left: object, right: object) -> None:
        names = _groups(left)
        assert names == _groups(right)
        for name in names:
            a, b = left[name], right[name]
            assert set(a.data_vars) == set(b.data_vars), name
            for variable in a.data_vars:
                assert a[variable].dims == b[variable].dims, variable
                assert a[variable].dtype == b[variable].dtype, variable
                np.testing.assert_array_equal(a[variable].values, b[variable].values, err_msg=variable)
                np.testing.assert_array_equal(a[variable].coords.keys(), b[variable].coords.keys())

    return check


def _groups(result: object) -> set[str]:
    names = result.groups() if callable(result.groups) else result.children
    return {str(name).strip("/") for name in names}

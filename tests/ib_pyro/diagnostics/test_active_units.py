"""Active units: the definitions on data whose answer is known."""

import pytest
import torch

from ib_pyro.diagnostics import active_units, active_units_by_rate


def test_variance_of_the_posterior_mean_is_what_counts():
    # Means a*x with Var(x) = 1 exactly: the statistic is a^2, whatever the posterior's own variance.
    x = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    x = x / x.std()
    scale = torch.tensor([0.0, 0.05, 0.0999, 0.1001, 3.0], dtype=torch.float64)
    result = active_units(x[:, None] * scale + 7.0)
    torch.testing.assert_close(result.statistic, scale**2)
    assert result.active.tolist() == [False, False, False, True, True]
    assert result.count == 2
    assert result.fraction == pytest.approx(0.4)


def test_event_shape_is_kept_and_threshold_is_strict():
    means = torch.tensor([[[0.0], [1.0]], [[0.0], [0.0]]])
    assert active_units(means, threshold=0.5).active.tolist() == [[False], [False]]
    assert active_units(means, threshold=0.49).active.tolist() == [[False], [True]]


def test_by_rate_is_the_mean_over_samples():
    rate = torch.tensor([[0.0, 0.019, 0.03], [0.0, 0.0, 0.0]])
    result = active_units_by_rate(rate)
    torch.testing.assert_close(result.statistic, torch.tensor([0.0, 0.0095, 0.015]))
    assert result.active.tolist() == [False, False, True]


def test_a_constant_rate_is_active_by_rate_only():
    assert active_units_by_rate(torch.ones(4, 1)).count == 1
    assert active_units(torch.ones(4, 1)).count == 0


def test_refusals():
    with pytest.raises(ValueError, match="N >= 2"):
        active_units(torch.ones(1, 3))
    with pytest.raises(ValueError, match="rate: expected"):
        active_units_by_rate(torch.ones(3))
    with pytest.raises(ValueError, match="threshold: -1"):
        active_units_by_rate(torch.ones(3, 1), threshold=-1)

"""The bounds enclose the mutual information of channels where it is known."""

import math

import pytest
import torch
from torch.distributions import Normal

from ib_pyro.information import (
    info_nce_lower_bound,
    label_entropy,
    leave_one_out_upper_bound,
    predictive_information_lower_bound,
)


def channel(snr, batch, runs):
    """Log-density matrices of z = x + noise, where I(x; z) = ½ log(1 + snr)."""
    x = torch.randn(runs, batch, dtype=torch.float64)
    z = Normal(x, snr**-0.5).sample()
    return Normal(x.unsqueeze(-2), snr**-0.5).log_prob(z.unsqueeze(-1))


@pytest.mark.parametrize("snr", [0.5, 3.0])
def test_bounds_enclose_a_gaussian_channel_and_close_in_on_it(snr):
    torch.manual_seed(0)
    exact = 0.5 * math.log(1 + snr)
    gaps = []
    for batch, runs in [(4, 4000), (500, 30)]:
        log_q = channel(snr, batch, runs)
        lower, upper = info_nce_lower_bound(log_q), leave_one_out_upper_bound(log_q)
        assert lower.mean() < exact + 3 * lower.std() / runs**0.5
        assert upper.mean() > exact - 3 * upper.std() / runs**0.5
        gaps.append((exact - lower.mean(), upper.mean() - exact, lower.std() / runs**0.5))
    few, many = gaps
    assert few[0] > 0.02
    assert few[1] > 0.02
    # Both gaps shrink like 1/B; what is left at 500 is Monte Carlo error and about a hundredth of a nat.
    assert abs(many[0]) < 3 * many[2] + 0.01
    assert abs(many[1]) < 3 * many[2] + 0.01


def test_conditionals_that_say_nothing_carry_nothing():
    log_q = torch.randn(6, 1, dtype=torch.float64).expand(6, 6)
    torch.testing.assert_close(info_nce_lower_bound(log_q), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(leave_one_out_upper_bound(log_q), torch.zeros((), dtype=torch.float64))


def test_disjoint_conditionals_saturate_the_lower_bound():
    log_q = torch.full((8, 8), -torch.inf).fill_diagonal_(2.0)
    assert info_nce_lower_bound(log_q).item() == pytest.approx(math.log(8))
    assert leave_one_out_upper_bound(log_q) == torch.inf


def test_bounds_map_and_differentiate():
    torch.manual_seed(0)
    log_q = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    for bound in (info_nce_lower_bound, leave_one_out_upper_bound):
        torch.testing.assert_close(torch.vmap(bound)(log_q), bound(log_q))
        assert torch.autograd.gradcheck(bound, (log_q,))


def test_distortion_bounds_the_predictive_information():
    p_zy = torch.tensor([[0.3, 0.1], [0.05, 0.15], [0.1, 0.3]], dtype=torch.float64)
    p_z, p_y = p_zy.sum(1), p_zy.sum(0)
    exact = (p_zy * (p_zy / (p_z[:, None] * p_y)).log()).sum()
    entropy = -(p_y * p_y.log()).sum()
    # Each (z, y) as often as the joint says: 20 samples.
    counts = (p_zy * 20).round().long().flatten()
    z = torch.arange(3).repeat_interleave(2).repeat_interleave(counts)
    y = torch.arange(2).repeat(3).repeat_interleave(counts)
    decoder = p_zy / p_z[:, None]
    bound = predictive_information_lower_bound(-decoder.log()[z, y], entropy)
    torch.testing.assert_close(bound, exact)
    blurred = 0.7 * decoder + 0.15
    assert predictive_information_lower_bound(-blurred.log()[z, y], entropy) < exact - 1e-3
    torch.testing.assert_close(label_entropy(y).double(), entropy, atol=1e-6, rtol=0)


def test_label_entropy():
    assert label_entropy(torch.tensor([3, 3, 3])) == 0
    assert label_entropy(torch.tensor([[0, 1], [1, 1]])).item() == pytest.approx(
        0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    )
    with pytest.raises(ValueError, match="labels is empty"):
        label_entropy(torch.empty(0, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be class indices.*float32.*argmax"):
        label_entropy(torch.eye(3))


def test_bad_input_names_the_shape():
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        info_nce_lower_bound(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"at least 2; got shape \(1, 1\)"):
        leave_one_out_upper_bound(torch.zeros(1, 1))

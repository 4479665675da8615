"""AUROC of a score: closed form, ties, infinities."""

import math

import pytest
import torch
from scipy.stats import norm

from ib_pyro.diagnostics import out_of_distribution_auroc


def test_two_gaussians_have_a_closed_form():
    torch.manual_seed(0)
    inside, outside = torch.randn(20_000), torch.randn(20_000) + 1
    # P(s_out > s_in) = Phi(1 / sqrt 2); its standard error at this size is below 0.003.
    expected = norm.cdf(1 / math.sqrt(2))
    assert out_of_distribution_auroc(inside, outside) == pytest.approx(expected, abs=0.01)


def test_is_the_share_of_ordered_pairs_with_ties_as_halves():
    torch.manual_seed(1)
    inside, outside = torch.randint(5, (30,)).float(), torch.randint(7, (20,)).float()
    difference = outside[:, None] - inside
    share = ((difference > 0).double() + 0.5 * (difference == 0).double()).mean()
    assert out_of_distribution_auroc(inside, outside) == pytest.approx(share.item())
    assert out_of_distribution_auroc(outside, inside) == pytest.approx(1 - share.item())


def test_infinite_rates_rank_last():
    inside, outside = torch.tensor([1.0, 2.0]), torch.tensor([torch.inf, torch.inf])
    assert out_of_distribution_auroc(inside, outside) == 1.0
    assert out_of_distribution_auroc(outside, outside) == 0.5


def test_refusals():
    with pytest.raises(ValueError, match="scores_out: 1 of 2 values are NaN"):
        out_of_distribution_auroc(torch.ones(2), torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match="scores_in: expected"):
        out_of_distribution_auroc(torch.ones(2, 2), torch.ones(2))

"""The split of predictive entropy: exact sums, extremes, and the mutual information it claims to be."""

import math

import pytest
import torch

from ib_pyro.diagnostics import predictive_entropy


@pytest.fixture
def draws():
    torch.manual_seed(0)
    return (2 * torch.randn(16, 40, 5, dtype=torch.float64)).softmax(-1)


def test_parts_sum_to_the_entropy_of_the_mean(draws):
    result = predictive_entropy(draws)
    assert torch.equal(result.aleatoric + result.epistemic, result.total)
    torch.testing.assert_close(result.total, torch.distributions.Categorical(probs=draws.mean(0)).entropy())
    torch.testing.assert_close(
        result.aleatoric, torch.distributions.Categorical(probs=draws).entropy().mean(0)
    )


def test_epistemic_part_is_the_mutual_information_of_draw_and_class(draws):
    joint = draws[:, 0] / 16
    independent = joint.sum(0) / 16
    expected = (joint * (joint / independent).log()).sum()
    torch.testing.assert_close(predictive_entropy(draws).epistemic[0], expected)


def test_agreement_is_aleatoric_and_disagreement_epistemic():
    fair = torch.full((8, 1, 4), 0.25)
    assert predictive_entropy(fair).aleatoric.item() == pytest.approx(math.log(4))
    assert predictive_entropy(fair).epistemic.item() == pytest.approx(0, abs=1e-7)
    split = torch.eye(4)[:, None]
    assert predictive_entropy(split).aleatoric.item() == 0
    assert predictive_entropy(split).epistemic.item() == pytest.approx(math.log(4))


def test_epistemic_part_is_between_zero_and_log_of_the_draws(draws):
    for s in (1, 2, 4):
        epistemic = predictive_entropy(draws[:s]).epistemic
        assert (epistemic >= 0).all()
        assert (epistemic <= math.log(s) + 1e-12).all()


def test_zeros_give_no_nan():
    result = predictive_entropy(torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 0.5, 0.5]]]))
    assert result.total.item() == pytest.approx(0.5 * math.log(2) + math.log(2))


def test_refuses_averaged_probabilities():
    with pytest.raises(ValueError, match=r"\[S, N, K\]"):
        predictive_entropy(torch.tensor([[0.5, 0.5]]))

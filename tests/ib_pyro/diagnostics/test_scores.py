"""Proper scores: values against libraries, and that they are proper."""

import pytest
import torch
from sklearn.metrics import log_loss

from ib_pyro.diagnostics import brier_score, negative_log_likelihood


@pytest.fixture
def predictions():
    torch.manual_seed(0)
    return torch.randn(50, 4, dtype=torch.float64).softmax(-1), torch.randint(4, (50,))


def test_log_score_is_that_of_scikit_learn(predictions):
    p, y = predictions
    nll = negative_log_likelihood(p, y)
    assert nll.shape == (50,)
    assert nll.mean().item() == pytest.approx(log_loss(y, p, labels=[0, 1, 2, 3]))


def test_brier_score_is_a_squared_distance(predictions):
    p, y = predictions
    one_hot = torch.eye(4, dtype=torch.float64)[y]
    torch.testing.assert_close(brier_score(p, y), torch.cdist(p[:, None], one_hot[:, None])[:, 0, 0] ** 2)


def test_brier_score_of_two_classes_is_twice_that_of_one_probability():
    q = torch.tensor([0.1, 0.8])
    p = torch.stack([1 - q, q], 1)
    y = torch.tensor([0, 1])
    torch.testing.assert_close(brier_score(p, y), 2 * (q - y) ** 2)


@pytest.mark.parametrize("score", [brier_score, negative_log_likelihood])
def test_the_truth_has_the_best_expected_score(score):
    torch.manual_seed(1)
    truth = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    others = (truth.log() + 0.3 * torch.randn(100, 3, dtype=torch.float64)).softmax(-1)

    def expected(p):
        return sum(truth[k] * score(p, torch.full((len(p),), k)) for k in range(3))

    assert (expected(others) > expected(truth[None])).all()


def test_averaging_probabilities_scores_no_worse_than_averaging_scores():
    torch.manual_seed(2)
    p, y = torch.randn(8, 20, 3, dtype=torch.float64).softmax(-1), torch.randint(3, (20,))
    distortion = torch.stack([negative_log_likelihood(draw, y) for draw in p]).mean(0)
    assert (negative_log_likelihood(p.mean(0), y) <= distortion).all()


def test_certain_and_wrong():
    p, y = torch.tensor([[1.0, 0.0]]), torch.tensor([1])
    assert negative_log_likelihood(p, y).item() == torch.inf
    assert brier_score(p, y).item() == 2


def test_gradients_match_finite_differences():
    logits = torch.randn(
        4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True
    )
    y = torch.tensor([0, 1, 2, 0])
    for score in (brier_score, negative_log_likelihood):
        assert torch.autograd.gradcheck(lambda z, score=score: score(z.softmax(-1), y), logits)


@pytest.mark.parametrize("score", [brier_score, negative_log_likelihood])
def test_refuses_logits(score):
    with pytest.raises(ValueError, match="softmax"):
        score(torch.tensor([[1.0, 2.0]]), torch.tensor([0]))

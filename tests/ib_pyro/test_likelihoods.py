"""Likelihoods by name, and what they say about targets that do not fit."""

import pyro.distributions as dist
import pytest
import torch
from torch.nn import functional as F

from ib_pyro.likelihoods import LIKELIHOODS, check_target, resolve_likelihood


def test_categorical_is_cross_entropy():
    logits, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    likelihood = resolve_likelihood("categorical")(logits)
    assert likelihood.batch_shape == (5,)
    torch.testing.assert_close(-likelihood.log_prob(y), F.cross_entropy(logits, y, reduction="none"))


def test_bernoulli_is_binary_cross_entropy():
    logits = torch.randn(5, 1, 3, 2, dtype=torch.float64)
    y = (torch.rand_like(logits) > 0.5).double()
    likelihood = resolve_likelihood("bernoulli")(logits)
    assert (likelihood.batch_shape, likelihood.event_shape) == ((5,), (1, 3, 2))
    expected = F.binary_cross_entropy_with_logits(logits, y, reduction="none").flatten(1).sum(1)
    torch.testing.assert_close(-likelihood.log_prob(y), expected)


def test_normal_is_half_the_squared_error():
    loc, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    difference = resolve_likelihood("normal")(loc).log_prob(y) - resolve_likelihood("normal")(loc).log_prob(
        loc
    )
    torch.testing.assert_close(-difference, 0.5 * (y - loc).square().sum(-1))
    scaled = resolve_likelihood("normal")((loc, torch.full_like(loc, 2.0)))
    torch.testing.assert_close(scaled.log_prob(y), dist.Normal(loc, 2.0).log_prob(y).sum(-1))


def test_a_function_is_a_likelihood():
    def poisson(rate):
        return dist.Poisson(rate).to_event(1)

    assert resolve_likelihood(poisson) is poisson


def test_an_unknown_name_says_the_nearest():
    with pytest.raises(ValueError, match=r"'categorial' is unknown; did you mean 'categorical'"):
        resolve_likelihood("categorial")
    with pytest.raises(ValueError, match="bernoulli.*categorical.*normal"):
        resolve_likelihood("zzz")
    assert sorted(LIKELIHOODS) == ["bernoulli", "categorical", "normal"]


CATEGORICAL = dist.Categorical(logits=torch.zeros(4, 3))
NORMAL = dist.Normal(torch.zeros(4, 1), 1.0).to_event(1)


@pytest.mark.parametrize(
    ("y", "likelihood", "message"),
    [
        (
            torch.tensor([0, 1, 2, 3]),
            CATEGORICAL,
            r"'y': labels reach from 0 to 3.*gives 3 classes \(0 to 2\)",
        ),
        (torch.tensor([0, -1, 2, 2]), CATEGORICAL, r"'y': labels reach from -1 to 2"),
        (
            torch.tensor([0.0, 1.0, 2.0, 2.0]),
            CATEGORICAL,
            r"'y': labels must be whole numbers.*torch.float32",
        ),
        (torch.tensor([0, 1, 2]), CATEGORICAL, r"'y': 3 targets for 4 inputs"),
        (torch.tensor(1), CATEGORICAL, r"'y': a single number"),
        (torch.eye(4)[:, :3], CATEGORICAL, r"'y': one target has shape \(3,\).*event shape \(\)"),
        (torch.zeros(4), NORMAL, r"'y': one target has shape \(\).*event shape \(1,\)"),
        (
            torch.zeros(4),
            dist.Normal(torch.zeros(4, 1), 1.0),
            r"batch shape \(4, 1\) for a batch of 4.*to_event",
        ),
        (torch.zeros(4), dist.Normal(0.0, 1.0), r"batch shape \(\)"),
    ],
)
def test_targets_that_do_not_fit(y, likelihood, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, likelihood, 4)


def test_targets_that_fit():
    check_target(torch.tensor([0, 1, 2, 2]), CATEGORICAL, 4)
    check_target(torch.tensor([0, 1, 2, 2], dtype=torch.int32), CATEGORICAL.expand((7, 4)), 4)
    check_target(torch.zeros(4, 1), NORMAL, 4)

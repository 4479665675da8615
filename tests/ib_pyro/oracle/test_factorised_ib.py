"""Proposition 1: an optimised factorised prior asks for I(x; z) + TC(z), checked on discrete z."""

import pytest
import torch

from ib_pyro.oracle import discrete_factorised_ib, discrete_ib
from ib_pyro.oracle.search import BottleneckProblem

STATES = (2, 2)
# A noisy copy of four values that no two bits could produce independently of each other.
P_X = torch.tensor([0.3, 0.3, 0.3, 0.1], dtype=torch.float64)
NOISE = 0.06
JOINT = P_X[:, None] * ((1 - NOISE) * torch.eye(4, dtype=torch.float64) + NOISE / 4)


def log(probabilities):
    return probabilities.clamp(min=1e-300).log()


def rate(encoder, log_prior):
    """``E_x KL(p(z|x) || q1(z1) q2(z2))`` for encoders [..., x, z1, z2] and log priors [..., z1, z2]."""
    return (P_X[:, None, None] * encoder * (log(encoder) - log_prior.unsqueeze(-3))).sum((-1, -2, -3))


def relevance(encoder):
    """I(z; y), written out over the joint of z and y."""
    zy = torch.einsum("...xab,xy->...aby", encoder, JOINT)
    independent = zy.sum(-1, keepdim=True) * zy.sum((-2, -3), keepdim=True)
    return (zy * (log(zy) - log(independent))).sum((-1, -2, -3))


def total_correlation(encoder):
    p_z = torch.einsum("x,...xab->...ab", P_X, encoder)
    independent = p_z.sum(-1, keepdim=True) * p_z.sum(-2, keepdim=True)
    return (p_z * (log(p_z) - log(independent))).sum((-1, -2))


def mutual_information(encoder):
    return rate(encoder, log(torch.einsum("x,...xab->...ab", P_X, encoder)))


def product_prior(first, second):
    return first.log_softmax(-1).unsqueeze(-1) + second.log_softmax(-1).unsqueeze(-2)


def descend(parameters, loss, steps=400):
    """Losses of the independent starts, ``[starts]``, after Adam with a falling step."""
    parameters = [parameter.clone().requires_grad_() for parameter in parameters]
    optimizer = torch.optim.Adam(parameters, lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(*parameters).sum().backward()
        optimizer.step()
        schedule.step()
    return loss(*parameters).detach()


def test_best_product_prior_costs_information_plus_total_correlation():
    torch.manual_seed(1)
    encoder = (2 * torch.randn(4, 4, dtype=torch.float64)).softmax(-1).reshape(4, *STATES)
    priors = [torch.randn(5, states, dtype=torch.float64) for states in STATES]
    best = descend(priors, lambda first, second: rate(encoder, product_prior(first, second)))
    assert total_correlation(encoder) > 0.01
    expected = mutual_information(encoder) + total_correlation(encoder)
    torch.testing.assert_close(best, expected.expand(5), atol=1e-8, rtol=0)


@pytest.mark.parametrize("beta", [0.1, 0.4])
def test_proposition_one(beta):
    torch.manual_seed(1)
    logits = 2 * torch.randn(12, 4, 4, dtype=torch.float64)
    priors = [torch.randn(12, states, dtype=torch.float64) for states in STATES]

    def encoder(logits):
        return logits.softmax(-1).unflatten(-1, STATES)

    def under_an_optimised_prior(logits, first, second):
        return beta * rate(encoder(logits), product_prior(first, second)) - relevance(encoder(logits))

    def under_total_correlation(logits):
        z = encoder(logits)
        return beta * (mutual_information(z) + total_correlation(z)) - relevance(z)

    factorised = descend([logits, *priors], under_an_optimised_prior).min().item()
    penalised = descend([logits], under_total_correlation).min().item()
    oracle = discrete_factorised_ib(JOINT, beta, STATES)
    assert oracle.total_correlation > 0.03
    # Descent closes in on the zeros of an encoder from the inside, hence the tolerance: 1/20 of beta TC or less.
    assert factorised == pytest.approx(penalised, abs=1.5e-4)
    assert oracle.lagrangian.item() == pytest.approx(factorised, abs=1.5e-4)
    assert oracle.lagrangian.item() < min(factorised, penalised) + 1e-12
    assert oracle.lagrangian > discrete_ib(JOINT, beta, 4).lagrangian + 0.9 * beta * 0.03


@pytest.mark.parametrize("beta", [0.1, 0.4, 0.8])
def test_lagrangian_never_rises_along_the_iterations(beta):
    torch.manual_seed(0)
    problem = BottleneckProblem(JOINT, beta, STATES)
    encoders = torch.randn(50, 4, 4, dtype=torch.float64).softmax(-1)
    for _ in range(30):
        before = problem.lagrangian(encoders)
        encoders = problem.step(encoders)
        assert (problem.lagrangian(encoders) - before).max() < 1e-14


@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_terms_are_those_of_the_encoder(beta):
    optimum = discrete_factorised_ib(JOINT, beta, STATES)
    encoder = optimum.p_z_given_x
    assert encoder.shape == (4, *STATES)
    i_xz, i_zy, correlation = mutual_information(encoder), relevance(encoder), total_correlation(encoder)
    torch.testing.assert_close(optimum.i_xz, i_xz, atol=1e-12, rtol=0)
    torch.testing.assert_close(optimum.i_zy, i_zy, atol=1e-12, rtol=0)
    torch.testing.assert_close(optimum.total_correlation, correlation, atol=1e-12, rtol=0)
    torch.testing.assert_close(optimum.lagrangian, beta * (i_xz + correlation) - i_zy, atol=1e-12, rtol=0)
    assert optimum.trace.diff().max() < 1e-14


def test_a_trivial_part_changes_nothing():
    whole = discrete_ib(JOINT, 0.3, 4).lagrangian
    torch.testing.assert_close(discrete_factorised_ib(JOINT, 0.3, (4, 1)).lagrangian, whole)
    torch.testing.assert_close(discrete_factorised_ib(JOINT, 0.3, (1, 4, 1)).lagrangian, whole)


def test_independent_causes_come_apart_at_no_cost():
    """x is two independent bits, y both of them through noise: the ordinary optimum already factorises."""
    bit = torch.tensor([[0.45, 0.05], [0.05, 0.45]], dtype=torch.float64)
    optimum = discrete_factorised_ib(torch.kron(bit, bit), 0.2, (2, 2))
    torch.testing.assert_close(optimum.lagrangian, 2 * discrete_ib(bit, 0.2, 2).lagrangian)
    assert optimum.total_correlation < 1e-8


def test_parts_need_states():
    with pytest.raises(ValueError, match="num_states must be at least 1; got 0"):
        discrete_factorised_ib([[0.5, 0.5]], 0.1, (2, 0))
    with pytest.raises(ValueError, match="num_states"):
        discrete_factorised_ib([[0.5, 0.5]], 0.1, ())

"""Tishby's iterations reach optima that are known, never climb, and agree with the Gaussian oracle."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from ib_pyro.oracle import discrete_ib, gaussian_ib
from ib_pyro.oracle.search import BottleneckProblem

LOG2 = math.log(2)


def random_joint(rows, columns, seed=0, concentration=0.3):
    torch.manual_seed(seed)
    size = torch.full((rows * columns,), concentration, dtype=torch.float64)
    return torch.distributions.Dirichlet(size).sample().reshape(rows, columns)


def information(p_z_given_x, p_xb):
    """I(z; b) of z drawn from x alone, written out over the joint; encoders may be batched."""
    joint = p_z_given_x.mT @ p_xb
    independent = joint.sum(-1, keepdim=True) * p_xb.sum(0)
    return (joint * (joint.clamp(min=1e-300).log() - independent.clamp(min=1e-300).log())).sum((-1, -2))


def binary_entropy(a):
    return float(torch.special.entr(torch.tensor([a, 1 - a], dtype=torch.float64)).sum())


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.3, 0.5, 0.6, 0.63, 0.65, 1.0, 2.0])
def test_binary_symmetric_channel(beta):
    """By Mrs Gerber's lemma a binary symmetric p(z|x) is optimal, so one crossover is to be found."""
    flip = 0.1
    joint = [[(1 - flip) / 2, flip / 2], [flip / 2, (1 - flip) / 2]]

    def lagrangian(a):
        through = a * (1 - flip) + (1 - a) * flip
        return beta * (LOG2 - binary_entropy(a)) - (LOG2 - binary_entropy(through))

    search = minimize_scalar(lagrangian, bounds=(0, 0.5), method="bounded", options={"xatol": 1e-10})
    exact = min(search.fun, lagrangian(0.0), lagrangian(0.5))
    optimum = discrete_ib(joint, beta, 3)
    assert optimum.lagrangian.item() == pytest.approx(exact, abs=1e-9)
    assert optimum.converged
    # Its one transition is at the squared maximal correlation, 0.64.
    assert (optimum.i_xz > 1e-4) == (beta < 0.64)


@pytest.mark.parametrize("beta", [0.0, 0.05, 0.3, 0.9])
def test_deterministic_task_keeps_the_label_and_no_more(beta):
    """For y = f(x), I(z; y) <= I(x; z) makes -(1 - beta) H(y) the minimum."""
    joint = torch.zeros(6, 3, dtype=torch.float64)
    joint[range(6), [0, 0, 0, 1, 1, 2]] = 1 / 6
    entropy = torch.special.entr(joint.sum(0)).sum().item()
    optimum = discrete_ib(joint, beta, 6)
    assert optimum.lagrangian.item() == pytest.approx(-(1 - beta) * entropy, abs=1e-10)
    assert optimum.i_zy.item() == pytest.approx(entropy, abs=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.02, 0.2, 0.5])
def test_reported_terms_are_those_of_the_encoder(beta):
    joint = random_joint(5, 4)
    optimum = discrete_ib(joint, beta, 4)
    encoder, p_x = optimum.p_z_given_x, joint.sum(1)
    assert encoder.shape == (5, 4)
    torch.testing.assert_close(encoder.sum(1), torch.ones(5, dtype=torch.float64))
    i_zy = information(encoder, joint)
    i_xz = information(encoder, torch.diag(p_x))
    torch.testing.assert_close(optimum.i_zy, i_zy, atol=1e-12, rtol=0)
    torch.testing.assert_close(optimum.i_xz, i_xz, atol=1e-12, rtol=0)
    torch.testing.assert_close(optimum.lagrangian, beta * i_xz - i_zy, atol=1e-12, rtol=0)
    torch.testing.assert_close(optimum.trace[-1], optimum.lagrangian)
    assert optimum.total_correlation.abs() < 1e-12


@pytest.mark.parametrize("beta", [0.0, 0.02, 0.2, 0.5])
def test_lagrangian_never_rises_along_the_iterations(beta):
    problem = BottleneckProblem(random_joint(6, 5), beta, (4,))
    encoders = (2 * torch.randn(50, 6, 4, dtype=torch.float64)).softmax(-1)
    for _ in range(30):
        before = problem.lagrangian(encoders)
        encoders = problem.step(encoders)
        assert (problem.lagrangian(encoders) - before).max() < 1e-14
    assert (problem.lagrangian(encoders) < -0.05).all()
    assert discrete_ib(problem.p_xy, beta, 4).trace.diff().max() < 1e-14


@pytest.mark.parametrize(("rows", "columns", "states", "seed"), [(5, 4, 5, 0), (8, 3, 4, 0), (20, 10, 5, 1)])
@pytest.mark.parametrize("beta", [0.0, 0.05, 0.2])
def test_other_seeds_find_nothing_better(rows, columns, states, seed, beta):
    joint = random_joint(rows, columns, seed=seed)
    first, *others = (discrete_ib(joint, beta, states, seed=seed).lagrangian.item() for seed in range(3))
    assert others == pytest.approx([first, first], abs=1e-9)


@pytest.mark.parametrize("beta", [0.05, 0.2, 0.4])
def test_gradient_descent_over_encoders_finds_nothing_better(beta):
    joint = random_joint(4, 4)
    torch.manual_seed(0)
    logits = torch.randn(12, 4, 4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)

    def lagrangian():
        encoder = logits.softmax(-1)
        return beta * information(encoder, torch.diag(joint.sum(1))) - information(encoder, joint)

    for _ in range(400):
        optimizer.zero_grad()
        lagrangian().sum().backward()
        optimizer.step()
    reached = lagrangian().min().item()
    exact = discrete_ib(joint, beta, 4).lagrangian.item()
    assert reached > exact - 1e-12
    assert reached == pytest.approx(exact, abs=1e-4)


def test_curve_is_monotone_and_concave():
    joint = random_joint(5, 4)
    betas = torch.linspace(0.01, 0.9, 12, dtype=torch.float64)
    curve = [discrete_ib(joint, beta.item(), 5, num_restarts=16) for beta in betas]
    i_xz, i_zy, lagrangian = (
        torch.stack([getattr(point, name) for point in curve]) for name in ("i_xz", "i_zy", "lagrangian")
    )
    assert (i_xz.diff() < 1e-6).all()
    assert (i_zy.diff() < 1e-6).all()
    # The minimum over encoders of something linear in beta is concave in it, with slope I(x; z).
    slope = lagrangian.diff() / betas.diff()
    assert (slope < i_xz[:-1] + 1e-6).all()
    assert (slope > i_xz[1:] - 1e-6).all()
    assert i_xz[0] > 1
    assert i_xz[-1] < 1e-6


@pytest.mark.parametrize("beta", [0.2, 0.4, 0.7])
def test_finely_discretised_gaussian_meets_the_gaussian_oracle(beta):
    rho = 0.8
    grid = torch.linspace(-4, 4, 41, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid).reshape(41, 41, 2)
    density = torch.from_numpy(multivariate_normal(cov=[[1, rho], [rho, 1]]).pdf(points.numpy()))
    discrete = discrete_ib(density / density.sum(), beta, 12, num_restarts=4, max_iterations=300)
    gaussian = gaussian_ib([[1.0]], [[1.0]], [[rho]], beta)
    assert discrete.lagrangian.item() == pytest.approx(gaussian.lagrangian.item(), abs=2e-3)


def test_same_seed_same_answer_and_no_other_generator_touched():
    joint, state = random_joint(5, 4), torch.get_rng_state()
    first, second = (discrete_ib(joint, 0.1, 4, seed=3) for _ in range(2))
    assert torch.equal(first.p_z_given_x, second.p_z_given_x)
    assert torch.equal(state, torch.get_rng_state())


def test_impossible_values_change_nothing():
    joint = random_joint(4, 3)
    padded = torch.zeros(6, 4, dtype=torch.float64)
    padded[1:5, :3] = joint
    optimum = discrete_ib(padded, 0.2, 3)
    assert optimum.lagrangian.item() == pytest.approx(discrete_ib(joint, 0.2, 3).lagrangian.item(), abs=1e-12)
    assert optimum.p_z_given_x.shape == (6, 3)
    torch.testing.assert_close(optimum.p_z_given_x.sum(1), torch.ones(6, dtype=torch.float64))
    assert torch.isfinite(optimum.trace).all()
    torch.testing.assert_close(information(optimum.p_z_given_x, padded), optimum.i_zy)


def test_a_single_state_holds_nothing():
    optimum = discrete_ib(random_joint(4, 3), 0.1, 1)
    assert abs(optimum.lagrangian) < 1e-14


@pytest.mark.parametrize(
    ("joint", "options", "message"),
    [
        ([0.5, 0.5], {}, r"matrix \[x, y\]; got shape \(2,\)"),
        ([[0.6, -0.1], [0.3, 0.2]], {}, "smallest value is -0.1"),
        ([[0.6, float("nan")], [0.3, 0.1]], {}, "finite and at least 0"),
        ([[3, 1], [2, 4]], {}, "sum to 1; got 10. Divide counts"),
        ([[0.6, 0.4]], {"beta": -1.0}, "beta must be finite and at least 0; got -1.0"),
        ([[0.6, 0.4]], {"beta": float("nan")}, "beta must be finite"),
        ([[0.6, 0.4]], {"num_states": 0}, "num_states must be at least 1; got 0"),
        ([[0.6, 0.4]], {"num_restarts": 0}, "num_restarts must be at least 1; got 0"),
        ([[0.6, 0.4]], {"max_iterations": 0}, "max_iterations must be at least 1; got 0"),
    ],
)
def test_bad_input_names_the_argument(joint, options, message):
    with pytest.raises(ValueError, match=message):
        discrete_ib(joint, **{"beta": 0.1, "num_states": 2, **options})

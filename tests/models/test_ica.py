"""With beta = 0 and gamma > 0 the bottleneck finds independent sources, as FastICA does."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA

from ib_pyro import InformationBottleneckELBO
from ib_pyro.information import gaussian_total_correlation
from models.ica import ICA, amari_distance, unmixing_matrix, whiten
from models.objectives import independent_components

N = 2000
MIXING = torch.tensor([[1.0, 0.6, -0.4], [0.3, 1.2, 0.5], [-0.7, 0.2, 0.9]], dtype=torch.float64)


def sources():
    """A flat, a peaked and a two-humped source, of unit variance."""
    generator = torch.Generator().manual_seed(0)
    uniform, sign, normal, laplace = (torch.rand(N, generator=generator).double() for _ in range(4))
    flat = (uniform - 0.5) * 12**0.5
    peaked = (laplace - 0.5).sign() * torch.log1p(-2 * (laplace - 0.5).abs()) / 2**0.5
    humped = (sign - 0.5).sign() * (1 + 0.3 * torch.special.ndtri(normal)) / 1.09**0.5
    return torch.stack([flat, peaked, humped], 1)


@pytest.fixture(scope="module")
def unmixed():
    """The unmixing matrix that the program learns in 100 steps."""
    observed, whitening = whiten(sources() @ MIXING.T)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        program = ICA(3).double()
        elbo = independent_components()
        optimizer = torch.optim.Adam(program.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
        for _ in range(100):
            x = observed[torch.randint(N, (256,))]
            loss = elbo.differentiable_loss(program.model, program.guide, x, x) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return unmixing_matrix(program, whitening)


def test_it_finds_the_sources_as_fast_ica_does(unmixed):
    x = sources() @ MIXING.T
    fast = FastICA(3, whiten="unit-variance", fun="cube", random_state=0).fit(x.numpy())
    theirs = amari_distance(torch.from_numpy(fast.components_), MIXING)
    ours = amari_distance(unmixed, MIXING)
    assert ours < 0.05
    assert ours < theirs + 0.02
    assert ours < 0.3 * amari_distance(whiten(x)[1], MIXING)


def test_each_source_correlates_with_one_estimate_of_either_method(unmixed):
    truth = sources()
    x = truth @ MIXING.T
    fast = FastICA(3, whiten="unit-variance", fun="cube", random_state=0).fit_transform(x.numpy())
    ours = ((x - x.mean(0)) @ unmixed.T).numpy()
    for estimate in (ours, fast):
        correlation = np.abs(np.corrcoef(truth.numpy().T, estimate.T)[:3, 3:])
        rows, columns = linear_sum_assignment(-correlation)
        assert (correlation[rows, columns] > 0.99).all()
    between = np.abs(np.corrcoef(ours.T, fast.T)[:3, 3:])
    assert (between.max(1) > 0.99).all()


def test_gaussian_total_correlation_cannot_tell_rotations_of_whitened_data_apart():
    observed, _ = whiten(sources() @ MIXING.T)
    for _ in range(5):
        rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
        assert gaussian_total_correlation(observed @ rotation).abs() < 1e-12


def test_minibatch_total_correlation_is_least_at_the_sources():
    truth, _ = whiten(sources())
    program = ICA(3).double()
    (layer,) = program.stochastic_layers.values()
    elbo = independent_components()
    values = {}
    for degrees in (0.0, 15.0, 45.0):
        angle = torch.deg2rad(torch.tensor(degrees)).double()
        turn = torch.eye(3, dtype=torch.float64)
        turn[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
        layer.features.weight = turn
        torch.manual_seed(0)
        terms = elbo.terms(program.model, program.guide, truth[:512], truth[:512])
        values[degrees] = terms.total_correlation["z1"].item()
    assert values[0.0] < values[15.0] < values[45.0]


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_loss_is_reconstruction_plus_gamma_times_total_correlation(gamma):
    program = ICA(3).double()
    x, _ = whiten(sources()[:50])
    terms = independent_components(gamma).terms(program.model, program.guide, x, x)
    expected = terms.distortion.sum() + gamma * terms.total_correlation["z1"] * len(x)
    torch.testing.assert_close(terms.loss, expected, rtol=1e-13, atol=0)
    # The rate is reported and not charged.
    assert (terms.rate["z1"] > 0).all()


def test_noise_and_rotation_are_as_stated():
    program = ICA(4, noise=0.3).double()
    (layer,) = program.stochastic_layers.values()
    weight = layer.features.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)
    scale = layer.posterior(torch.randn(5, 4, dtype=torch.float64)).stddev
    torch.testing.assert_close(scale, torch.full_like(scale, 0.3), rtol=1e-6, atol=0)
    x = torch.randn(6, 4, dtype=torch.float64)
    InformationBottleneckELBO(0.0).differentiable_loss(program.model, program.guide, x, x).backward()
    assert layer.noise.raw.grad is None


def test_whitened_data_have_the_identity_as_covariance():
    x = sources() @ MIXING.T + 3.0
    white, matrix = whiten(x)
    torch.testing.assert_close(white.mT @ white / N, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close((x - x.mean(0)) @ matrix, white)


def test_amari_distance_ignores_order_sign_and_scale_and_is_one_at_worst():
    permuted = torch.tensor([[0.0, -2.0, 0.0], [0.0, 0.0, 0.1], [5.0, 0.0, 0.0]], dtype=torch.float64)
    assert amari_distance(permuted @ torch.linalg.inv(MIXING), MIXING) == pytest.approx(0.0, abs=1e-12)
    assert amari_distance(torch.ones(3, 3), torch.eye(3)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ICA(1), "num_sources must be at least 2; got 1"),
        (lambda: ICA(3, noise=0.0), "scale must be positive; got 0.0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

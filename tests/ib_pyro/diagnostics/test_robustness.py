"""Robustness curves against a linear classifier, whose error under noise is known."""

from functools import partial

import pytest
import torch
from scipy.stats import norm

from ib_pyro.diagnostics import fgsm, gaussian_noise, pgd, robustness_curve

WEIGHT = torch.tensor([3.0, -4.0], dtype=torch.float64)


def predict(x):
    score = (x @ WEIGHT) / 2
    return torch.stack([-score, score], -1).log_softmax(-1)


@pytest.fixture
def points():
    """Points at distance 1 from the boundary, each on the right side; 1 in 10 labels is wrong."""
    y = torch.arange(4000) % 2
    x = (2.0 * y[:, None] - 1) * WEIGHT / 5
    return x, torch.where(torch.arange(4000) % 10 == 0, 1 - y, y)


def test_error_under_gaussian_noise_is_that_of_the_margin(points):
    x, y = points
    attack = partial(gaussian_noise, clip=None, generator=torch.Generator().manual_seed(0))
    sizes = [0.0, 0.5, 1.0, 5.0]
    curve = robustness_curve(predict, x, y, attack, sizes)
    assert curve.sizes.tolist() == sizes
    assert curve.error[0].item() == pytest.approx(0.1)
    for i, size in enumerate(sizes[1:], 1):
        flipped = norm.cdf(-1 / size)
        expected = 0.9 * flipped + 0.1 * (1 - flipped)
        assert abs(curve.error[i].item() - expected) < 4 * curve.standard_error[i]
    torch.testing.assert_close(curve.standard_error, (curve.error * (1 - curve.error) / 4000).sqrt())


def test_adversarial_error_jumps_at_the_margin(points):
    # An L-infinity step of s moves the score by s * |w|_1 = 7 s; the margin is |w|_2 = 5.
    x, y = points
    for attack in (partial(fgsm, clip=None), partial(pgd, clip=None)):
        curve = robustness_curve(predict, x, y, attack, [0.0, 5 / 7 - 1e-3, 5 / 7 + 1e-3])
        assert curve.error.tolist() == pytest.approx([0.1, 0.1, 1.0])
        assert (curve.loss.diff() > 0).all()


def test_loss_is_that_of_the_averaged_prediction(points):
    x, y = points
    torch.manual_seed(0)
    table = torch.rand(6, 4000, 2, dtype=torch.float64).softmax(-1)
    noop = partial(gaussian_noise, clip=None)
    for output in (table, table.log()):
        curve = robustness_curve(lambda x, output=output: output, x, y, noop, [0.0])
        mean = table.mean(0)
        expected = -mean.gather(1, y[:, None]).log().mean()
        torch.testing.assert_close(curve.loss[0], expected)
        torch.testing.assert_close(curve.error[0], (mean.argmax(-1) != y).double().mean())


def test_batches_change_nothing(points):
    x, y = points
    attack = partial(fgsm, clip=None)
    whole = robustness_curve(predict, x, y, attack, [0.3])
    parts = robustness_curve(predict, x, y, attack, [0.3], batch_size=999)
    torch.testing.assert_close(whole.error, parts.error)
    torch.testing.assert_close(whole.loss, parts.loss)


def test_a_probability_of_zero_gives_a_finite_loss(points):
    x, y = points
    certain = torch.nn.functional.one_hot(1 - y, 2).double()
    curve = robustness_curve(lambda x: certain, x, y, partial(gaussian_noise, clip=None), [0.0])
    assert curve.loss.isfinite().all()
    assert curve.error.item() == 1


def test_refusals(points):
    x, y = points
    with pytest.raises(ValueError, match="sizes: empty"):
        robustness_curve(predict, x, y, fgsm, [])
    with pytest.raises(ValueError, match="batch_size: 0"):
        robustness_curve(predict, x, y, fgsm, [0.1], batch_size=0)
    with pytest.raises(ValueError, match="labels"):
        robustness_curve(predict, x, y[:5], fgsm, [0.1])
    with pytest.raises(ValueError, match="predict: must return"):
        robustness_curve(lambda x: x, x, y, partial(gaussian_noise, clip=None), [0.1])

"""Diagnostics of half-precision tensors say what those of the same numbers in double precision say."""

import pytest
import torch

from ib_pyro.diagnostics import (
    active_units,
    active_units_by_rate,
    brier_score,
    expected_calibration_error,
    fgsm,
    gaussian_noise,
    negative_log_likelihood,
    out_of_distribution_auroc,
    predictive_entropy,
    rate_by_class,
    rate_by_position,
    rate_by_unit,
    robustness_curve,
)

N = 3000


def probabilities(*shape):
    return (3 * torch.randn(*shape, dtype=torch.float64)).softmax(-1)


LABELS = torch.arange(N) % 3
QUESTIONS = {
    "calibration": (lambda p: expected_calibration_error(p, LABELS), lambda: probabilities(N, 3)),
    "brier": (lambda p: brier_score(p, LABELS).sum(), lambda: probabilities(N, 3)),
    "log score": (lambda p: negative_log_likelihood(p, LABELS).sum(), lambda: probabilities(N, 3)),
    "entropy": (lambda p: predictive_entropy(p).total.sum(), lambda: probabilities(50, N, 3)),
    "rate by class": (lambda r: rate_by_class(r, LABELS), lambda: torch.rand(N, 2, dtype=torch.float64)),
    "rate by unit": (rate_by_unit, lambda: torch.rand(N, 2, 3, dtype=torch.float64)),
    "rate by position": (rate_by_position, lambda: torch.rand(4, N, 3, dtype=torch.float64)),
    "active": (lambda z: active_units(z).statistic, lambda: torch.randn(N, 2, dtype=torch.float64)),
    "active by rate": (
        lambda r: active_units_by_rate(r).statistic,
        lambda: torch.rand(N, 2, dtype=torch.float64),
    ),
    "auroc": (
        lambda s: torch.tensor(out_of_distribution_auroc(s, s / 2)),
        lambda: torch.rand(N, dtype=torch.float64),
    ),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("question", QUESTIONS)
def test_sums_are_taken_in_single_precision(question, dtype):
    ask, make = QUESTIONS[question]
    values = make().to(dtype)
    exact = values.double()
    if question in ("calibration", "brier", "log score", "entropy"):
        # Rounded probabilities sum to one within the rounding, which double precision does not let pass.
        with pytest.raises(ValueError, match="sums to 1 only within"):
            ask(exact)
        torch.testing.assert_close(
            ask(values).double(),
            ask(exact.float().double() / exact.sum(-1, keepdim=True)).double(),
            rtol=0.02,
            atol=2e-3,
        )
        return
    torch.testing.assert_close(ask(values).double(), ask(exact).double(), rtol=1e-4, atol=1e-6)


def test_a_robustness_curve_counts_every_sample():
    x = torch.rand(N, 1, dtype=torch.bfloat16)
    curve = robustness_curve(
        lambda x: torch.cat([x.float(), 1 - x.float()], 1),
        x,
        (x[:, 0] < 0.5).long(),
        gaussian_noise,
        [0.0],
        batch_size=1,
    )
    assert curve.error.dtype == torch.float32
    exact = (torch.cat([x.float(), 1 - x.float()], 1).argmax(1) != (x[:, 0] < 0.5).long()).float().mean()
    torch.testing.assert_close(curve.error[0], exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("dtype", "total"), [(torch.bfloat16, 0.9), (torch.float16, 0.99)])
def test_half_precision_is_no_excuse_for_what_is_no_distribution(dtype, total):
    with pytest.raises(ValueError, match="sums to 1 only within"):
        brier_score(torch.tensor([[0.5, total - 0.5]], dtype=dtype), torch.tensor([0]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_every_integer_type(dtype):
    p = probabilities(N, 3)
    labels = LABELS.to(dtype)
    torch.testing.assert_close(brier_score(p, labels), brier_score(p, LABELS))
    torch.testing.assert_close(negative_log_likelihood(p, labels), negative_log_likelihood(p, LABELS))
    torch.testing.assert_close(expected_calibration_error(p, labels), expected_calibration_error(p, LABELS))
    torch.testing.assert_close(rate_by_class(p, labels), rate_by_class(p, LABELS))


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("log", [True, False])
def test_an_attack_takes_half_precision_predictions(log, classes):
    x = torch.rand(50, classes)

    def predict(x):
        return (x.log_softmax(-1) if log else x.softmax(-1)).bfloat16()

    moved = fgsm(predict, x, LABELS[:50] % 2, 0.1)
    assert (moved - x).abs().max() <= 0.1 + 1e-6
    assert (moved != x).any()
    with pytest.raises(ValueError, match="predict: must return probabilities or log-probabilities"):
        fgsm(lambda x: predict(x) - 0.2 if log else predict(x) * 0.9, x, LABELS[:50] % 2, 0.1)


def test_log_probabilities_that_round_alike_are_still_a_distribution():
    # log 700 rounds to bfloat16 by 0.011, so that 700 equal classes sum to 0.989.
    x = torch.zeros(2, 700)
    moved = fgsm(lambda x: x.log_softmax(-1).bfloat16(), x, torch.tensor([0, 1]), 0.1, clip=None)
    assert (moved[:, 2:] > 0).all()

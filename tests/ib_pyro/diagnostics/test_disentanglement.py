"""MIG, DCI and SAP on codes that are disentangled, rotated, redundant, or know nothing."""

import math

import numpy as np
import pytest
import torch

from ib_pyro.diagnostics import dci, mutual_information_gap, separated_predictability


@pytest.fixture(scope="module")
def factors():
    """Two independent factors of 4 values, in equal numbers."""
    values = torch.arange(4)
    return torch.cartesian_prod(values, values).repeat(100, 1)


@pytest.fixture(scope="module")
def codes(factors):
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    clean = factors.double() - 1.5 + 0.05 * noise(len(factors), 2)
    spare = noise(len(factors), 1)
    angle = math.pi / 4
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
    return {
        "perfect": torch.cat([clean, spare], 1),
        "permuted": torch.cat([spare, -5.0 * clean.flip(1)], 1),
        "rotated": torch.cat([clean @ turn, spare], 1),
        "redundant": torch.cat([clean, clean], 1),
        "unrelated": noise(len(factors), 3),
    }


def test_perfect_codes_get_the_top_score(codes, factors):
    for name in ("perfect", "permuted"):
        assert mutual_information_gap(codes[name], factors).score > 0.95
        scores = dci(codes[name], factors, num_trees=10)
        assert min(scores.disentanglement, scores.completeness, scores.informativeness) > 0.97
        # A dimension that knows nothing has chance accuracy 1/4.
        assert separated_predictability(codes[name], factors).score == pytest.approx(0.75, abs=0.06)


def test_rotation_entangles(codes, factors):
    assert mutual_information_gap(codes["rotated"], factors).score < 0.1
    scores = dci(codes["rotated"], factors, num_trees=10)
    assert max(scores.disentanglement, scores.completeness) < 0.5
    assert scores.informativeness > 0.9  # the information is all there, only in the wrong axes
    assert separated_predictability(codes["rotated"], factors).score < 0.1


def test_a_redundant_code_is_disentangled_but_not_complete(codes, factors):
    assert mutual_information_gap(codes["redundant"], factors).score == pytest.approx(0, abs=1e-9)
    assert separated_predictability(codes["redundant"], factors).score == pytest.approx(0, abs=1e-9)
    scores = dci(codes["redundant"], factors, num_trees=20)
    assert scores.disentanglement > 0.95
    # Two of four dimensions share each factor: 1 - log 2 / log 4 = 1/2.
    assert scores.completeness == pytest.approx(0.5, abs=0.15)


def test_an_unrelated_code_knows_nothing(codes, factors):
    gap = mutual_information_gap(codes["unrelated"], factors)
    bias = 19 * 3 / (2 * len(factors))
    assert gap.information.max() < 2 * bias
    assert gap.score < 0.02
    assert separated_predictability(codes["unrelated"], factors).score < 0.06
    assert dci(codes["unrelated"], factors, num_trees=10).informativeness == pytest.approx(0.25, abs=0.06)


def test_information_of_a_noisy_copy_is_exact():
    # A binary symmetric channel that flips exactly 1 in 10: I = log 2 - H(0.1).
    factor = torch.tensor([0, 1]).repeat_interleave(500)
    flip = torch.arange(1000) % 10 == 0
    code = torch.stack([torch.where(flip, 1 - factor, factor), torch.zeros(1000)], 1).double()
    gap = mutual_information_gap(code, factor)
    expected = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
    assert gap.information[0, 0].item() == pytest.approx(expected)
    assert gap.information[1, 0].item() == pytest.approx(0, abs=1e-12)
    assert gap.entropy[0].item() == pytest.approx(math.log(2))
    assert gap.score == pytest.approx(expected / math.log(2))


@pytest.mark.parametrize("binning", ["width", "quantile"])
@pytest.mark.parametrize("num_bins", [2, 5, 20])
def test_bins_are_as_many_as_asked(num_bins, binning):
    # A factor that is the bin of an evenly spread code: I = H(v) = log(bins), and less with fewer bins.
    spread = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    code = torch.stack([spread, torch.zeros(1000)], 1)
    gap = mutual_information_gap(code, (spread * num_bins).long(), num_bins=num_bins, binning=binning)
    assert gap.information[0, 0].item() == pytest.approx(math.log(num_bins), rel=1e-3)


def test_dci_of_a_known_importance_matrix(monkeypatch, factors):
    importance = iter([np.array([0.75, 0.25]), np.array([0.25, 0.75])])

    class Forest:
        def __init__(self, *args, **kwargs):
            self.feature_importances_ = next(importance)

        def fit(self, z, v):
            return self

        def score(self, z, v):
            return 0.5

    monkeypatch.setattr("sklearn.ensemble.RandomForestClassifier", Forest)
    scores = dci(torch.rand(len(factors), 2), factors)
    expected = 1 + (0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert scores.disentanglement == pytest.approx(expected)
    assert scores.completeness == pytest.approx(expected)
    assert scores.informativeness == 0.5


def test_dci_weighs_dimensions_by_their_importance(codes, factors):
    padded = torch.cat([codes["perfect"][:, :2], torch.zeros(len(factors), 6)], 1)
    scores = dci(padded, factors, num_trees=5)
    assert scores.disentanglement > 0.99
    assert scores.per_code[2:].abs().max() == 0
    torch.testing.assert_close(scores.importance.sum(0), torch.ones(2, dtype=torch.float64))


def test_quantile_bins_see_through_heavy_tails(codes, factors):
    heavy = (3 * codes["perfect"]).exp()
    width = mutual_information_gap(heavy, factors).score
    quantile = mutual_information_gap(heavy, factors, binning="quantile").score
    assert quantile > 0.9 > width


def test_quantile_bins_survive_an_atom():
    factor = torch.tensor([0, 1]).repeat(100)
    code = torch.stack([factor.double(), torch.zeros(200)], 1)
    assert mutual_information_gap(code, factor, binning="quantile").score == pytest.approx(1.0)


@pytest.mark.parametrize("rare", [200, 2000])
def test_the_accuracy_of_a_threshold_does_not_depend_on_how_frequent_the_values_are(rare):
    """The best threshold between N(0, 1) and N(2, 1) is halfway for balanced accuracy, whatever their shares."""
    factor = torch.cat([torch.zeros(4000), torch.ones(rare)]).long()
    code = torch.randn(len(factor), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    code[:, 0] += 2 * factor
    found = separated_predictability(code, factor)
    # The normal distribution function at 1. Where frequent values weigh more, rare ones are seldom found: 0.6.
    assert found.accuracy[0, 0].item() == pytest.approx(0.841, abs=0.04)
    assert found.accuracy[1, 0].item() == pytest.approx(0.5, abs=0.06)


def test_scores_repeat_and_leave_the_global_generators_alone(codes, factors):
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second = (separated_predictability(codes["rotated"], factors, seed=3) for _ in range(2))
    assert torch.equal(first.accuracy, second.accuracy)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


METRICS = [mutual_information_gap, dci, separated_predictability]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("code", "labels", "message"),
    [
        (torch.rand(8, 1), torch.zeros(8, 2).long(), "D >= 2"),
        (torch.rand(8, 2).long(), torch.zeros(8, 2).long(), "floating-point"),
        (torch.rand(8, 2).log() * torch.inf, torch.zeros(8, 2).long(), "not finite"),
        (torch.rand(8, 2), torch.zeros(7, 2).long(), r"expected \[8, K\]"),
        (torch.rand(8, 2), torch.rand(8, 2), "bin them first"),
        (torch.rand(8, 2), torch.zeros(8, 2).long(), "factor 0 is constant"),
    ],
)
def test_refusals(metric, code, labels, message):
    with pytest.raises(ValueError, match=message):
        metric(code, labels)


def test_mig_refuses_unknown_bins(codes, factors):
    with pytest.raises(ValueError, match="binning"):
        mutual_information_gap(codes["perfect"], factors, binning="even")

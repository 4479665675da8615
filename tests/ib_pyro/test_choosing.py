"""A beta from a sweep: exact curves, whose answers are known in closed form, and what is refused."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import ib_pyro
from ib_pyro.oracle import gaussian_ib

RHO = 0.9
BETAS = np.geomspace(1e-3, 0.8, 200)


def exact(betas=BETAS, seeds=(0,)):
    """The bottleneck of two Gaussian numbers with correlation RHO: distortion H(y) - I(z; y) over I(x; z)."""
    found = gaussian_ib([[1.0]], [[1.0]], [[RHO]], torch.tensor(betas))
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    frame = pd.DataFrame(
        {"beta": betas, "validation_rate": found.i_xz, "validation_distortion": entropy - found.i_zy}
    )
    return pd.concat([frame.assign(seed=seed) for seed in seeds], ignore_index=True)


@pytest.mark.parametrize("nats", [0.2, 0.7, 1.9])
def test_a_target_rate_is_met_by_the_smallest_beta_that_can(nats):
    choice = ib_pyro.choose_beta(exact(), target_rate=nats)
    # rate = log(((1 - beta) rho²) / (beta (1 - rho²))) / 2
    root = RHO**2 / (RHO**2 + math.exp(2 * nats) * (1 - RHO**2))
    assert choice.beta == BETAS[BETAS >= root][0]
    assert not choice.at_edge


@pytest.mark.parametrize("nats", [0.8, 1.0, 1.3])
def test_a_target_distortion_is_met_by_the_largest_beta_that_can(nats):
    choice = ib_pyro.choose_beta(exact(), target_error=nats, distortion="validation_distortion")
    # distortion = H(y) - log((1 - beta) / (1 - rho²)) / 2
    root = 1 - (1 - RHO**2) * math.exp(2 * (0.5 * math.log(2 * math.pi * math.e) - nats))
    assert choice.beta == BETAS[BETAS <= root][-1]


@pytest.mark.parametrize("lowest", [1e-3, 1e-2, 5e-2])
def test_the_knee_of_an_exact_curve_is_where_beta_is_the_slope_of_its_chord(lowest):
    betas = np.geomspace(lowest, 0.7, 200)
    frame = exact(betas)
    choice = ib_pyro.choose_beta(frame, knee=True)
    slope = -np.ptp(frame["validation_distortion"]) / -np.ptp(frame["validation_rate"])
    assert abs(math.log(choice.beta / slope)) <= math.log(betas[1] / betas[0])


def test_the_units_of_the_curve_do_not_move_the_knee():
    frame = exact()
    scaled = frame.assign(validation_rate=7 * frame["validation_rate"] + 3)
    assert ib_pyro.choose_beta(scaled, knee=True).beta == ib_pyro.choose_beta(frame, knee=True).beta


def test_betas_that_are_beaten_in_both_are_no_part_of_the_curve():
    # More rate and, on held-out rows, more distortion: what learns wrong labels looks so.
    frame = exact()
    worse = pd.DataFrame(
        {"beta": [1e-5, 1e-4], "validation_rate": [9.0, 8.0], "validation_distortion": [3.0, 2.5], "seed": 0}
    )
    both = pd.concat([worse, frame], ignore_index=True)
    assert ib_pyro.choose_beta(both, knee=True).beta == ib_pyro.choose_beta(frame, knee=True).beta


def sweep(errors, betas=(1e-4, 1e-3, 1e-2, 1e-1), **columns):
    """Errors are [betas][seeds]."""
    rows = [
        {"beta": beta, "seed": seed, "validation_error": value}
        for beta, values in zip(betas, errors, strict=True)
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_one_standard_error_is_that_of_the_best_over_its_seeds():
    best = [0.10, 0.12, 0.14]
    error = np.std(best, ddof=1) / math.sqrt(3)
    for offset, beta in [(0.99, 1e-2), (1.01, 1e-3)]:
        frame = sweep([[0.3] * 3, best, [0.12 + offset * error] * 3, [0.5] * 3])
        choice = ib_pyro.choose_beta(frame, one_standard_error=True)
        assert choice.beta == beta
        assert f"{0.12 + error:.4g}" in choice.why
    table = choice.table.set_index("beta")
    assert table.loc[1e-3, "error"] == pytest.approx(0.12)
    assert table.loc[1e-3, "error_se"] == pytest.approx(error)
    assert table.loc[1e-3, "seeds"] == 3
    assert table["chosen"].tolist() == [False, True, False, False]


def test_one_seed_has_no_standard_error():
    with pytest.raises(ValueError, match="the best beta, 0.001, has one seed .* or choose by target_error="):
        ib_pyro.choose_beta(sweep([[0.3], [0.1], [0.2], [0.5]]), one_standard_error=True)


def test_a_target_that_no_beta_meets_says_the_best():
    frame = sweep([[0.3], [0.1], [0.2], [0.5]])
    with pytest.raises(ValueError, match="a held-out error of 0.05; the best, 0.1, is at beta = 0.001"):
        ib_pyro.choose_beta(frame, target_error=0.05)
    with pytest.raises(
        ValueError, match=r"down to 1e-05 nats; the largest, 0.8, leaves .*: sweep larger ones"
    ):
        ib_pyro.choose_beta(
            exact(np.array([1e-2, 1e-1, 0.2, 0.8])).assign(validation_rate=[3, 2, 1, 0.5]), target_rate=1e-5
        )


def test_a_target_that_is_met_on_two_sides_is_ambiguous():
    frame = sweep([[0.1], [0.3], [0.1], [0.5]])
    with pytest.raises(
        ValueError,
        match=r"at beta = 0.0001 and beta = 0.01, and beyond .* \(0.3 at beta = 0.001\)",
    ):
        ib_pyro.choose_beta(frame, target_error=0.2)
    # Within its own error such a beta may be within the target too.
    noisy = sweep([[0.1, 0.1], [0.12, 0.3], [0.1, 0.1], [0.5, 0.5]])
    assert ib_pyro.choose_beta(noisy, target_error=0.2).beta == 1e-2
    rates = exact().assign(validation_rate=lambda f: np.where(f.index == 190, 3.0, f["validation_rate"]))
    with pytest.raises(ValueError, match="below 1 nats at .* and above it again at"):
        ib_pyro.choose_beta(rates, target_rate=1.0)


def test_a_line_has_no_knee_and_two_knees_are_not_one():
    line = {"beta": [1, 2, 3, 4], "validation_rate": [3, 2, 1, 0], "validation_distortion": [0, 1, 2, 3]}
    with pytest.raises(ValueError, match="the held-out curve has no knee: it bends from its chord by "):
        ib_pyro.choose_beta(line, knee=True)
    two = {"validation_rate": [10, 5, 4, 1, 0], "validation_distortion": [0, 1, 3.9, 5, 10]}
    with pytest.raises(ValueError, match="two knees that are as sharp, at beta = 2 and beta = 4"):
        ib_pyro.choose_beta({"beta": [1, 2, 3, 4, 5], **two}, knee=True)
    with pytest.raises(ValueError, match="needs three betas or more .* there are 2"):
        ib_pyro.choose_beta(
            {"beta": [1, 2], "validation_rate": [1, 0], "validation_distortion": [0, 1]}, knee=True
        )


def test_a_choice_at_the_edge_says_so():
    choice = ib_pyro.choose_beta(sweep([[0.3], [0.1], [0.1], [0.1]]), target_error=0.2)
    assert choice.at_edge
    assert "a wider one may go further" in choice.why
    assert str(choice).startswith("beta = 0.1: the largest beta whose held-out error is at most 0.2, of 4:")
    assert ib_pyro.choose_beta(exact(), target_rate=50.0).at_edge


def test_runs_that_diverged_are_left_out_by_name():
    frame = sweep([[0.3, 0.3], [0.1, 0.1], [0.1, np.nan], [0.1, 0.1]], diverged=False)
    frame.loc[frame["beta"] == 1e-1, "diverged"] = True
    choice = ib_pyro.choose_beta(frame, target_error=0.2)
    assert choice.beta == 1e-3
    assert "Left out for runs that diverged: 0.01, 0.1." in choice.why
    assert choice.at_edge
    with pytest.raises(ValueError, match="every beta of the sweep has a run that diverged"):
        ib_pyro.choose_beta(frame.assign(diverged=True), target_error=0.2)


def test_columns_of_the_training_set_are_never_chosen_by():
    frame = sweep([[0.3], [0.1], [0.2], [0.5]]).rename(columns={"validation_error": "train_error"})
    with pytest.raises(ValueError, match="error: no column of held-out rows, such as 'validation_error'"):
        ib_pyro.choose_beta(frame, target_error=0.2)
    with pytest.raises(ValueError, match="error='train_error': it is of the training set"):
        ib_pyro.choose_beta(frame, target_error=0.2, error="train_error")


def test_columns_without_a_prefix_are_held_out_if_the_table_or_the_user_says_so():
    frame = sweep([[0.3], [0.1], [0.2], [0.5]]).rename(columns={"validation_error": "error"})
    with pytest.raises(
        ValueError, match="column 'error' may be of the training set; .* say so: error='error'"
    ):
        ib_pyro.choose_beta(frame, target_error=0.2)
    assert ib_pyro.choose_beta(frame, target_error=0.2, error="error").beta == 1e-2
    frame.attrs["held_out"] = True
    assert ib_pyro.choose_beta(frame, target_error=0.2).beta == 1e-2
    frame.attrs["held_out"] = False
    with pytest.raises(ValueError, match="column 'error' is of the training set; sweep with validation="):
        ib_pyro.choose_beta(frame, target_error=0.2)


def test_the_test_set_is_used_on_demand_alone_and_one_of_several_columns_is_named():
    frame = sweep([[0.3], [0.1], [0.2], [0.5]]).rename(columns={"validation_error": "test_error"})
    with pytest.raises(ValueError, match="there is 'test_error' alone, which is no longer a test once"):
        ib_pyro.choose_beta(frame, target_error=0.2)
    assert ib_pyro.choose_beta(frame, target_error=0.2, error="test_error").beta == 1e-2
    several = frame.assign(validation_error_noisy=0.1, validation_error_deterministic=0.2)
    with pytest.raises(ValueError, match=r"columns \['validation_error_noisy', .* name one, as error="):
        ib_pyro.choose_beta(several, target_error=0.2)
    assert (
        "validation_error_noisy"
        in ib_pyro.choose_beta(frame.assign(validation_error_noisy=0.1), target_error=0.2).why
    )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {}, "pass one rule of .*; got none"),
        ({}, {"knee": True, "target_rate": 1.0}, "got target_rate and knee"),
    ],
    ids=["none", "two"],
)
def test_one_rule_is_given(change, options, message):
    with pytest.raises(TypeError, match=message):
        ib_pyro.choose_beta(exact().assign(**change), **options)


def test_tables_that_are_no_sweep_are_refused():
    with pytest.raises(ValueError, match="several rows of {'beta': .*, 'seed': .*}, so that more than"):
        ib_pyro.choose_beta(pd.concat([exact(), exact()]), knee=True)
    with pytest.raises(ValueError, match="one for each site, ..beta/z1..,"):
        ib_pyro.choose_beta(exact().rename(columns={"beta": "beta/z1"}), knee=True)
    with pytest.raises(ValueError, match="needs a column 'beta', per sample; it has none"):
        ib_pyro.choose_beta(exact().drop(columns="beta"), knee=True)
    with pytest.raises(ValueError, match="beta: -1.0 is no weight of a rate"):
        ib_pyro.choose_beta(exact().assign(beta=-1.0), knee=True)
    with pytest.raises(
        ValueError, match="error='validation_eror' is unknown; did you mean 'validation_error'"
    ):
        ib_pyro.choose_beta(sweep([[0.3], [0.1], [0.2], [0.5]]), target_error=0.2, error="validation_eror")


def test_the_table_that_was_passed_is_left_as_it_is():
    frame = exact(seeds=(0, 1))
    before = frame.copy()
    ib_pyro.choose_beta(frame, knee=True)
    pd.testing.assert_frame_equal(frame, before)


def test_a_sweep_of_programs_is_chosen_from_if_it_had_a_validation_set():
    def make_program():
        return ib_pyro.Bottleneck(ib_pyro.nn.InformationDropout.linear(4, 3), torch.nn.Linear(3, 2))

    x = torch.randn(60, 4)
    data, held_out = (x[:40], (x[:40, 0] > 0).long()), (x[40:], (x[40:, 0] > 0).long())
    options = {"betas": (1e-3, 1e-2), "seeds": (0, 1), "epochs": 1, "batch_size": 20}
    frame = ib_pyro.sweep(make_program, data, validation=held_out, **options)
    assert ib_pyro.choose_beta(frame, target_error=1.0).beta == 1e-2
    with pytest.raises(ValueError, match="column 'error' is of the training set; sweep with validation="):
        ib_pyro.choose_beta(ib_pyro.sweep(make_program, data, **options), target_error=1.0)


def test_two_columns_of_held_out_errors_are_refused():
    frame = pd.DataFrame(
        {
            "beta": [0.1, 0.2, 0.3],
            "validation_error": [0.1, 0.1, 0.3],
            "held_out_error": [0.1, 0.3, 0.3],
        }
    )
    with pytest.raises(ValueError, match=r"error: columns \['validation_error', 'held_out_error'\]"):
        ib_pyro.choose_beta(frame, target_error=0.2)
    assert ib_pyro.choose_beta(frame, target_error=0.2, error="held_out_error").beta == 0.1


def test_a_standard_error_is_no_error():
    frame = pd.DataFrame(
        {
            "beta": [0.1, 0.2],
            "validation_distortion": [80.0, 90.0],
            "validation_importance_weighted_standard_error": [0.5, 0.5],
        }
    )
    assert ib_pyro.choose_beta(frame, target_error=85.0).beta == 0.1


def test_a_column_that_is_not_there_is_refused_whether_or_not_the_rule_asks_for_it():
    frame = pd.DataFrame({"beta": [0.1, 0.2], "validation_rate": [20.0, 10.0]})
    with pytest.raises(ValueError, match="error='nonsense' is unknown"):
        ib_pyro.choose_beta(frame, target_rate=15.0, error="nonsense")

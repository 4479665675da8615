"""The presets are those that the paper prints, and those of its code."""

from pathlib import Path

import pandas as pd
import pytest

from inference.studies.paper.figures import FIGURES, figure, figures_of
from inference.studies.paper.plan import FRESH, PRESETS, TRIALS
from inference.studies.paper.statistics import read_rows

NUMBERS = Path(__file__).parents[4] / "inference" / "figures"

CIFAR = ("fig1", "fig3b", "fig4", "fig5", "fig6")


@pytest.mark.parametrize("name", CIFAR)
def test_the_papers_optimiser(name):
    for planned in figure(name).plan("paper"):
        training, data = planned.spec.training, planned.spec.data
        assert (training.optimizer, training.nesterov, training.lr) == ("sgd", False, 0.1)
        assert (training.epochs, training.lr_drops, training.lr_factor) == (160, (80, 120), 0.1)
        assert training.weight_decay == 1e-3
        assert data.limit is None
        assert data.whiten


@pytest.mark.parametrize("name", ["fig1", "fig3b", "fig5"])
def test_the_optimiser_of_the_authors_code(name):
    for planned in figure(name).plan("code"):
        training = planned.spec.training
        assert (training.optimizer, training.nesterov, training.lr) == ("sgd", True, 0.05)
        assert (training.epochs, training.lr_drops) == (200, (80, 120, 160))
        assert training.weight_decay == 1e-3
        assert planned.spec.program.variant == "authors"
        assert not training.steady_priors


def test_cluttered_digits_as_in_the_authors_code():
    for planned in figure("fig2").plan("code"):
        training, program = planned.spec.training, planned.spec.program
        assert (training.lr, training.lr_drops, training.epochs, training.batch_size) == (
            0.01,
            (30, 60),
            80,
            128,
        )
        assert (training.nesterov, training.weight_decay) == (True, 0.0)
        assert (program.variant, program.alpha_max) == ("authors", 1.0)


def test_the_paper_fits_all_training_images_where_nothing_is_chosen():
    for name in figures_of("paper"):
        for planned in figure(name).plan("paper"):
            data = planned.spec.data
            assert data.holdout == (0 if data.validation_limit == 0 else None), planned.key


def test_what_is_in_no_code_has_no_preset_of_it():
    assert figures_of("code") == ["fig1", "fig2", "fig3b", "fig5"]
    of_the_paper = [name for name in FIGURES if not name.startswith("panel")]
    assert figures_of("small") == figures_of("paper") == of_the_paper
    assert figures_of("definitive") == FIGURES
    with pytest.raises(ValueError, match="fig4 has no preset 'code'"):
        figure("fig4").size("code")
    with pytest.raises(ValueError, match="smoke"):
        figure("fig4").size("smoky")


@pytest.mark.parametrize("preset", PRESETS)
def test_runs_differ_in_their_names(preset):
    for name in figures_of(preset):
        plan = figure(name).plan(preset)
        assert len({planned.spec.name for planned in plan}) == len(plan)


def definitive(name):
    """All runs of a figure's definitive preset, once the smallest of each method's strengths was chosen."""
    shown = figure(name)
    rows = [
        {"stage": "choice", "dropout": run.program.dropout, "setting": run.strength, "size": run.program.size}
        | {"validation_error_deterministic": run.strength}
        for run in (planned.spec for planned in shown.plan("definitive"))
    ]
    return shown.plan("definitive", pd.DataFrame(rows))


def test_no_seed_of_the_definitive_preset_was_ever_run():
    """Other presets and what is committed of them have other seeds; what chooses a strength has others again."""
    others = {
        seed
        for name in FIGURES
        for preset, size in figure(name).sizes.items()
        if preset != "definitive"
        for seed in size.seeds
    }
    seen = others | {
        int(seed)
        for path in NUMBERS.glob("*.csv")
        for rows in [read_rows(path)]
        if set(rows["preset"]) != {"definitive"}
        for seed in rows["seed"].dropna()
    }
    assert seen
    assert not seen & {*FRESH, *TRIALS}
    for name in FIGURES:
        for planned in definitive(name):
            choice = planned.labels.get("stage") == "choice"
            assert planned.spec.training.seed in (TRIALS if choice else FRESH), planned.key
            # On the test images nothing is chosen.
            assert not choice or planned.spec.data.limits["validation"] != 0


@pytest.mark.parametrize("name", FIGURES)
def test_a_part_of_the_seeds_is_a_smaller_study(name):
    """Whoever stops after any seed has all runs of the seeds before it."""
    later = [
        each for each in definitive(name) if each.labels.get("stage") not in ("choice", "without batch norm")
    ]
    seeds = [
        each.spec.training.seed
        for each in later
        if each.spec.program.size not in figure(name).size("definitive").once
    ]
    assert seeds == sorted(seeds)
    assert len({seeds.count(seed) for seed in seeds}) == 1
    assert len(set(seeds)) == len(figure(name).size("definitive").seeds) >= 3


def test_the_definitive_sizes():
    spec = {name: [each.spec for each in definitive(name)] for name in FIGURES}
    assert {run.training.lr_drops for run in spec["fig3a"]} == {(30, 70)}
    assert len({run.training.seed for run in spec["fig3a"]} - {*TRIALS}) == 12
    for name in ("fig3b", "fig4", "fig5"):
        for run in spec[name]:
            assert (run.program.fraction, run.data.limit) == (0.25, 2000)
            assert (run.training.epochs, run.training.lr_drops) == (40, (20, 30))
    assert {run.program.fraction for run in spec["fig6"]} == {0.125, 0.25, 0.5}
    assert {(run.data.holdout, run.data.limit, run.training.epochs) for run in spec["table1"]} == {
        (0, None, 100)
    }
    assert [(run.program.k, run.training.seed) for run in spec["table1"][-4:]] == [
        (2, 101),
        (2, 101),
        (3, 101),
        (3, 101),
    ]
    assert {(run.data.wrong_labels, run.data.limit) for run in spec["panel1"]} == {(0.4, 4000)}
    assert all(run.data.data_seed == run.training.seed for run in spec["panel1"])
    assert [run.program.atom for run in spec["fig2"][:4]] == ["exact", "exact", "exact", "ignore"]


def test_methods_of_the_panel_have_one_strength_or_one_for_each_width():
    shown, rows = figure("panel1"), []
    best = {12: 1.0, 24: 1.0, 40: 10.0, 72: 10.0, 128: 10.0}
    for run in (planned.spec for planned in shown.plan("definitive")):
        error = (
            abs(run.strength - best[run.program.hidden])
            if run.program.dropout == "information"
            else run.strength
        )
        rows.append(
            {
                "stage": "choice",
                "dropout": run.program.dropout,
                "setting": run.strength,
                "size": run.program.size,
            }
            | {"validation_error_deterministic": error}
        )
    assert [each.labels["stage"] for each in shown.plan("definitive", pd.DataFrame(rows[:-1]))] == [
        "choice"
    ] * len(rows)
    plan = shown.plan("definitive", pd.DataFrame(rows))
    chosen = {stage: {} for stage in ("full", "own")}
    for each in plan[len(rows) :]:
        if each.spec.program.dropout == "information":
            chosen[each.labels["stage"]][each.spec.program.hidden] = each.spec.strength
    assert chosen == {"full": dict.fromkeys(best, 10.0), "own": best}

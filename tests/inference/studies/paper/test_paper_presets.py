"""The presets are those that the paper prints, and those of its code."""

import pytest

from inference.studies.paper.figures import FIGURES, figure, figures_of
from inference.studies.paper.plan import PRESETS

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


def test_the_paper_fits_all_training_images_where_nothing_is_chosen():
    for name in FIGURES:
        for planned in figure(name).plan("paper"):
            data = planned.spec.data
            assert data.holdout == (0 if data.validation_limit == 0 else None), planned.key


def test_what_is_in_no_code_has_no_preset_of_it():
    assert figures_of("code") == ["fig1", "fig3b", "fig5"]
    assert figures_of("small") == FIGURES
    with pytest.raises(ValueError, match="fig4 has no preset 'code'"):
        figure("fig4").size("code")
    with pytest.raises(ValueError, match="smoke"):
        figure("fig4").size("smoky")


@pytest.mark.parametrize("preset", PRESETS)
def test_runs_differ_in_their_names(preset):
    for name in figures_of(preset):
        plan = figure(name).plan(preset)
        assert len({planned.spec.name for planned in plan}) == len(plan)

"""The presets are those that the paper prints, and those of its code."""

import pytest

from inference.paper.presets import PRESETS, figures_of, preset_size
from inference.paper.runner import FIGURES, figure_module

CIFAR = ("fig1", "fig3b", "fig4", "fig5", "fig6")


@pytest.mark.parametrize("figure", CIFAR)
def test_the_papers_optimiser(figure):
    for run in figure_module(figure).runs("paper", []):
        assert (run.optimizer, run.nesterov, run.lr) == ("sgd", False, 0.1)
        assert (run.epochs, run.drops) == (160, (80, 120))
        assert run.weight_decay == 1e-3
        assert run.train_images is None
        assert run.whiten


@pytest.mark.parametrize("figure", ["fig1", "fig3b", "fig5"])
def test_the_optimiser_of_the_authors_code(figure):
    for run in figure_module(figure).runs("code", []):
        assert (run.optimizer, run.nesterov, run.lr) == ("sgd", True, 0.05)
        assert (run.epochs, run.drops) == (200, (80, 120, 160))
        assert run.weight_decay == 1e-3


def test_the_paper_fits_all_training_images_where_nothing_is_chosen():
    for figure in FIGURES:
        for run in figure_module(figure).runs("paper", []):
            assert run.holdout == (0 if run.validation_images == 0 else None), run.name


def test_what_is_in_no_code_has_no_preset_of_it():
    assert figures_of("code") == ["fig1", "fig3b", "fig5"]
    assert figures_of("small") == list(FIGURES)
    with pytest.raises(ValueError, match="fig4 has no preset 'code'"):
        preset_size("fig4", "code")
    with pytest.raises(ValueError, match="smoke"):
        preset_size("fig4", "smoky")


@pytest.mark.parametrize("preset", PRESETS)
def test_runs_differ_in_their_names(preset):
    for figure in figures_of(preset):
        runs = figure_module(figure).runs(preset, [])
        assert len({run.name for run in runs}) == len(runs)

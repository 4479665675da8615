"""The history of a fit: which column is which line, and what a table lacks."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from ib_pyro import Bottleneck, fit
from ib_pyro.nn import InformationDropout
from ib_pyro.plots import plot_training


@pytest.fixture
def history():
    return pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "loss": [3.0, 2.0, 1.5],
            "distortion": [2.5, 1.5, 1.0],
            "rate": [10.0, 8.0, 6.0],
            "rate/z1": [6.0, 5.0, 4.0],
            "rate/z2": [4.0, 3.0, 2.0],
            "train_error": [0.5, 0.25, 0.125],
            "validation_loss": [2.0, 1.8, 1.9],
            "validation_distortion": [1.7, 1.6, 1.7],
            "validation_rate": [9.0, 7.0, 5.0],
            "validation_error": [0.6, 0.5, 0.4],
        }
    )


def drawn(ax):
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines}


def test_each_panel_holds_its_columns_over_the_epochs(history):
    loss, distortion, rate, error = plot_training(history, panels=("loss", "distortion", "rate", "error"))
    assert drawn(loss) == {"minimised": [3.0, 2.0, 1.5], "held out": [2.0, 1.8, 1.9]}
    assert drawn(distortion) == {"training": [2.5, 1.5, 1.0], "held out": [1.7, 1.6, 1.7]}
    assert drawn(rate) == {
        "training": [10.0, 8.0, 6.0],
        "held out": [9.0, 7.0, 5.0],
        "training, z1": [6.0, 5.0, 4.0],
        "training, z2": [4.0, 3.0, 2.0],
    }
    assert drawn(error) == {"training": [50.0, 25.0, 12.5], "held out": [60.0, 50.0, 40.0]}
    assert all(
        list(line.get_xdata()) == [1, 2, 3] for ax in (loss, distortion, rate, error) for line in ax.lines
    )
    assert [ax.get_ylabel() for ax in (loss, error)] == ["loss [nats per sample]", "error [%]"]
    assert loss.get_xlabel() == "epoch"


def test_sites_are_told_apart_and_a_single_one_is_the_rate_itself(history):
    history["rate/z3"] = 0.0
    (rate,) = plot_training(history, panels=["rate"])
    styles = {str(handle.get_linestyle()) + str(handle._dash_pattern) for handle in rate.lines[2:]}
    assert len(styles) == 3
    (alone,) = plot_training(history.drop(columns=["rate/z2", "rate/z3"]), panels=["rate"])
    assert set(drawn(alone)) == {"training", "held out"}


def test_without_held_out_data_and_schedules_there_are_no_such_lines(history):
    history = history.filter(regex="^(?!validation)")
    assert set(drawn(plot_training(history)[0])) == {"minimised"}
    history["lagrangian"] = [4.0, 3.0, 2.0]
    assert drawn(plot_training(history)[0])["at the target weights"] == [4.0, 3.0, 2.0]


def test_the_kept_epoch_is_marked_in_every_panel(history):
    for ax in plot_training(history, kept_epoch=2):
        assert list(ax.lines[-1].get_xdata()) == [2, 2]
        assert ax.get_legend().get_texts()[-1].get_text() == "kept: epoch 2"


def test_draws_into_the_axes_given_or_makes_one_a_panel(history):
    given = Figure().subplots(1, 3)
    assert plot_training(history, axes=given) == list(given)
    first, second = plot_training(history), plot_training(history)
    assert len({ax.figure for ax in first}) == 1
    assert first[0].figure is not second[0].figure


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda h: h.iloc[:0], {}, "history: a table without rows"),
        (lambda h: h.drop(columns="rate"), {}, "history: no column 'rate', only .*or leave the panel out"),
        (lambda h: h.drop(columns="epoch"), {}, "no column 'epoch'"),
        (lambda h: h.assign(rate=np.inf), {}, r"history\['rate'\]: 3 of 3 values are infinite, first \[0\]"),
        (lambda h: h.assign(epoch=[1, 2, np.nan]), {}, r"history\['epoch'\]: 1 of 3 values are NaN"),
        (lambda h: pd.concat([h, h]), {}, "history: epoch 1 stands in 2 rows; pass the rows of one run"),
        (lambda h: h, {"panels": ["los"]}, "panels='los' is unknown; did you mean 'loss'"),
        (lambda h: h, {"panels": []}, "panels: empty"),
        (lambda h: h, {"panels": ["loss"], "axes": Figure().subplots(1, 2)}, "axes: 2 for 1 panels"),
    ],
    ids=[
        "empty",
        "no rate",
        "no epoch",
        "infinite",
        "epoch missing",
        "two runs",
        "unknown panel",
        "no panel",
        "too many axes",
    ],
)
def test_what_cannot_be_drawn_is_refused(history, change, options, said):
    with pytest.raises(ValueError, match=said):
        plot_training(change(history), **options)


def test_takes_what_a_fit_returns():
    torch.manual_seed(0)
    layers = nn.Sequential(InformationDropout.linear(4, 3), InformationDropout.linear(3, 3))
    program, x, y = Bottleneck(layers, nn.Linear(3, 2)), torch.rand(20, 4), torch.randint(2, (20,))
    found = fit(program, (x, y), beta=0.1, epochs=3, warm_up=2, validation=(x, y), patience=1, progress=False)
    loss, _, rate, error = plot_training(
        found.history, panels=("loss", "distortion", "rate", "error"), kept_epoch=found.kept_epoch
    )
    assert {"minimised", "at the target weights", "held out"} <= set(drawn(loss))
    assert {"training", "held out", "training, z1", "training, z2"} <= set(drawn(rate))
    np.testing.assert_allclose(drawn(error)["training"], 100 * found.history["train_error"])
    for direct, made in zip(
        plot_training(found), plot_training(found.history, kept_epoch=found.kept_epoch), strict=True
    ):
        assert drawn(direct) == drawn(made)
    plain = fit(program, (x, y), beta=0.1, epochs=2, progress=False)
    assert not any(label.startswith("kept") for label in drawn(plot_training(plain)[0]))


def test_a_line_goes_through_the_epochs_that_have_a_value_and_counts_them(history):
    history.loc[1, "validation_loss"] = np.nan
    history["validation_error"] = None
    loss, error = plot_training(history, panels=["loss", "error"])
    assert drawn(loss) == {"minimised": [3.0, 2.0, 1.5], "held out, 2 of 3 epochs": [2.0, 1.9]}
    assert list(loss.lines[1].get_xdata()) == [1, 3]
    assert drawn(error) == {"training": [50.0, 25.0, 12.5], "held out, 0 of 3 epochs": []}


def test_numbers_that_a_file_left_as_text_are_numbers(history):
    (loss,) = plot_training(history.astype(str), panels=["loss"])
    assert drawn(loss)["minimised"] == [3.0, 2.0, 1.5]
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3]


def test_a_single_epoch_is_a_whole_number(history):
    (loss,) = plot_training(history[:1], panels=["loss"])
    assert [tick for tick in loss.get_xticks() if 0.9 < tick < 1.1] == [1]

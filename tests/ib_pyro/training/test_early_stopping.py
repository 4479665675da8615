"""A fit stops when held-out data gain nothing more, at the target weights only, and ends as its best epoch."""

import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ib_pyro import InformationBottleneckELBO, fit
from ib_pyro.elbo.schedules import cyclical, linear_warm_up
from ib_pyro.training import Trainer
from ib_pyro.training.early_stopping import best_epoch, epochs_without_gain, outlasted, settled

OPTIONS = {"batch_size": 32, "lr": 0.02, "progress": False}


def rows(values):
    return [{"validation_loss": value} for value in values]


def always(_epoch):
    return True


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 6))
def test_the_best_epoch_is_the_first_least_of_those_that_count(values, ramp):
    def counts(epoch):
        return epoch > ramp

    best = best_epoch(rows(values), "validation_loss", counts)
    late = values[ramp:]
    if not late:
        assert best is None
        assert epochs_without_gain(rows(values), "validation_loss", counts) == 0
        return
    assert best == ramp + 1 + late.index(min(late))
    assert epochs_without_gain(rows(values), "validation_loss", counts) == len(values) - best


def test_weights_are_settled_where_the_last_step_of_an_epoch_has_the_target():
    steps, targets = 4, {"beta": 2.0}
    ramp = {"beta": partial(linear_warm_up, target=2.0, warm_up=3)}
    # The last step of epoch e is taken at e - 1/4 finished epochs.
    assert [settled(epoch, steps, ramp, targets) for epoch in (1, 2, 3, 4, 5)] == [False] * 3 + [True] * 2
    waves = {"beta": partial(cyclical, target=2.0, period=4, ramp=0.5)}
    assert [settled(epoch, steps, waves, targets) for epoch in range(1, 9)] == [False, False, True, True] * 2
    by_site = {"beta": lambda epoch: {"a": min(epoch, 1.0), "b": torch.tensor(0.5)}}
    both = {"beta": {"a": 1.0, "b": torch.tensor(0.5)}}
    assert [settled(epoch, steps, by_site, both) for epoch in (1, 2)] == [False, True]
    assert settled(1, steps, {}, {})


def test_a_weight_that_does_not_arrive_is_named_with_its_value():
    ramp = {"beta": partial(linear_warm_up, target=2.0, warm_up=8)}
    message = outlasted(4, 2, ramp, {"beta": 2.0})
    assert message.startswith("schedules: beta is 0.875 at the last step of 4 epochs, and its target is 2")
    assert outlasted(9, 2, ramp, {"beta": 2.0}) is None


def test_a_warm_up_that_outlasts_the_fit_warns_before_it(stripes, build):
    seen = []
    with pytest.warns(UserWarning, match="beta is .* at the last step of 2 epochs, and its target is 0.5"):
        fit(
            build(),
            stripes,
            epochs=2,
            beta=0.5,
            warm_up=10,
            on_epoch=lambda rows: seen.append(len(rows)),
            **OPTIONS,
        )
    assert seen == [1, 2]
    with pytest.warns(UserWarning, match="its target is"):
        trainer = Trainer(build(), stripes, epochs=2, beta=0.5, warm_up=10, **OPTIONS)
    assert trainer.rows == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(build(), stripes, epochs=3, beta=0.5, warm_up=2, **OPTIONS)


def test_warm_up_is_the_straight_line(stripes, build):
    torch.manual_seed(0)
    short = fit(build(), stripes, epochs=4, beta=0.5, warm_up=2, **OPTIONS)
    torch.manual_seed(0)
    schedule = partial(linear_warm_up, target=0.5, warm_up=2)
    long = fit(build(), stripes, epochs=4, beta=0.5, schedules={"beta": schedule}, **OPTIONS)
    assert [row["loss"] for row in short.rows] == [row["loss"] for row in long.rows]
    assert short.rows[0]["beta"] == pytest.approx(0.5 * (1 - 1 / 3) / 2)
    assert short.rows[-1]["beta"] == 0.5
    torch.manual_seed(0)
    parts = fit(build(), stripes, epochs=4, beta={"z1": 0.5, "z2": 0.5, "z3": 0.5}, warm_up=2, **OPTIONS)
    assert parts.rows[-1]["loss"] == pytest.approx(short.rows[-1]["loss"], rel=1e-6)


def overfitting(stripes):
    """Ten samples to fit, with a third of the labels wrong, and all the others held out."""
    y = stripes.y.clone()
    y[:15:3] = (y[:15:3] + 1) % 3
    return (
        SimpleNamespace(x=stripes.x[:15], y=y[:15]),
        SimpleNamespace(x=stripes.x[15:], y=stripes.y[15:]),
    )


def test_it_stops_and_ends_as_the_best_epoch(stripes, build):
    train, held_out = overfitting(stripes)
    options = {"beta": 0.0, "batch_size": 15, "lr": 0.05, "progress": False, "validation": held_out}
    states, program = {}, build(dropout="none")

    def note(rows):
        states[len(rows)] = {name: value.clone() for name, value in program.state_dict().items()}

    found = fit(program, train, epochs=200, patience=7, on_epoch=note, **options)
    losses = [row["validation_loss"] for row in found.rows]
    best = 1 + losses.index(min(losses))
    assert found.epochs == best + 7 < 200
    assert found.best_epoch == found.kept_epoch == best
    assert found.stopped == f"validation_loss has not fallen for 7 epochs, since epoch {best}"
    for name, value in program.state_dict().items():
        assert torch.equal(value, states[best][name]), name
    unstopped = fit(build(dropout="none"), train, epochs=3, **options)
    assert unstopped.kept_epoch == 3
    assert unstopped.stopped == "all 3 epochs are done"


def test_patience_ends_with_the_best_also_where_the_epochs_run_out(stripes, build):
    train, held_out = overfitting(stripes)
    program = build(dropout="none", batch_norm=False)
    options = {"beta": 0.0, "batch_size": 15, "lr": 0.3, "progress": False, "validation": held_out}
    found = fit(program, train, epochs=30, patience=30, **options)
    losses = [row["validation_loss"] for row in found.rows]
    assert found.kept_epoch == 1 + losses.index(min(losses)) < 30
    again = fit(program, held_out, epochs=1, beta=0.0, lr=1e-12, validation=held_out, progress=False)
    assert again.rows[0]["validation_loss"] == pytest.approx(min(losses), rel=1e-4)


def test_nothing_counts_before_the_weights_are_at_their_targets(stripes, build):
    """Under a warm-up the loss at the target weights rises: by itself that would stop the fit at once."""
    options = {**OPTIONS, "validation": stripes, "patience": 2, "beta": 1.0}
    found = fit(build(), stripes, epochs=40, warm_up=12, **options)
    assert found.epochs > 12
    assert found.best_epoch > 12


def test_what_is_monitored_is_the_lagrangian_at_the_targets(stripes, build):
    found = fit(build(), stripes, epochs=3, beta=0.5, warm_up=2, validation=stripes, **OPTIONS)
    for row in found.rows:
        total = row["validation_distortion"] + 0.5 * row["validation_rate"]
        assert row["validation_loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("monitor", ["distortion", "error"])
def test_other_numbers_may_be_monitored(stripes, build, monitor):
    found = fit(
        build(), stripes, epochs=30, beta=0.01, validation=stripes, patience=2, monitor=monitor, **OPTIONS
    )
    values = [row[f"validation_{monitor}"] for row in found.rows]
    assert found.best_epoch == 1 + values.index(min(values))


def test_a_stopped_fit_is_resumed_to_the_same_end_and_goes_on_with_more_patience(stripes, build, tmp_path):
    train, held_out = overfitting(stripes)
    options = {"beta": 0.0, "batch_size": 15, "lr": 0.05, "progress": False, "validation": held_out}
    options |= {"epochs": 200, "out": tmp_path}
    first, again, on = build(dropout="none"), build(dropout="none"), build(dropout="none")
    found = fit(first, train, patience=7, **options)
    same = fit(again, train, patience=7, resume=True, **options)
    assert (same.epochs, same.stopped, same.kept_epoch) == (found.epochs, found.stopped, found.kept_epoch)
    for name, value in again.state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name
    longer = fit(on, train, patience=9, resume=True, **options)
    assert longer.epochs == found.epochs + 2
    assert longer.best_epoch == found.best_epoch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 3}, "patience=3 waits for a gain on held-out data; pass them as validation="),
        ({"patience": 0, "validation": 1}, "patience must be at least 1; got 0"),
        ({"monitor": "accuracy"}, "monitor.*'accuracy'"),
        ({"warm_up": -1.0}, "warm_up must be a finite number of epochs, at least 0"),
        ({"warm_up": 1.0, "schedules": {"beta": float}}, "both move beta"),
        ({"elbo": InformationBottleneckELBO(), "beta": 1.0}, "both weigh the rate"),
        ({"optimizer": torch.optim.SGD, "lr": 0.1}, "lr=0.1 goes with an optimizer by name"),
        ({"resume": True}, "resume=True goes on from a checkpoint; pass out="),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
    ],
)
def test_options_that_do_not_go_together(stripes, build, options, message):
    with pytest.raises(ValueError, match=message):
        fit(build(), stripes, **{"epochs": 2, "progress": False, **options})


def test_gamma_has_no_held_out_loss(stripes, build):
    elbo = InformationBottleneckELBO(beta=0.1, gamma={"z3": 0.1})
    options = {"epochs": 1, "elbo": elbo, "validation": stripes, "batch_size": 45, "progress": False}
    row = fit(build(), stripes, **options).rows[0]
    assert "validation_loss" not in row
    assert "validation_distortion" in row
    with pytest.raises(ValueError, match="patience: with gamma the loss has a total correlation"):
        fit(build(), stripes, patience=2, **options)

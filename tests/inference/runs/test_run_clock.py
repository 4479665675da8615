"""The time left follows from the work left, epochs within a run included."""

import io

import pytest
from rich.console import Console

from inference.runs.run_clock import RunClock
from inference.runs.spec import RunSpec


@pytest.fixture
def job(tmp_path):
    """A run and its folder."""

    def make(seed=0, **changes):
        options = {"model": "all-cnn-32", "data": "cifar10", "fraction": 0.25, "beta_paper": 1.0}
        spec = RunSpec.of(**{**options, "epochs": 10, "seed": seed, **changes})
        return spec, tmp_path / spec.name

    return make


@pytest.fixture
def time():
    return [0.0]


@pytest.fixture
def text():
    return io.StringIO()


@pytest.fixture
def clock(time, text):
    def make(runs, done=0):
        return RunClock("fig4", runs, done, Console(file=text), now=lambda: time[0])

    return make


def note_epochs(folder, epochs):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text("epoch\n" + "".join(f"{i + 1}\n" for i in range(epochs)))


def last(text):
    return text.getvalue().splitlines()[-1]


def test_equal_runs_take_equal_times(job, clock, time, text):
    runs = [job(seed) for seed in range(3)]
    watch = clock(runs, done=2)
    assert last(text) == "fig4: 2 of 5 runs were done before"
    time[0] = 600.0
    watch.finished(runs[0][1])
    assert last(text).startswith("fig4: 3 of 5 runs done, about 20.0 minutes left")
    watch.finished(runs[1][1])
    watch.finished(runs[2][1])
    assert "left" not in last(text)


def test_a_longer_run_counts_for_more(job, clock, time, text):
    short, long = job(1), job(epochs=30)
    watch = clock([short, long])
    time[0] = 60.0
    watch.finished(short[1])
    assert "about 3.0 minutes left" in last(text)


def test_between_the_ends_of_runs_their_epochs_count(job, clock, time, text):
    first, second = job(0), job(1)
    watch = clock([first, second])
    watch.going_on()
    assert "epoch" not in last(text)
    note_epochs(first[1], 5)
    time[0] = 300.0
    watch.going_on()
    # A quarter of the work in five minutes.
    assert "0 of 2 runs done, about 15.0 minutes left: epoch 5 of 10" in last(text)


def test_what_an_interrupted_run_had_done_does_not_speed_up_the_forecast(job, clock, time, text):
    first, second = job(0), job(1)
    note_epochs(first[1], 8)
    watch = clock([first, second])
    time[0] = 120.0
    watch.finished(first[1])
    # Two epochs in two minutes: ten more take ten.
    assert "about 10.0 minutes left" in last(text)

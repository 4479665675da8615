"""The time left follows from the work left, epochs within a run included."""

import io

import pytest
from rich.console import Console

from inference.paper.clock import RunClock
from inference.paper.run import PaperRun, Place


def run(seed, **changes):
    return PaperRun(model="all-cnn-32", data="cifar10", size=0.25, epochs=10, seed=seed, **changes)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def time():
    return [0.0]


@pytest.fixture
def text():
    return io.StringIO()


@pytest.fixture
def clock(place, time, text):
    def make(runs, done=0):
        return RunClock("fig4", runs, done, place, Console(file=text), now=lambda: time[0])

    return make


def note_epochs(place, run, epochs):
    folder = place.folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text("epoch\n" + "".join(f"{i + 1}\n" for i in range(epochs)))


def last(text):
    return text.getvalue().splitlines()[-1]


def test_equal_runs_take_equal_times(clock, time, text):
    runs = [run(seed) for seed in range(3)]
    watch = clock(runs, done=2)
    assert last(text) == "fig4: 2 of 5 runs were done before"
    time[0] = 600.0
    watch.finished(runs[0])
    assert last(text).startswith("fig4: 3 of 5 runs done, about 20.0 minutes left")
    watch.finished(runs[1])
    watch.finished(runs[2])
    assert "left" not in last(text)


def test_a_longer_run_counts_for_more(clock, time, text):
    long = PaperRun(model="all-cnn-32", data="cifar10", size=0.25, epochs=30)
    short = run(1)
    watch = clock([short, long])
    time[0] = 60.0
    watch.finished(short)
    assert "about 3.0 minutes left" in last(text)


def test_between_the_ends_of_runs_their_epochs_count(clock, time, text, place):
    first, second = run(0), run(1)
    watch = clock([first, second])
    watch.going_on()
    assert "epoch" not in last(text)
    note_epochs(place, first, 5)
    time[0] = 300.0
    watch.going_on()
    # A quarter of the work in five minutes.
    assert "0 of 2 runs done, about 15.0 minutes left: epoch 5 of 10" in last(text)


def test_what_an_interrupted_run_had_done_does_not_speed_up_the_forecast(clock, time, text, place):
    first, second = run(0), run(1)
    note_epochs(place, first, 8)
    watch = clock([first, second])
    time[0] = 120.0
    watch.finished(first)
    # Two epochs in two minutes: ten more take ten.
    assert "about 10.0 minutes left" in last(text)

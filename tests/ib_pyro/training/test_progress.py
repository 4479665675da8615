"""The bar shows distortion, rate and error on a terminal, a line elsewhere, and nothing when not wanted."""

import io
import time

import pytest
from rich.console import Console

from ib_pyro.training.progress import FitProgress, Ticker

METRICS = {"distortion": 0.25, "rate": 12.5, "train_error": 0.031, "validation_error": 0.042, "seconds": 2.0}


def shown(*, terminal: bool, enabled: bool = True, width: int = 120) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    with FitProgress(3, 10, console=console, enabled=enabled) as bar:
        bar.step(0, 5, METRICS)
        for epoch in (1, 2, 3):
            bar.epoch(epoch, METRICS)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_fit_a_terminal(width: int) -> None:
    text = shown(terminal=True, width=width)
    assert "1/3  distortion 0.25 rate 12.5 nats  error 3.1% (held out 4.2%)" in text
    assert "left" in text
    assert "…" not in text
    assert ("━" in text) == (width == 120)


def test_lines_elsewhere_are_few() -> None:
    lines = shown(terminal=False).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/3  distortion 0.25 rate 12.5 nats")
    assert lines[1].startswith("epoch 3/3  distortion 0.25 rate 12.5 nats")


def test_nothing_when_not_wanted() -> None:
    assert shown(terminal=True, enabled=False) == ""
    assert shown(terminal=False, enabled=False) == ""


def test_resumed_bar_starts_where_the_run_stands() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)
    with FitProgress(10, 10, done=4, console=console) as bar:
        bar.step(4, 0, METRICS)
    assert "5/10" in console.file.getvalue()


def test_ticker_is_due_once_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    ticker = Ticker(5.0)
    assert not ticker.due()
    now[0] += 5.1
    assert ticker.due()
    assert not ticker.due()

"""The demo's wrong labels: what is fitted to them, how strengths are chosen, what is told of them."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from ib_pyro.data import load
from inference.runs.splits import mislabelled
from inference.studies.demo import WrongLabels, wrong_labels
from inference.studies.demo.grid import Setting
from inference.studies.demo.wrong_labels import METHODS, SHARE, Group, fit_group, stops
from inference.studies.demo.wrong_labels_picture import draw_wrong_labels
from inference.studies.demo.wrong_labels_table import Outcome, outcome_markdown, outcome_table, outcomes


def fits(method: str, option: str, errors: dict[float, tuple[float, float, float]]) -> list[dict]:
    """Two seeds a strength, from its held-out, clean held-out and test error."""
    rows = []
    for strength, (held_out, clean, test) in errors.items():
        for seed, shift in enumerate((-0.01, 0.01)):
            row = {"method": method, "option": option, "strength": strength, "seed": seed}
            numbers = {"held_out_error": held_out + shift, "held_out_error_clean": clean, "test_error": test}
            rows.append({**row, **numbers, "wrong_labels_learnt": 0.1})
    return rows


@pytest.fixture
def found() -> list[Outcome]:
    weak_is_better_elsewhere = {0.1: (0.46, 0.01, 0.02), 0.5: (0.44, 0.05, 0.06)}
    stopped = {1: (0.44, 0.1, 0.1), 4: (0.6, 0.3, 0.3)}
    return outcomes(
        [
            *fits("binary", "drop_prob", weak_is_better_elsewhere),
            *fits("early stopping", "epochs", stopped),
        ]
    )


def test_strengths_are_chosen_by_held_out_images_with_wrong_labels_alone(found: list[Outcome]) -> None:
    chosen = [outcome.setting for outcome in found if outcome.chosen]
    assert chosen == [
        Setting("none"),
        Setting("binary", "drop_prob", 0.5),
        Setting("early stopping", "epochs", 1),
    ]


def test_no_dropout_is_the_fit_that_was_never_stopped(found: list[Outcome]) -> None:
    assert found[0].setting.dropout == "none"
    assert found[0].test_error.value == pytest.approx(0.3)


def test_every_noise_has_as_many_strengths() -> None:
    assert {len(values) for _, values in METHODS.values()} == {6}
    assert len(stops(30)) == 6
    assert stops(1) == (1,)


def test_table_fits_80_columns_and_the_page_says_the_same(found: list[Outcome]) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(outcome_table(found))
    printed = console.file.getvalue()
    assert max(map(len, printed.splitlines())) <= 80
    head, _, *lines = outcome_markdown(found)
    assert len(lines) == 3
    assert all(line.count("|") == head.count("|") for line in lines)
    assert lines[2] == "| binary dropout | p 0.5 | 6.0 ± 0.0 | 2.0 to 6.0 | 10 |"
    assert "6.0 ± 0.0" in printed


def test_a_single_seed_has_a_picture_and_no_interval(tmp_path: Path) -> None:
    rows = [row for row in fits("binary", "drop_prob", {0.1: (0.4, 0.1, 0.1), 0.5: (0.5, 0.9, 0.9)})]
    rows += fits("early stopping", "epochs", {1: (0.4, 0.1, 0.1)})
    one = outcomes(row for row in rows if row["seed"] == 0)
    draw_wrong_labels(one, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert "±" not in "".join(outcome_markdown(one))


@pytest.mark.parametrize("method", ["none", "constant"])
def test_fits_of_a_group_are_rows_in_range_and_the_same_again(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "constant", ("alpha", (0.2, 0.7)))
    before = torch.get_rng_state()
    rows = fit_group(Group(method, seed=1, epochs=2))
    assert torch.equal(before, torch.get_rng_state())
    assert rows == fit_group(Group(method, seed=1, epochs=2))
    assert [row["strength"] for row in rows] == {"none": [1, 2], "constant": [0.2, 0.7]}[method]
    errors = [value for row in rows for value in list(row.values())[4:]]
    assert all(0 <= error <= 1 for error in errors)
    assert rows[-1]["test_error"] < 0.5
    # Two in five of the held-out labels are wrong, so that even a perfect answer errs as often.
    assert rows[-1]["held_out_error"] > rows[-1]["held_out_error_clean"] + 0.2


def test_wrong_labels_learnt_are_counted_among_the_wrong_ones_alone() -> None:
    group = Group("none", seed=0, epochs=1)
    splits = group.spec().data.build()
    right = load("digits", "train").y

    class Knowing(torch.nn.Module):
        def predict(self, x: torch.Tensor, num_samples: int) -> torch.Tensor:
            labels = right if len(x) == len(right) else torch.zeros(len(x), dtype=torch.int64)
            return torch.nn.functional.one_hot(labels, 10).float()

    row = wrong_labels.errors_of(Knowing(), splits, right, seed=0)  # type: ignore[arg-type]
    assert row["wrong_labels_learnt"] == 0
    assert float((right != splits.train.y).double().mean()) == pytest.approx(SHARE, abs=1e-3)


def test_choices_never_see_a_test_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test labels change the column of the test error and nothing else."""
    rows = fit_group(Group("none", seed=0, epochs=1))
    build = type(Group("none", 0, 1).spec().data).build

    def with_other_labels(self: object, cache: Path | None = None) -> object:
        from dataclasses import replace

        splits = build(self, cache)
        return replace(splits, test=mislabelled(splits.test, 1.0, seed=5))

    monkeypatch.setattr(type(Group("none", 0, 1).spec().data), "build", with_other_labels)
    others = fit_group(Group("none", seed=0, epochs=1))
    assert [row.pop("test_error") for row in rows] != [row.pop("test_error") for row in others]
    assert rows == others


def test_finished_groups_are_kept_and_other_settings_refused(tmp_path: Path) -> None:
    study = WrongLabels(tmp_path, seeds=2, epochs=1)
    assert [work.fits for work in study.waiting()] == [1, 1, *[6] * 6]
    lines = study.keep(fit_group(Group("none", seed=1, epochs=1)))
    assert len(lines) == 1
    assert lines[0].startswith("early stopping epochs 1, seed 1: held-out error ")
    again = WrongLabels(tmp_path, seeds=2, epochs=1)
    assert [(work.argument.method, work.argument.seed) for work in again.waiting()][:2] == [
        ("none", 0),
        ("information", 0),
    ]
    with pytest.raises(ValueError, match="wrong_labels_fits.csv: full_length: 1 there, 2 here"):
        WrongLabels(tmp_path, seeds=2, epochs=2)

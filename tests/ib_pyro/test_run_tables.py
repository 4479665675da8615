"""Tables of runs, wherever they are read: means are no runs, text is no flag, and every row belongs to a point."""

import pandas as pd
import pytest

from ib_pyro import choose_beta
from ib_pyro.run_tables import has_diverged
from ib_pyro.side_by_side import curve


@pytest.fixture
def frame():
    rows = [
        {"beta": b, "seed": s, "validation_rate": 1 / b + s, "diverged": False}
        for b in (0.1, 0.2)
        for s in (0, 1, 2)
    ]
    return pd.DataFrame(rows)


READERS = {"curve": curve, "choose_beta": lambda frame: choose_beta(frame, target_rate=8.0).table}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (curve, "the table's rows are means over 'seeds' already"),
        (
            lambda f: f.assign(diverged=f["diverged"].astype(str)),
            "diverged: 'False' is neither true nor false",
        ),
        (lambda f: f.assign(diverged=3), "diverged: 3 is neither true nor false"),
        (lambda f: f.assign(beta=[None, *f["beta"][1:]]), "^beta: "),
    ],
    ids=["means", "text", "a count", "no beta"],
)
def test_what_is_no_table_of_runs_is_refused(frame, read, change, said):
    assert read(frame)["seeds"].tolist() == [3, 3]
    with pytest.raises(ValueError, match=said):
        read(change(frame))


def test_a_curve_says_the_level_of_its_intervals(frame):
    assert curve(frame, confidence=0.9).attrs["confidence"] == 0.9


@pytest.mark.parametrize(
    "flags",
    [
        [True, False],
        [1, 0],
        [1.0, 0.0],
        pd.array([True, False], dtype="boolean"),
    ],
)
def test_flags_of_every_type_are_read(flags):
    assert has_diverged(pd.DataFrame({"diverged": flags})).tolist() == [True, False]

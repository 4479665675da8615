"""The table of errors groups seeds, and states their mean and standard error."""

import pandas as pd
import pytest

from inference.studies.paper.page import error_table


def _row(seed: int, error: float, **changes: object) -> dict[str, object]:
    row = {"size": 64, "dropout": "binary", "setting": 0.5, "seed": seed, "rate": 0.0}
    return {**row, "test_error_noisy": error, "test_error_deterministic": error / 2, **changes}


def test_seeds_become_a_mean_and_its_standard_error() -> None:
    # Errors of 2, 4 and 6 %: mean 4, standard deviation 2, standard error 2 / sqrt(3).
    (line,) = error_table(pd.DataFrame([_row(0, 0.02), _row(1, 0.04), _row(2, 0.06)]))[2:]
    assert line == "| binary | drop 0.5 | 64 | 3 | 4.00 ± 1.15 | 2.00 ± 0.58 |  |"


def test_what_differs_in_more_than_the_seed_is_another_line() -> None:
    rows = [
        _row(0, 0.02),
        _row(0, 0.02, size=32),
        _row(0, 0.02, setting=0.25),
        _row(0, 0.02, dropout="constant"),
    ]
    assert len(error_table(pd.DataFrame(rows))) == 2 + 4
    assert "| 32 |" in error_table(pd.DataFrame(rows))[2]


@pytest.mark.parametrize(("dropout", "shown"), [("information", "12.0"), ("none", "")])
def test_the_rate_is_shown_where_it_is_weighed(dropout: str, shown: str) -> None:
    (line,) = error_table(pd.DataFrame([_row(0, 0.02, dropout=dropout, setting=None, rate=12.0)]))[2:]
    assert line.endswith(f"| 2.00 | 1.00 | {shown} |")


def test_a_method_without_a_strength_has_an_empty_cell_in_a_csv():
    row = {
        "size": 8,
        "dropout": "none",
        "test_error_noisy": 0.2,
        "test_error_deterministic": 0.1,
        "rate": 0.0,
    }
    assert error_table(pd.DataFrame([row]))[-1] == "| none |  | 8 | 1 | 20.00 | 10.00 |  |"

"""The compatibility page says what the table says, row by row."""

from tests.ib_pyro.differential import programs
from tests.ib_pyro.differential.case import RIGHT, table
from tests.ib_pyro.differential.page import PAGE, WAYS_OUT, compatibility_page, way_out

assert programs


def test_the_page_is_that_of_the_table():
    assert PAGE.read_text() == compatibility_page(table()), (
        f"{PAGE.name} is out of date: python -m tests.ib_pyro.differential 0 writes it"
    )


def test_each_refusal_has_a_way_out_and_each_way_out_a_refusal():
    refused = [case for case in table() if RIGHT not in (case.error, case.sampled)]
    assert all(way_out(case) for case in refused)
    assert {way_out(case) for case in refused} == set(WAYS_OUT.values())

"""A name that is none of the choices is refused in one sentence, whoever asks."""

import re

import pytest

from ib_pyro.choices import require_known

GREEK = ("alpha", "beta", "gamma")


@pytest.mark.parametrize("known", [GREEK, list(GREEK), set(GREEK), dict.fromkeys(GREEK, 0)])
def test_a_known_name_comes_back(known):
    assert require_known("letter", "beta", known) == "beta"


def refusal(*args, **kwargs):
    with pytest.raises(ValueError, match="is unknown") as caught:
        require_known(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("bet", "letter 'bet' is unknown; did you mean 'beta'? Choose 'alpha', 'beta' or 'gamma'"),
        ("GAMMA", "letter 'GAMMA' is unknown; did you mean 'gamma'? Choose 'alpha', 'beta' or 'gamma'"),
        ("xyz", "letter 'xyz' is unknown; choose 'alpha', 'beta' or 'gamma'"),
        ("", "letter '' is unknown; choose 'alpha', 'beta' or 'gamma'"),
        (None, "letter None is unknown; choose 'alpha', 'beta' or 'gamma'"),
        ([], "letter [] is unknown; choose 'alpha', 'beta' or 'gamma'"),
    ],
)
def test_the_nearest_come_first_then_all(given, sentence):
    assert refusal("letter", given, GREEK) == sentence


def test_names_are_said_in_their_order_and_those_of_a_set_sorted():
    assert refusal("size", "xxl", ("small", "large")).endswith("choose 'small' or 'large'")
    assert refusal("size", "xxl", {"small": 1, "large": 2}).endswith("choose 'small' or 'large'")
    assert refusal("size", "xxl", {"small", "large"}).endswith("choose 'large' or 'small'")


def test_an_argument_stands_as_it_is_written():
    sentence = refusal("prior=", "flat", ("log-normal",), otherwise="pass a distribution")
    assert sentence == "prior='flat' is unknown; choose 'log-normal', or pass a distribution"
    assert refusal("groups:", "z", GREEK).startswith("groups: 'z' is unknown")


def test_the_nearest_are_left_out_where_they_are_all():
    assert refusal("site", "z9", ("z1", "z2")) == "site 'z9' is unknown; choose 'z1' or 'z2'"
    assert "did you mean 'z1', 'z2' or 'z3'?" in refusal("site", "z9", ("z1", "z2", "z3", "z4"))


def test_where_there_is_none():
    assert refusal("site", "z1", set()) == "site 'z1' is unknown; there is none to choose"


def test_a_name_with_upper_case_letters_is_found():
    assert re.search(r"did you mean 'LeNet'\?", refusal("model", "lenet", ("LeNet", "MLP")))

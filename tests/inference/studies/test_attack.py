"""The attacks find what is silent, and a few of each kind find nothing here."""

import csv
import json
import random
import re
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ib_pyro.training import checkpoint
from inference.json_and_csv import read_json, write_json
from inference.studies.attack import KINDS, Kind, Silent, attack
from inference.studies.attack import broken_files as broken
from inference.studies.attack.attack_rows import keep_row
from inference.studies.attack.attacked_processes import left_behind
from inference.studies.attack.attempts import Found
from inference.studies.attack.damage import DAMAGE
from inference.studies.attack.kills import require_same
from inference.studies.attack.mistakes import MISTAKES, Draw, Wrong
from inference.studies.attack.wrong_programs import judge


@pytest.mark.parametrize(
    ("name", "attempts"),
    [("broken-runs", 12), ("broken-data", 4), ("wrong-programs", 80), ("number-ranges", 40)],
)
def test_some_attempts_find_nothing_silent(name: str, attempts: int, tmp_path: Path) -> None:
    found = attack(KINDS[name], tmp_path, attempts=attempts, seconds=300)
    assert found.silent == []
    assert found.attempts == attempts
    assert sum(found.outcomes.values()) >= attempts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kills", "killed-workers"])
def test_some_kills_lose_nothing(name: str, tmp_path: Path) -> None:
    found = attack(KINDS[name], tmp_path, attempts=3, seconds=600)
    assert found.silent == []


def test_attempts_are_drawn_by_their_number_and_made_again_by_it(tmp_path: Path) -> None:
    drawn: list[float] = []

    def attempt(generator: random.Random, prepared: str, folder: Path) -> Counter[str]:
        drawn.append(generator.random())
        if int(folder.name) == 2:
            raise Silent("it was so")
        return Counter({prepared: 1})

    kind = Kind("kind", "", lambda _folder: "fine", attempt)
    for number, place in enumerate(("a", "b", "c")):
        (tmp_path / place).mkdir()
        options = {"first": 2} if number == 2 else {}
        found = attack(kind, tmp_path / place, attempts=4, seed=7, **options)
        assert "kind --seed 7 --first 2 --attempts 1" in found.silent[0]
    assert drawn[:4] == drawn[4:8]
    assert drawn[8] == drawn[2]
    assert str(found) == "4 attempts of seed 7: 3 fine; 1 silent"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return broken.prepare_runs(tmp_path_factory.mktemp("attacked"))


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs / "run", tmp_path / "run"))


def test_another_result_is_silent(run: Path, tmp_path: Path) -> None:
    expected = broken.acted(broken.ACTS["compare"], run)
    told = read_json(run / "result.json")
    write_json(run / "result.json", {**told, "distortion": 0.1}, sealed=True)
    with pytest.raises(Silent, match="taken, with other numbers"):
        broken.outcome(broken.ACTS["compare"], run, expected, "", tmp_path)


@pytest.mark.parametrize(
    "error", [KeyError("rows"), ValueError("no path"), ValueError("PATH weights_only=False")]
)
def test_an_error_that_is_none_for_a_user_is_silent(error: Exception, run: Path, tmp_path: Path) -> None:
    if "PATH" in str(error):
        error = ValueError(str(error).replace("PATH", str(tmp_path)))

    def act(_folder: Path) -> Any:
        raise error

    with pytest.raises(Silent):
        broken.outcome(act, run, {}, "", tmp_path)


def test_without_the_digest_another_runs_checkpoint_would_be_found(
    runs: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = broken.acted(broken.evaluate_run, Path(shutil.copytree(run, tmp_path / "before")))
    shutil.copy(runs / "other" / "checkpoint.pt", run / "checkpoint.pt")
    assert broken.outcome(broken.evaluate_run, run, expected, "", tmp_path) == {"refused": 1}
    monkeypatch.setattr(checkpoint, "_require_stamp", lambda *_: None)
    with pytest.raises(Silent, match="taken, with other numbers"):
        broken.outcome(broken.evaluate_run, run, expected, "", tmp_path)


def test_runs_that_differ_in_a_bit_are_not_the_same(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    require_same("", run, other)
    content = torch.load(other / "checkpoint.pt")
    next(iter(content["program"].values())).view(-1)[0] += 1e-6
    torch.save(content, other / "checkpoint.pt")
    with pytest.raises(Silent, match="differs after it was killed"):
        require_same("", run, other)


@pytest.mark.parametrize("name", sorted(DAMAGE))
def test_damage_changes_what_it_damages(name: str) -> None:
    generator = random.Random(0)
    content = json.dumps({"settings": {"lr": 0.1, "epochs": 3}, "beta": 1.0}).encode() * (
        1 if "JSON" in name else 9
    )
    changed = [DAMAGE[name](content, generator) for _ in range(5)]
    assert any(each != content for each in changed)


def test_a_worker_that_lives_on_is_found(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert left_behind([process.pid], 0.2) == [process.pid]
    finally:
        process.kill()
        process.wait()
    assert left_behind([process.pid], 5.0) == []


ONE = torch.ones(3, dtype=torch.float64)


def refuse(message: str, kind: type[Exception] = ValueError) -> Callable[[], Tensor]:
    def answer() -> Tensor:
        raise kind(message)

    return answer


def nan(message: str = "") -> Callable[[], Tensor]:
    def answer() -> Tensor:
        if message:
            warnings.warn(message, stacklevel=2)
        return ONE * float("nan")

    return answer


def noisy(shift: float) -> Callable[[], Tensor]:
    return lambda: ONE + shift + torch.randn(3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        (Wrong(refuse("site 'z1': its scale is 3"), ("z1",)), "refused"),
        (Wrong(refuse("latent.a: too large"), ("latent.a",)), "refused"),
        (Wrong(lambda: ONE, ("z1",), truth=lambda: ONE + 1e-6), "right"),
        (Wrong(noisy(0.0), ("z1",), truth=noisy(0.0), draws=50), "right"),
        (
            Wrong(lambda: ONE + torch.randn(3), ("z1",), truth=lambda: ONE - torch.randn(3), draws=400),
            "right",
        ),
        (Wrong(nan("the rate of z1 is NaN"), ("z1",)), "said to be no number"),
    ],
    ids=[
        "by its site",
        "by a name with a dot",
        "to its digits",
        "draw by draw",
        "in the mean",
        "with a warning",
    ],
)
def test_what_is_no_silence(wrong: Wrong, verdict: str) -> None:
    assert judge("", wrong) == verdict


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Wrong(refuse("shapes differ"), ("z1",)), "names none of"),
        (Wrong(refuse("site 'z11' is wrong"), ("z1", "z")), "names none of"),
        (Wrong(refuse("z1", RuntimeError), ("z1",)), "RuntimeError, which is a traceback"),
        (Wrong(refuse("z1", KeyError), ("z1",)), "KeyError, which is a traceback"),
        (Wrong(lambda: ONE, ("z1",)), r"taken, with \[1.0"),
        (Wrong(lambda: ONE, ("z1",), truth=lambda: 1.01 * ONE), "value 1.0 for 1.01"),
        (Wrong(noisy(0.6), ("z1",), truth=lambda: ONE, draws=400), " for 1.0"),
        (Wrong(nan(), ("z1",)), "taken, with"),
        (Wrong(nan(), ("z1",), truth=lambda: ONE), "value nan"),
        (Wrong(nan("look for NaN"), ("z1",), truth=lambda: ONE), "value nan"),
        (Wrong(lambda: ONE, ("z1",), truth=refuse("z1")), "though the densities have no number"),
    ],
    ids=[
        "no name",
        "part of a name",
        "another error",
        "a key",
        "a number",
        "a wrong number",
        "a wrong mean",
        "NaN",
        "NaN for a number",
        "NaN of nothing",
        "no density",
    ],
)
def test_what_is_silent(wrong: Wrong, message: str) -> None:
    with pytest.raises(Silent, match=message):
        judge("", wrong)


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("ib_pyro.elbo.site_rate.require_same_scale", ["a scale on one side", "a mask on one side"]),
        ("ib_pyro.elbo.information_bottleneck.require_known_sites", ["a weight of a site that is not there"]),
        ("ib_pyro.elbo.information_bottleneck.require_matching_sites", ["model and guide swapped"]),
        ("ib_pyro.elbo.information_bottleneck.require_reach", ["a beta for other samples"]),
        ("ib_pyro.likelihoods.check_target", ["labels that are no classes"]),
    ],
    ids=["scales", "names of sites", "sites", "shapes of weights", "targets"],
)
def test_without_a_check_something_is_silent(
    place: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = place.rpartition(".")
    monkeypatch.setattr(
        f"{'ib_pyro.observing' if name == 'check_target' else module}.{name}", lambda *_, **__: None
    )
    silent = 0
    for number in range(12):
        draw = Draw(random.Random(number))
        try:
            judge("", MISTAKES[names[number % len(names)]](draw))
        except Silent:
            silent += 1
    assert silent > 0


def test_what_came_of_a_kind_is_kept_and_replaced(tmp_path: Path) -> None:
    path, first, second = (
        tmp_path / "docs" / "attacks.csv",
        Kind("a", "", None, None),
        Kind("b", "", None, None),
    )
    for kind, number in ((second, 3), (first, 1), (second, 5)):
        found = Found(
            7, attempts=number, outcomes=Counter({"kills": 1000 * number}), silent=["x"] * (number == 1)
        )
        keep_row(path, kind, found, ["b", "--seed", "7"], 90.0)
    assert path.read_text().splitlines() == [
        "kind,attempts,what came of them,silent,minutes,command",
        'a,1,"1,000 kills",1,1.5,python -m inference.studies.attack b --seed 7',
        'b,5,"5,000 kills",0,1.5,python -m inference.studies.attack b --seed 7',
    ]


PAGE = Path(__file__).parents[3] / "docs" / "guide" / "what_we_promise.md"


def test_the_page_of_promises_names_what_there_is_and_its_figures_are_of_every_attack() -> None:
    text = PAGE.read_text(encoding="utf-8")
    paths = re.findall(r"`(tests/[\w/.]+)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (PAGE.parents[2] / path).exists()] == []
    assert set(KINDS) == set(re.findall(r"attacks? `([a-z-]+)`", text)) | {"broken-data"}
    with PAGE.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = {row["kind"]: row for row in csv.DictReader(file)}
    assert rows.keys() == KINDS.keys()
    assert {row["silent"] for row in rows.values()} == {"0"}

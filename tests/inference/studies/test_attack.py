"""The attacks find what is silent, and a few of each kind find nothing here."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from ib_pyro.training import checkpoint
from inference.json_and_csv import read_json, write_json
from inference.studies.attack import KINDS, Kind, Silent, attack
from inference.studies.attack import broken_files as broken
from inference.studies.attack.damage import DAMAGE
from inference.studies.attack.kills import require_same


@pytest.mark.parametrize(
    ("name", "attempts"), [("broken-runs", 12), ("broken-data", 4), ("number-ranges", 40)]
)
def test_some_attempts_find_nothing_silent(name: str, attempts: int, tmp_path: Path) -> None:
    found = attack(KINDS[name], tmp_path, attempts=attempts, seconds=300)
    assert found.silent == []
    assert found.attempts == attempts
    assert sum(found.outcomes.values()) >= attempts


@pytest.mark.slow
def test_some_kills_lose_nothing(tmp_path: Path) -> None:
    found = attack(KINDS["kills"], tmp_path, attempts=4, seconds=600)
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

"""The README's program runs as printed, and what it prints is worth printing."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_program_of_the_readme_runs_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(README), "exec"), {})
    printed = capsys.readouterr().out
    error = float(re.search(r"test error ([\d.]+)%", printed).group(1))
    assert error < 10
    assert "'z1'" in printed
    assert "'z2'" in printed


def test_every_folder_of_the_rooms_exists() -> None:
    rooms = re.findall(r"^\| `(\w+)/`", README.read_text(), flags=re.MULTILINE)
    assert rooms[:3] == ["ib_pyro", "models", "inference"]
    for room in ["ib_pyro", "models", "inference", "tests"]:
        assert (README.parent / room).is_dir()

"""Scripts that complete words: what a shell offers after what was typed."""

import shutil
import subprocess

import pytest

from ib_pyro import __version__
from ib_pyro.data import DATASETS
from inference.cli import COMMANDS, main
from inference.runs.program_spec import PROGRAMS
from inference.runs.settings import flag
from inference.runs.spec import entries


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def offered(shell_script: str, *words: str) -> set[str]:
    """What bash offers for the last of some words."""
    quoted = " ".join(f"'{word}'" for word in words)
    state = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}"
    ask = f"{shell_script}\n{state}; _ib_pyro; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_is_offered_subcommands_options_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    bash = script("bash", capsys)
    assert offered(bash, "ib-pyro", "") == {*COMMANDS, "--help", "--version"}
    assert offered(bash, "ib-pyro", "sw") == {"sweep"}
    every = {flag(entry.name) for _, entry in entries()}
    assert offered(bash, "ib-pyro", "fit", "--") >= {*every, "--out", "--resume"}
    assert offered(bash, "ib-pyro", "fit", "--batch") == {"--batch-size", "--batch-norm"}
    assert offered(bash, "ib-pyro", "fit", "--model", "") == set(PROGRAMS)
    assert offered(bash, "ib-pyro", "sweep", "--seeds", "0", "--data", "") == set(DATASETS)
    assert offered(bash, "ib-pyro", "fit", "--batch-norm", "t") == {"true"}
    assert {"all", "draw"} < offered(bash, "ib-pyro", "paper", "")
    # Nothing is known of it: the shell's own names of files.
    assert offered(bash, "ib-pyro", "evaluate", "") == set()


@pytest.mark.parametrize(
    ("shell", "check"),
    [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])],
    ids=["bash", "zsh", "fish"],
)
def test_each_script_is_one_of_its_shell(shell, check, capsys, tmp_path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "script").write_text(script(shell, capsys))
    subprocess.run([*check, str(tmp_path / "script")], check=True)


def test_an_unknown_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "shell 'tcsh' is unknown; choose 'bash', 'fish' or 'zsh'" in capsys.readouterr().err


def test_the_version_says_what_numbers_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"ib-pyro {__version__} (python ")
    assert "torch " in told
    assert "pyro-ppl " in told

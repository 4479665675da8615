"""What is handed out, as its user gets it: ``python tests/audit.py``.

Builds the source distribution and the wheel, has twine check them, installs the wheel alone into an empty environment,
and there runs the README's program, the fifteen lines of the guide and the command ``ib-pyro``; lists the licences of
all that was installed. With ``--online`` pip-audit asks for known weaknesses of it, which takes a network.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
FIFTEEN_LINES = ROOT / "docs" / "guide" / "fifteen_lines.py"
# What an environment of the wheel and PyTorch's CPU build must not have in it.
FOREIGN = ("lightning", "pytest", "ray", "sphinx")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all of it; return 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="of the empty environment")
    parser.add_argument("--out", type=Path, help="folder of what is built (default: a temporary one)")
    parser.add_argument(
        "--torch", default="", help="what pip installs first, such as torch==2.13.0 of a CPU build"
    )
    parser.add_argument("--online", action="store_true", help="ask for known weaknesses too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ib_pyro-audit-") as folder:
        out = (options.out or Path(folder) / "dist").absolute()
        built = [build(target, out) for target in ("sdist", "wheel")]
        step("twine check")
        run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)])
        python = empty_environment(Path(folder) / "empty", options.python, built[1], options.torch)
        step("the README's program, from the wheel alone")
        run([str(python), "-I", "-c", readme_program()], cwd=folder)
        for word in ("fit", "compare"):
            step(f"the guide's fifteen lines: {word}")
            run([str(python), "-I", str(FIFTEEN_LINES), word], cwd=folder)
        step("the command ib-pyro")
        check_command(python, Path(folder))
        step("licences")
        licences(python)
        weaknesses(python, online=options.online)
    print("audit: nothing is wrong")
    return 0


def step(name: str) -> None:
    """Say what is done."""
    print(f"audit: {name}", flush=True)


def run(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command, which must succeed."""
    return subprocess.run(list(command), check=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def build(target: str, out: Path) -> Path:
    """Build a wheel or an sdist with the installed backend."""
    step(f"build of the {target}")
    before = set(out.glob("*"))
    run([sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)], cwd=ROOT)
    (archive,) = set(out.glob("*")) - before
    return archive


def empty_environment(folder: Path, python: str, wheel: Path, torch: str) -> Path:
    """Make an environment with a wheel and what it requires, and return its interpreter."""
    step(f"an empty environment of {python}, with the wheel alone")
    run([python, "-m", "venv", str(folder)])
    mine = folder / "bin" / "python"
    if not mine.exists():
        mine = folder / "Scripts" / "python.exe"
    for what in filter(None, [torch, str(wheel)]):
        run([str(mine), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", what])
    run([str(mine), "-m", "pip", "check", "--disable-pip-version-check"])
    found = installed(mine)
    foreign = [name for name in FOREIGN if name in found]
    if foreign:
        raise SystemExit(f"audit: the wheel alone brings {', '.join(foreign)}, which only extras may")
    return mine


def installed(python: Path) -> list[str]:
    """Names of the distributions of an environment."""
    done = run(
        [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
        stdout=subprocess.PIPE,
    )
    return [entry["name"].lower() for entry in json.loads(done.stdout)]


def readme_program() -> str:
    """The README's program."""
    (program,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    return str(program)


def check_command(python: Path, folder: Path) -> None:
    """Make sure that the installed command answers, and says what it lacks."""
    command = str(python.parent / "ib-pyro")
    run([command, "--version"], cwd=folder)
    run([command, "--help"], cwd=folder, stdout=subprocess.DEVNULL)
    words = ["fit", "--beta", "0.01", "--out", "run"]
    done = subprocess.run([command, *words], cwd=folder, text=True, stderr=subprocess.PIPE, check=False)
    print(done.stderr, end="")
    if done.returncode != 2 or "pip install 'ib-pyro[inference]'" not in done.stderr:
        raise SystemExit("audit: without its extra the command must name it, in a line and with exit code 2")


def licences(python: Path) -> None:
    """List the licences of all that an environment has."""
    done = run(
        [
            sys.executable,
            "-m",
            "piplicenses",
            "--python",
            str(python),
            "--order",
            "license",
            "--format",
            "markdown",
        ],
        stdout=subprocess.PIPE,
    )
    print(done.stdout)
    unknown = [line.split("|")[1].strip() for line in done.stdout.splitlines() if "UNKNOWN" in line]
    if unknown:
        print(f"audit: no licence is known of {', '.join(unknown)}")


def weaknesses(python: Path, *, online: bool) -> None:
    """Ask for known weaknesses of what an environment has, or say that nobody did."""
    if not online:
        step("pip-audit is left out: it asks a server on the network; make audit ONLINE=1 does so")
        return
    step("pip-audit")
    places = run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], stdout=subprocess.PIPE
    ).stdout.strip()
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run([sys.executable, "-m", "pip_audit", "--path", places, "--skip-editable"], env=environment)


if __name__ == "__main__":
    sys.exit(main())

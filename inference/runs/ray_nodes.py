"""Whether the machines of a Ray cluster can do runs of this one: its folders seen, its code and versions there."""

from __future__ import annotations

import os
import platform
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ib_pyro.provenance import revision, versions
from inference.runs.folder import PACKAGES

__all__ = ["Token", "check_nodes", "refusals"]

_SECONDS_FOR_AN_ANSWER = 120.0
# The name of a token's file, or of an answer to it: whose it is, so that nobody else takes it away.
_OWNED = re.compile(r"\.shared-[0-9a-f]{32}-(?P<pid>\d+)@(?P<host>.+?)(=.*)?")

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Token:
    """A word in a file of a folder: who reads it there sees the same folder.

    Args:
        folder: The folder.
        word: The word.
    """

    folder: Path
    word: str

    @classmethod
    def write(cls, folder: Path) -> Token:
        """Leave a new word in a folder, made where it is not there; those of processes that were killed go away."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob(".shared-*"):
            owner = _OWNED.fullmatch(file.name)
            if owner and owner["host"] == platform.node() and not _lives(int(owner["pid"])):
                file.unlink(missing_ok=True)
        token = cls(folder, f"{uuid.uuid4().hex}-{os.getpid()}@{platform.node()}")
        token.file.write_text(token.word, encoding="utf-8")
        return token

    @property
    def file(self) -> Path:
        """The file that it stands in."""
        return self.folder / f".shared-{self.word}"

    def answer_file(self, name: str) -> Path:
        """The file in which a machine shows that it writes to the same folder."""
        return self.folder / f".shared-{self.word}={name}"

    def require(self) -> None:
        """Raise unless it is read here.

        Raises:
            ValueError: If it is not; names the machine.
        """
        if not self.file.exists():
            raise ValueError(f"machine {platform.node()} {_unseen(self.folder)}")

    def remove(self) -> None:
        """Take it away, and the answers to it."""
        for file in self.folder.glob(f"{self.file.name}*"):
            file.unlink(missing_ok=True)


def check_nodes(token: Token, data_root: Path | None, modules: Mapping[Path, str]) -> list[str]:
    """Ask each machine of the connected cluster that has processors.

    Args:
        token: What each must read, and write an answer beside.
        data_root: Folder of the data; None for data that come with a package.
        modules: Files that each must have, with the digests that they have here.

    Returns:
        The machines' names.

    Raises:
        ValueError: If one cannot do these runs; names each that cannot, and why.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise ValueError("--engine ray: no machine of the cluster has a processor; add one with `ray start`")
    ask = ray.remote(num_cpus=0, max_retries=0)(_question())
    asked = {}
    for node in nodes:
        affinity = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[_name(node)] = ask.options(scheduling_strategy=affinity).remote(
            str(token.file),
            str(token.answer_file(node["NodeID"])),
            token.word,
            data_root and str(data_root),
            {str(file): digest for file, digest in modules.items()},
        )
    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=_SECONDS_FOR_AN_ANSWER)
    reports: dict[str, Report] = {}
    for node, reference in zip(nodes, asked.values(), strict=True):
        reports[_name(node)] = _report(reference) if reference in ready else {"error": "did not answer"}
        answer = token.answer_file(node["NodeID"])
        if reports[_name(node)].get("wrote") and not answer.exists():
            reports[_name(node)] = {"unseen": [str(token.folder)]}
    wrong = refusals(reports, here())
    if wrong:
        raise ValueError(f"--engine ray: {'; '.join(wrong)}")
    return list(reports)


def here() -> dict[str, Any]:
    """What numbers depend on, as this machine has it: versions, and the commit of the code."""
    return {**versions(*PACKAGES), "commit": (revision(Path(__file__).parent) or {}).get("commit")}


def refusals(reports: Mapping[str, Report], mine: Mapping[str, Any]) -> list[str]:
    """What keeps machines from doing the runs, a line each.

    Args:
        reports: What each machine said: ``error``, or folders ``unseen`` and what it ``has``.
        mine: What this machine has.
    """
    lines = []
    for name, report in reports.items():
        if "error" in report:
            lines.append(f"machine {name} {report['error']}")
        lines += [f"machine {name} {_unseen(folder)}" for folder in report.get("unseen", ())]
        # Without git, or where a package is found by its folder, there is nothing to compare.
        both = {what: has for what, has in report.get("has", {}).items() if has and mine.get(what)}
        other = [f"{what} {has} for {mine[what]}" for what, has in both.items() if has != mine[what]]
        if other:
            lines.append(
                f"machine {name} has {', '.join(other)} here, and would give other numbers; install the same there"
            )
    return lines


def _lives(pid: int) -> bool:
    """Whether this machine has, or may have, a process of that number, whoever's it is."""
    if sys.platform == "win32":
        return True  # to ask there is to interrupt
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _unseen(folder: object) -> str:
    return f"does not see {folder}; choose a folder on a file system that all machines share, under one path"


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeName']} ({node['NodeID'][:6]})"


def _report(reference: Any) -> Report:  # noqa: ANN401 - Ray's ObjectRef
    import ray

    try:
        report: Report = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return {"error": f"cannot run this code ({type(error.cause).__name__}: {error.cause})"}
    except ray.exceptions.RayError as error:
        return {"error": f"was lost as it was asked ({type(error).__name__})"}
    return report


def _question() -> Callable[..., dict[str, Any]]:
    def look(
        token: str, answer: str, word: str, data_root: str | None, modules: dict[str, str]
    ) -> dict[str, Any]:
        # Travels as it stands, not as a name to import: a machine without this code must be able to say so.
        from pathlib import Path

        file, unseen = Path(token), []
        if not file.exists() or file.read_text(encoding="utf-8") != word:
            unseen.append(str(file.parent))
        else:
            Path(answer).write_text(word, encoding="utf-8")
        if data_root is not None and not Path(data_root).is_dir():
            unseen.append(data_root)
        unseen += [file for file in modules if not Path(file).is_file()]
        try:
            from inference.runs.own_function import digest_of
            from inference.runs.ray_nodes import here
        except ImportError as error:
            return {"error": f"lacks what the runs need ({error}); install this checkout there"}
        others = [file for file in modules if file not in unseen and digest_of(Path(file)) != modules[file]]
        if others:
            return {"error": f"has another {', '.join(others)}; let all machines see one"}
        return {"unseen": unseen, "has": here(), "wrote": not unseen}

    return look

"""A run that failed: what is kept of it, so that the others go on and a later look finds out why."""

from __future__ import annotations

import math
import platform
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inference.json_and_csv import read_json, write_json

__all__ = ["Failure", "failed_runs", "failure_kept", "forget_failure", "read_failure"]

_FILE = "failure.json"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run has no result.

    Args:
        run: Name of its folder.
        type: What was raised: ``"DivergenceError"``, ``"WorkerLost"``, or another exception.
        message: What it said.
        epoch: Epoch in which a fit diverged, from 1; None of other failures, as are the next three.
        site: Site whose term was not finite; None where it was the likelihood, or the sum of all.
        term: What was not finite, by its column in ``metrics.csv``, or a parameter's name.
        value: What it was: ``"nan"``, ``"inf"`` or ``"-inf"``.
        when: When it was seen, UTC.
        host: Machine on which it was seen.
        details: The traceback.
    """

    run: str
    type: str
    message: str
    epoch: int | None = None
    site: str | None = None
    term: str | None = None
    value: str | None = None
    when: str | None = None
    host: str | None = None
    details: str | None = None

    @classmethod
    def of(cls, error: Exception, out: Path) -> Failure:
        """Describe what ended the run of a folder."""
        known = {name: getattr(error, name, None) for name in ("epoch", "site", "term", "value")}
        if isinstance(known["value"], float) and not math.isfinite(known["value"]):
            known["value"] = str(known["value"])
        return cls(
            run=out.name,
            type=type(error).__name__,
            message=" ".join(str(error).split()),
            when=datetime.now(UTC).isoformat(),
            host=platform.node(),
            details="".join(traceback.format_exception(error)),
            **known,
        )

    def write(self, out: Path, *, of: str = "") -> None:
        """Keep it in the run's folder.

        Args:
            out: The folder.
            of: What failed of it, if not the run itself.
        """
        out.mkdir(parents=True, exist_ok=True)
        write_json(_file(out, of), asdict(self))

    def __str__(self) -> str:
        return f"{self.run}: {self.message or self.type}"


def read_failure(out: Path, *, of: str = "") -> Failure | None:
    """What is kept of a run that failed; None if nothing is.

    Args:
        out: Its folder.
        of: What failed of it, if not the run itself.

    Raises:
        ValueError: If the file is of something else.
    """
    path = _file(out, of)
    if not path.exists():
        return None
    content: dict[str, Any] = read_json(path)
    if not all(isinstance(content.get(name), str) for name in ("type", "message")):
        raise ValueError(f"{path} does not say of which type a failure is, and its message; remove it")
    names = {entry.name for entry in fields(Failure)} - {"run"}
    return Failure(run=out.name, **{name: value for name, value in content.items() if name in names})


def forget_failure(out: Path, *, of: str = "") -> None:
    """Remove what was kept, once the run is tried again, or done."""
    _file(out, of).unlink(missing_ok=True)


@contextmanager
def failure_kept(
    out: Path, *, of: str = "", but: type[Exception] | tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Keep what is raised inside of the block, in place of what was kept before, and let it go on.

    Args:
        out: Folder of the run, whose ``config.json`` is written.
        of: What is done of it, if not the run itself.
        but: What is no failure.
    """
    forget_failure(out, of=of)
    try:
        yield
    except but:
        raise
    except Exception as error:
        Failure.of(error, out).write(out, of=of)
        raise


def failed_runs(names: Sequence[str], total: int) -> str:
    """Say at the end which of several runs failed, and what can be done.

    Args:
        names: Of those that did.
        total: Number of all.
    """
    return (
        f"{len(names)} of {total} runs failed: {', '.join(names)}; why stands in each one's {_FILE}, and "
        "--retry-failed tries them again"
    )


def _file(out: Path, of: str) -> Path:
    return out / (f"{of}.{_FILE}" if of else _FILE)

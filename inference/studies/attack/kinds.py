"""Every kind of attack: a new one is a line here."""

from __future__ import annotations

from inference.studies.attack.attempts import Kind
from inference.studies.attack.broken_files import BROKEN_DATA, BROKEN_RUNS
from inference.studies.attack.kills import KILLED_WORKERS, KILLS
from inference.studies.attack.number_ranges import NUMBER_RANGES
from inference.studies.attack.wrong_programs import WRONG_PROGRAMS

__all__ = ["KINDS"]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (KILLS, KILLED_WORKERS, BROKEN_RUNS, BROKEN_DATA, WRONG_PROGRAMS, NUMBER_RANGES)
}

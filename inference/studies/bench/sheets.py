"""The tables of a benchmark."""

from __future__ import annotations

from inference.studies.bench.growth import Growth, linear_range, slope
from inference.studies.bench.memory import PeakMemory
from inference.studies.bench.results import Results
from inference.studies.bench.sheet import Sheet
from inference.studies.bench.start_up import PACKAGES, StartUp
from inference.studies.bench.taking_turns import Comparison, Quartiles
from inference.studies.bench.targets import TARGETS, Target, verdict

__all__ = [
    "comparison_sheet",
    "curve_sheet",
    "growth_sheet",
    "memory_sheet",
    "spread",
    "start_up_sheet",
    "target_sheet",
]

CLOCKS = {"processor": "processor time", "wall": "wall clock"}


def target_sheet(results: Results) -> Sheet:
    """Each target with its verdict."""
    rows = [_target_row(target, results) for target in TARGETS]
    columns = ("target", "threads", "limit", "found (quartiles)", "verdict")
    return Sheet("Targets, medians", columns, rows)


def comparison_sheet(comparison: Comparison) -> Sheet:
    """Times of each way, and their ratios."""
    base = "by hand" if "by hand" in comparison.times else list(comparison.times)[-1]
    both = comparison.threads > 1 and comparison.clock == "wall"
    clocks = ("wall", "processor") if both else (comparison.clock,)
    columns = ["way"]
    for clock in clocks:
        columns += [f"ms, {CLOCKS[clock]}", f"over {base}"]
    rows = []
    for way in comparison.times:
        cells = [way]
        for clock in clocks:
            cells += [spread(comparison.seconds(way, clock), 1e3), spread(comparison.ratio(way, base, clock))]
        rows.append(cells)
    blocks = len(comparison.times[base])
    title = (
        f"{comparison.name}, {_count(comparison.threads, 'thread')}: milliseconds of {_article(comparison.unit)}, "
        f"medians and quartiles of {blocks} blocks, and of ratios of neighbours"
    )
    return Sheet(title, columns, rows)


def memory_sheet(memory: list[PeakMemory]) -> Sheet:
    """Peak memory of each way."""
    rows = []
    for each in memory:
        for way, size in each.bytes.items():
            rows.append((each.name, way, f"{size / 2**20:.2f}", f"{each.ratio(way, 'by hand'):.3f}"))
    return Sheet("Peak memory of tensors within a step", ("step", "way", "MiB", "over by hand"), rows)


def growth_sheet(growth: list[Growth]) -> Sheet:
    """Slopes along each axis, and where costs leave the straight line."""
    columns = ("axis", "way", "values", "slope, seconds", "linear", "slope, memory", "linear, memory")
    rows = []
    for each in growth:
        values = f"{each.values[0]} to {each.values[-1]}"
        for way, curve in each.curves.items():
            cells = [each.axis, way, values]
            for costs in (curve.seconds, curve.bytes):
                cells += [f"{slope(each.work, costs):.2f}", _linear(each, costs)]
            rows.append(cells)
    return Sheet("Slopes of logarithms, 1 where costs are proportional to the work", columns, rows)


def curve_sheet(each: Growth) -> Sheet:
    """Costs at every value of an axis."""
    columns = [each.axis, "work"]
    lines = [[str(value), f"{work:.2f}"] for value, work in zip(each.values, each.work, strict=True)]
    for way, curve in each.curves.items():
        columns += [f"{way}, ms", f"{way}, MiB"]
        for line, seconds, size in zip(lines, curve.seconds, curve.bytes, strict=True):
            line += [f"{1e3 * seconds:.2f}", f"{size / 2**20:.2f}"]
    return Sheet(f"A step along {each.axis}", columns, lines)


def start_up_sheet(found: StartUp) -> Sheet:
    """Times of imports."""
    rows = []
    for package in PACKAGES:
        times = [spread(found.seconds(package, clock)) for clock in CLOCKS]
        rows.append((f"import {package}", *times))
    rows.append(("difference", *(spread(found.over(*PACKAGES, clock)) for clock in CLOCKS)))
    processes = len(found.times[PACKAGES[0]])
    columns = ("", *(f"s, {words}" for words in CLOCKS.values()))
    return Sheet(f"Imports in {processes} fresh processes each, medians and quartiles", columns, rows)


def spread(found: Quartiles, factor: float = 1.0) -> str:
    """Write a median and its quartiles."""
    low, middle, high = (factor * value for value in found)
    digits = 1 if abs(middle) >= 100 else 2 if abs(middle) >= 10 else 3
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _target_row(target: Target, results: Results) -> tuple[str, ...]:
    found = target.find(results)
    sign = "≥" if target.at_least else "≤"
    numbers = "" if found is None else spread(found)
    limit = f"{sign} {target.limit:g}{'x' if target.unit == 'x' else ' s'}"
    return target.name, str(target.threads), limit, numbers, verdict(target, results)


def _linear(each: Growth, costs: tuple[float, ...]) -> str:
    start, end = linear_range(each.values, each.work, costs)
    if start is None:
        return "nowhere"
    return f"from {start} on" if end is None else f"{start} to {end}, then steeper"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}"


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"

"""How the time and the memory of a step grow along an axis."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ib_pyro.elbo import InformationBottleneckELBO
from inference.studies.bench.device import Device
from inference.studies.bench.loops import fit_block, hand_block
from inference.studies.bench.memory import peak_bytes
from inference.studies.bench.mlp_by_hand import MLPByHand
from inference.studies.bench.side_by_side import betas_of, side_by_side_block
from inference.studies.bench.synthetic import labelled_images
from inference.studies.bench.taking_turns import Block, take_turns
from models.mlp import MLP

__all__ = ["AXES", "Curve", "Growth", "linear_range", "measure_growth", "slope"]

HIDDEN, BATCH, STEPS = 64, 100, 10
FLAT, STEEP = 0.75, 1.25


@dataclass(frozen=True)
class Curve:
    """Costs of a step along an axis.

    Args:
        seconds: Median seconds a step, one for each value.
        bytes: Peak memory, one for each value.
    """

    seconds: tuple[float, ...]
    bytes: tuple[int, ...]


@dataclass(frozen=True)
class Growth:
    """Costs of a step of the MLP along an axis, all else at width 64, batch 100 and three sites.

    Args:
        axis: One of :data:`AXES`.
        values: Values on it.
        work: What costs should be proportional to, as multiples of the first: for the width the multiplications of a
            step's linear maps, else the value.
        curves: Costs by way: ``"captured"``, and ``"by hand"`` where there is one.
    """

    axis: str
    values: tuple[int, ...]
    work: tuple[float, ...]
    curves: dict[str, Curve] = field(default_factory=dict)


def measure_growth(axis: str, values: Sequence[int], device: Device, *, blocks: int) -> Growth:
    """Measure steps along an axis.

    Args:
        axis: One of :data:`AXES`.
        values: Values on it, increasing.
        device: Where to compute.
        blocks: Blocks for each value.

    Raises:
        NotMeasured: If this checkout cannot do what the axis counts.
    """
    points = [_point(AXES[axis](value, device), device, blocks) for value in values]
    ways = points[0].keys()
    curves = {way: Curve(*zip(*(point[way] for point in points), strict=True)) for way in ways}
    work = [_work(axis, value) for value in values]
    return Growth(axis, tuple(values), tuple(each / work[0] for each in work), curves)


def slope(work: Sequence[float], costs: Sequence[float]) -> float:
    """Return the slope of the straight line through the logarithms: 1 where costs are proportional to work."""
    return float(np.polyfit(np.log(work), np.log(costs), 1)[0])


def linear_range(
    values: Sequence[int], work: Sequence[float], costs: Sequence[float]
) -> tuple[int | None, int | None]:
    """Say where costs grow like the work.

    Returns:
        The value from which on the slope to the next value is at least 0.75, before which a fixed cost shows, and the
        first value from which it is above 1.25. None where there is none.
    """
    steps = list(zip(values, work, work[1:], costs, costs[1:], strict=False))
    slopes = [(value, math.log(d / c) / math.log(b / a)) for value, a, b, c, d in steps]
    start = next((value for value, each in slopes if each >= FLAT), None)
    return start, next((value for value, each in slopes if each > STEEP), None)


def _point(ways: dict[str, Block], device: Device, blocks: int) -> dict[str, tuple[float, int]]:
    times = take_turns(ways, blocks=blocks, parts=STEPS, wait=device.wait)
    seconds = {way: float(np.median([getattr(each, device.clock) for each in times[way]])) for way in ways}
    found = {way: (seconds[way], peak_bytes(block, device)) for way, block in ways.items()}
    ways.clear()
    gc.collect()
    return found


def _ways(hidden: int | Sequence[int], batch_size: int, device: Device) -> dict[str, Block]:
    torch.manual_seed(0)
    x, y = labelled_images(STEPS * batch_size, (1, 28, 28), device.name)
    return {
        "captured": fit_block(MLP(hidden=hidden).to(device.name), x, y, batch_size, capture="on"),
        "by hand": hand_block(MLPByHand(hidden).to(device.name), x, y, batch_size),
    }


def _particles(number: int, device: Device, *, vectorised: bool) -> dict[str, Block]:
    torch.manual_seed(0)
    x, y = labelled_images(STEPS * BATCH, (1, 28, 28), device.name)
    elbo = InformationBottleneckELBO(
        beta=1 / len(x),
        num_particles=number,
        vectorize_particles=vectorised and number > 1,
        max_plate_nesting=1,
    )
    # Batch norm takes the dimension of particles for its own.
    program = MLP(hidden=HIDDEN, batch_norm=False).to(device.name)
    return {"captured": fit_block(program, x, y, BATCH, capture="on", elbo=elbo)}


def _betas(number: int, device: Device) -> dict[str, Block]:
    x, y = labelled_images(STEPS * BATCH, (1, 28, 28), device.name)
    return {"side by side": side_by_side_block(betas_of(number), x, y, BATCH)}


def _work(axis: str, value: int) -> float:
    """Return the multiplications of a sample for a width, up to a factor, and the value on any other axis."""
    return 784 * value + 2 * value * value + 5 * value if axis == "width" else value


AXES: dict[str, Callable[[int, Device], dict[str, Block]]] = {
    "width": lambda value, device: _ways(value, BATCH, device),
    "batch": lambda value, device: _ways(HIDDEN, value, device),
    "sites": lambda value, device: _ways([HIDDEN] * value, BATCH, device),
    "particles": lambda value, device: _particles(value, device, vectorised=False),
    "particles, vectorised": lambda value, device: _particles(value, device, vectorised=True),
    "betas, vectorised": _betas,
}

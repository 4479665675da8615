"""What softplus costs before and after the constants of log1p are in memory, alone and in a step of a network.

Run it with one thread:

    OMP_NUM_THREADS=1 python docs/design/first_log1p.py
"""

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from ib_pyro.vector_math import page_in_special_cases
from models.all_cnn import AllCNN32

NUMBERS, BATCH, PASSES = 1_000_000, 50, 9


def seconds(function: Callable[[], object]) -> float:
    """Median processor time of a call."""
    function()
    times = []
    for _ in range(PASSES):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return sorted(times)[PASSES // 2]


def timed() -> dict[str, tuple[float, Callable[[], object]]]:
    """Return what is timed by its name, each with the factor from seconds to its unit."""
    x = torch.linspace(-8, 8, NUMBERS)
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    program, elbo = (
        AllCNN32(fraction=0.25, activation="softplus"),
        InformationBottleneckELBO(beta=1e-4),
    )
    optimizer = torch.optim.SGD(program.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        elbo.differentiable_loss(
            program.model, program.guide, images, labels
        ).backward()
        optimizer.step()

    each = 1e9 / NUMBERS
    return {
        "softplus [ns a number]": (each, lambda: F.softplus(x)),
        "expm1 [ns a number]": (each, lambda: torch.expm1(x)),
        "exp [ns a number]": (each, lambda: torch.exp(x)),
        "All-CNN-32, 25 %, softplus [ms a step]": (1e3, step),
    }


def main() -> None:
    """Measure everything before, then after."""
    functions = timed()
    before = {
        name: unit * seconds(function) for name, (unit, function) in functions.items()
    }
    page_in_special_cases()
    print(f"{'':<40}{'before':>8}{'after':>8}")
    for name, (unit, function) in functions.items():
        print(f"{name:<40}{before[name]:8.2f}{unit * seconds(function):8.2f}")


if __name__ == "__main__":
    main()

"""Where the time of a training step goes: the paper's network beside the same by hand.

Run it with one thread, on a machine that does little else:

    OMP_NUM_THREADS=1 python docs/design/parts_of_a_step.py
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from ib_pyro.traces import trace_pair
from inference.studies.bench.mlp_by_hand import MLPByHand
from models.mlp import MLP

BATCH, STEPS, BLOCKS, BETA = 100, 50, 11, 1e-4


def programs(hidden: int) -> dict[str, Callable[[], object]]:
    """Build what is timed; each entry of ours holds all of the one before it."""
    x, y = torch.rand(BATCH, 1, 28, 28), torch.randint(10, (BATCH,))
    network, program = MLPByHand(hidden), MLP(hidden=hidden)
    elbo = InformationBottleneckELBO(beta=BETA)

    def by_hand() -> torch.Tensor:
        logits, rate = network(x)
        return F.cross_entropy(logits, y) + BETA * rate.mean()

    def ours() -> torch.Tensor:
        return elbo.differentiable_loss(program.model, program.guide, x, y) / BATCH

    return {
        "by hand: loss": by_hand,
        "by hand: loss and gradient": lambda: by_hand().backward(),
        "guide": lambda: program.guide(x, y),
        "guide and model, traced": lambda: trace_pair(
            program.model, program.guide, (x, y), {}
        ),
        "loss": ours,
        "loss and gradient": lambda: ours().backward(),
    }


def milliseconds(step: Callable[[], object]) -> float:
    """Return processor time a step, over a block of steps."""
    start = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - start) / STEPS * 1e3


def main() -> None:
    """Print medians over blocks, taken in turn."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{'milliseconds a step':<30}{'width 64':>10}{'width 512':>10}")
    columns = []
    for hidden in (64, 512):
        parts = programs(hidden)
        blocks = [
            {name: milliseconds(step) for name, step in parts.items()}
            for _ in range(BLOCKS)
        ]
        columns.append(
            {name: statistics.median(block[name] for block in blocks) for name in parts}
        )
    for name, narrow in columns[0].items():
        print(f"{name:<30}{narrow:>10.2f}{columns[1][name]:>10.2f}")


if __name__ == "__main__":
    main()

"""What a step of ``fit`` costs beside a loop written by hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from lightning.fabric import Fabric
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from ib_pyro.elbo import InformationBottleneckELBO
from inference.fit.loop import TrainingLoop
from inference.fit.optimizers import build_optimizer
from models.mlp import MLP

__all__ = ["HandWritten", "StepCost", "hand_written_epoch", "print_step_costs", "step_cost"]

ALPHA_MIN, ALPHA_MAX = 1e-3, 0.7


@dataclass(frozen=True)
class StepCost:
    """Medians over blocks of steps, each kind's blocks taken in turn.

    Args:
        hidden: Width of the hidden layers.
        fit: Milliseconds a step of ``fit``.
        by_hand: Milliseconds a step of the loop written by hand.
        ratio: Median over pairs of neighbouring blocks of their ratio.
        spread: The lower and the upper quartile of the ratio.
    """

    hidden: int
    fit: float
    by_hand: float
    ratio: float
    spread: tuple[float, float]


class HandWritten(nn.Module):
    """The network of ``models.mlp.MLP`` with information dropout, in plain PyTorch."""

    def __init__(self, hidden: int, *, inputs: int = 784, classes: int = 10) -> None:
        super().__init__()
        widths = [inputs, hidden, hidden, hidden]
        pairs = list(zip(widths, widths[1:], strict=False))
        self.features = nn.ModuleList([nn.Linear(a, b, bias=False) for a, b in pairs])
        self.norms = nn.ModuleList([nn.BatchNorm1d(b) for _, b in pairs])
        self.noise = nn.ModuleList([nn.Linear(a, b) for a, b in pairs])
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, classes]`` and the rate ``[B]``, nats per sample."""
        z = x.flatten(1)
        rate = x.new_zeros(len(x))
        for features, norm, noise in zip(self.features, self.norms, self.noise, strict=True):
            alpha = ALPHA_MIN + (ALPHA_MAX - ALPHA_MIN) * torch.sigmoid(noise(z))
            f = F.relu(norm(features(z)))
            # A unit that is off is the prior's atom, which is free: only the others pay.
            rate = rate + ((f > 0) * (ALPHA_MAX / alpha).log()).sum(1)
            z = f * torch.exp(alpha * torch.randn_like(alpha))
        return self.head(z), rate


def hand_written_epoch(
    network: HandWritten, optimizer: Optimizer, x: Tensor, y: Tensor, *, batch_size: int, beta: float
) -> Tensor:
    """Take a step on every batch; return the sum of the losses, still on the device."""
    network.train()
    total = torch.zeros((), device=x.device)
    for index in torch.randperm(len(x), device=x.device).split(batch_size):
        logits, rate = network(x[index])
        loss = F.cross_entropy(logits, y[index]) + beta * rate.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total


def step_cost(hidden: int, *, batch_size: int = 100, steps: int = 50, blocks: int = 21) -> StepCost:
    """Measure a training step of ``fit`` and one written by hand, side by side in this process.

    The same network, loss, data and fused SGD with momentum; blocks of either kind alternate, so that whatever
    else the machine does falls on both, and processor time is counted. Meant for one thread.

    Args:
        hidden: Width of the hidden layers.
        batch_size: Images in a step.
        steps: Steps in a block.
        blocks: Blocks of each kind.

    Returns:
        The costs.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(steps * batch_size, 1, 28, 28, generator=generator)
    y = torch.randint(10, (len(x),), generator=generator)
    ours, theirs = _fit_block(hidden, x, y, batch_size), _hand_block(hidden, x, y, batch_size)
    _seconds(ours), _seconds(theirs)
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(blocks)]
    ratios = [a / b for a, b in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    fit, by_hand = (statistics.median(column) / steps * 1e3 for column in zip(*pairs, strict=True))
    return StepCost(hidden, fit, by_hand, middle, (low, high))


def _fit_block(
    hidden: int, x: Tensor, y: Tensor, batch_size: int, capture: str = "off"
) -> Callable[[], object]:
    program = MLP(hidden=hidden)
    loop = TrainingLoop(
        program,
        x,
        y,
        elbo=InformationBottleneckELBO(beta=1 / len(x)),
        optimizer=build_optimizer("sgd", program.parameters(), lr=0.01),
        batch_size=batch_size,
        order=torch.Generator().manual_seed(0),
        fabric=Fabric(accelerator="cpu", devices=1),
        capture=capture,
    )
    return partial(loop.epoch, 0)


def _hand_block(hidden: int, x: Tensor, y: Tensor, batch_size: int) -> Callable[[], object]:
    network = HandWritten(hidden)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    return lambda: hand_written_epoch(network, optimizer, x, y, batch_size=batch_size, beta=1 / len(x))


def _seconds(block: Callable[[], object]) -> float:
    # The processor's time, not the clock's: what other programs take does not count.
    start = time.process_time()
    block()
    return time.process_time() - start


def print_step_costs(costs: Sequence[StepCost], *, target: float, console: Console | None = None) -> None:
    """Print what a training step costs.

    Args:
        costs: A measurement for each width.
        target: Greatest ratio that passes.
        console: Where to print; standard output by default.
    """
    table = Table(title="processor time of a training step, one thread, medians of alternating blocks")
    for name in ("hidden", "fit, ms", "by hand, ms", "ratio", "quartiles", f"at most {target:g}"):
        table.add_column(name, justify="right")
    for cost in costs:
        low, high = cost.spread
        verdict = "yes" if cost.ratio <= target else "no"
        numbers = (f"{cost.fit:.3f}", f"{cost.by_hand:.3f}", f"{cost.ratio:.2f}", f"{low:.2f} to {high:.2f}")
        table.add_row(str(cost.hidden), *numbers, verdict)
    (console or Console()).print(table)

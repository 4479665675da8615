"""How a run is trained: length, optimiser, seeds and the device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ib_pyro.choices import require_known
from inference.runs.settings import require, setting

if TYPE_CHECKING:
    import torch
    from lightning.fabric import Fabric
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

__all__ = ["SCHEDULES", "TrainingSpec", "milestones"]

# Fractions of the epochs after which the rate drops. The paper: 80 and 120 of 160; the authors' code: 80, 120
# and 160 of 200.
SCHEDULES: dict[str, tuple[float, ...]] = {
    "constant": (),
    "paper": (80 / 160, 120 / 160),
    "authors-code": (80 / 200, 120 / 200, 160 / 200),
}
_OPTIMIZERS = {"adam": 1e-3, "sgd": 0.07}
_CAPTURE = ("auto", "off", "on")
_PRECISIONS = ("16-mixed", "32-true", "64-true", "bf16-mixed", "bf16-true")


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Epochs, steps, optimiser, seeds and device of a fit.

    Raises:
        ValueError: If a name is unknown, a value out of range, or without effect on the optimiser.
    """

    epochs: int = setting(80, "passes over the training images")
    batch_size: int = setting(100, "images in a step; the last, partial batch is kept")
    drop_last: bool = setting(False, "leave out the partial batch; in each epoch other images are left out")
    lr: float | None = setting(
        None, "learning rate of the first epoch (default: 0.07 for sgd, 0.001 for adam)"
    )
    schedule: str = setting("paper", f"when the rate drops: {', '.join(SCHEDULES)}", known=SCHEDULES)
    lr_drops: tuple[int, ...] | None = setting(
        None, "epochs after which the rate drops, as 40,60; overrides --schedule"
    )
    lr_factor: float = setting(0.1, "what a drop multiplies the rate by")
    optimizer: str | None = setting(
        None,
        f"optimiser: {', '.join(_OPTIMIZERS)} (default: sgd; of --model vae, and of one's own, adam)",
        known=_OPTIMIZERS,
    )
    momentum: float = setting(0.9, "momentum of sgd")
    nesterov: bool = setting(False, "Nesterov's momentum")
    weight_decay: float = setting(0.0, "L2 weight decay")
    steady_priors: bool = setting(
        False, "let learned priors go no faster than is stable: a quarter of 1 / (beta times a layer's units)"
    )
    seed: int = setting(0, "seed of the weights, the noise and the order of the batches")
    checkpoint_every: int = setting(1, "epochs between two checkpoints")
    accelerator: str = setting("auto", "device: auto, cpu, cuda, mps, ...")
    devices: int = setting(
        1, "devices of a machine, each with a process of its own that takes --batch-size images of a step"
    )
    num_nodes: int = setting(1, "machines; the command is started on each of them")
    strategy: str = setting(
        "auto", "how the processes work together, by its name in Lightning: auto, ddp, ..."
    )
    precision: str = setting(
        "32-true", f"precision of the arithmetic: {', '.join(_PRECISIONS)}", known=_PRECISIONS
    )
    tensorboard: bool = setting(
        False, "write the metrics for TensorBoard too, into the run's folder", place=True
    )
    capture: str = setting(
        "auto",
        f"replay steps from a recording of their tensor operations, with the same numbers: {', '.join(_CAPTURE)}; "
        "auto does so for programs that can be recorded, in fits of many steps",
        place=True,
        known=_CAPTURE,
    )
    threads: int | None = setting(None, "CPU threads of one operation (default: PyTorch's choice)")

    def __post_init__(self) -> None:
        if self.optimizer is not None:
            require_known("optimizer", self.optimizer, _OPTIMIZERS)
        require_known("schedule", self.schedule, SCHEDULES)
        require_known("precision", self.precision, _PRECISIONS)
        require_known("capture", self.capture, _CAPTURE)
        for name in ("epochs", "batch_size", "checkpoint_every", "devices", "num_nodes"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")
        require(0 <= self.seed < 2**32, "seed", self.seed, "within [0, 2**32)")
        self._check_rates()
        self._check_drops()

    def completed(self, optimizer: str) -> TrainingSpec:
        """The same with an optimiser and a learning rate where none was given.

        The rate that suits the classifiers throws an autoencoder to where its loss is not finite.

        Args:
            optimizer: The optimiser of the run's task.
        """
        optimizer = self.optimizer or optimizer
        lr = _OPTIMIZERS[optimizer] if self.lr is None else self.lr
        done = replace(self, optimizer=optimizer, lr=lr)
        for name, default in (("momentum", 0.9), ("nesterov", False)):
            value = getattr(done, name)
            if optimizer != "sgd" and value != default:
                raise ValueError(
                    f"--{name} {value} has no effect with --optimizer {optimizer}; it goes with --optimizer sgd"
                )
        return done

    @property
    def lr_milestones(self) -> tuple[int, ...]:
        """Numbers of finished epochs after which the learning rate drops."""
        return milestones(self.schedule, self.epochs) if self.lr_drops is None else self.lr_drops

    def build(self, program: nn.Module, x: Tensor, *, beta: float) -> tuple[Optimizer, LRScheduler]:
        """Build the optimiser of a program's parameters and the schedule of its learning rates.

        The pair of parameters of a learned prior that a layer's units share has beta times the number of units as
        its curvature. At the network's own learning rate a large beta would throw it, within some steps, to where the
        rate is infinite; ``steady_priors`` gives it a rate of its own.

        Args:
            program: The program.
            x: Inputs of which a few are looked at, ``[N, ...]``.
            beta: Weight of the rate, per sample.
        """
        from torch.optim.lr_scheduler import MultiStepLR

        from ib_pyro.training.noisy_sites import sample_sites
        from ib_pyro.training.optimizers import build_optimizer

        shared = _learned_priors(program) if self.steady_priors else {}
        others = [p for name, p in program.named_parameters() if name not in shared]
        optimizer = build_optimizer(
            self.optimizer or "sgd",
            others,
            lr=self.lr or _OPTIMIZERS["sgd"],
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )
        if shared:
            units = max(z[0].numel() for z in sample_sites(program, x[:2]).values())
            lr = min(optimizer.param_groups[0]["lr"], 0.25 / max(beta * units, 1e-12))
            optimizer.add_param_group({"params": list(shared.values()), "lr": lr, "weight_decay": 0.0})
        return optimizer, MultiStepLR(optimizer, self.lr_milestones, gamma=self.lr_factor)

    def is_steadied(self, program: nn.Module) -> bool:
        """Whether parameters of a program have a learning rate of their own, see :meth:`build`."""
        return self.steady_priors and bool(_learned_priors(program))

    def steps(self, num_train: int) -> int:
        """Number of steps in an epoch.

        Args:
            num_train: Number of training images.
        """
        whole, rest = divmod(num_train, self.batch_size * self.processes)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters, also where some arithmetic is done in another."""
        import torch

        return {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(self.precision, torch.float32)

    @property
    def processes(self) -> int:
        """Number of processes of a fit."""
        return self.devices * self.num_nodes

    @property
    def is_spread(self) -> bool:
        """Whether a fit starts processes."""
        return self.processes > 1 or self.strategy != "auto"

    @property
    def leads(self) -> bool:
        """Whether this process, of those of a fit, is the first: the one that writes files."""
        if not self.is_spread:
            return True
        from lightning.fabric.utilities.rank_zero import rank_zero_only

        return bool(rank_zero_only.rank == 0)

    def fabric(self, out: Path | None = None, *, spread: bool = False) -> Fabric:
        """Devices, precision and loggers.

        Args:
            out: Folder of the run, where TensorBoard's files go; None for none.
            spread: Whether to take all the devices, as a fit does, and start the processes; otherwise it is one.

        Raises:
            ValueError: If the machine has no such device or precision.
        """
        from lightning.fabric import Fabric
        from lightning.fabric.loggers import TensorBoardLogger

        logged = self.tensorboard and out is not None
        loggers = [TensorBoardLogger(out, name="tensorboard", version="")] if logged else None
        places = {"devices": self.devices, "num_nodes": self.num_nodes, "strategy": self.strategy}
        places = places if spread and self.is_spread else {"devices": 1}
        try:
            fabric = Fabric(accelerator=self.accelerator, precision=self.precision, loggers=loggers, **places)
            if "strategy" in places:
                fabric.launch()
            return fabric
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"--accelerator {self.accelerator}, --precision {self.precision}"
                f"{', --devices, --num-nodes, --strategy' if 'strategy' in places else ''}: {error}"
            ) from error

    @contextmanager
    def ambience(self, threads: int | None = None) -> Iterator[None]:
        """Seed the ambient generators and set the threads inside of the block, and leave them as they were.

        Args:
            threads: CPU threads of one operation where the run says nothing of them; by default PyTorch's choice.
        """
        import torch

        from ib_pyro.training.randomness import seeded

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or threads or before)
        try:
            with seeded(self.seed):
                yield
        finally:
            torch.set_num_threads(before)

    def _check_rates(self) -> None:
        require(self.lr is None or 0 < self.lr < math.inf, "lr", self.lr, "positive and finite")
        require(0 < self.lr_factor <= 1, "lr_factor", self.lr_factor, "within (0, 1]")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "within [0, 1)")
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "not negative")
        if self.nesterov:
            require(self.momentum > 0, "momentum", self.momentum, "positive with --nesterov")

    def _check_drops(self) -> None:
        drops = self.lr_drops
        if drops is None:
            return
        increasing = all(first < second for first, second in pairwise(drops))
        inside = all(1 <= drop < self.epochs for drop in drops)
        require(increasing and inside, "lr_drops", drops, f"increasing and within [1, {self.epochs - 1}]")


def _learned_priors(program: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in program.named_parameters() if name.rsplit(".", 1)[-1].startswith("prior_")}


def milestones(schedule: str, epochs: int) -> tuple[int, ...]:
    """Epochs after which a named schedule drops the learning rate.

    Args:
        schedule: A key of ``SCHEDULES``.
        epochs: Length of the whole run.

    Returns:
        Numbers of finished epochs, strictly increasing, each within ``[1, epochs - 1]``.

    Raises:
        ValueError: If the schedule is unknown.

    >>> milestones("paper", 160)
    (80, 120)
    >>> milestones("authors-code", 200)
    (80, 120, 160)
    """
    require_known("schedule", schedule, SCHEDULES)
    drops = {round(fraction * epochs) for fraction in SCHEDULES[schedule]}
    return tuple(sorted(drop for drop in drops if 1 <= drop < epochs))

"""What a fitted program does on a set: errors with and without noise, distortion and rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ib_pyro.data import Batches, batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.handlers import noise_off
from ib_pyro.precision import widest
from ib_pyro.training.batch_norm import noise_off_copy
from ib_pyro.training.data_placement import placed
from ib_pyro.training.dataset import Dataset
from ib_pyro.training.model_and_guide import model_and_guide
from ib_pyro.training.randomness import seeded

__all__ = ["Evaluation", "evaluate", "noisy_error"]


@dataclass(frozen=True)
class Evaluation:
    """Errors as shares in [0, 1], distortion and rate in nats per sample.

    The errors are None where y is no class label.

    Args:
        num_images: Size of the set.
        error_noisy: Error with one noise sample an image.
        error_predictive: Error of the posterior predictive, the mean over ``num_samples`` noise samples.
        error_deterministic: Error with the noise off and batch-norm statistics re-estimated without it.
        num_samples: Noise samples of the posterior predictive.
        distortion: ``-log p(y|z)`` with one noise sample an image.
        distortion_deterministic: The same with the noise off.
        rate: Of each site.
    """

    num_images: int
    error_noisy: float | None
    error_predictive: float | None
    error_deterministic: float | None
    num_samples: int
    distortion: float
    distortion_deterministic: float
    rate: dict[str, float]

    @property
    def total_rate(self) -> float:
        """Sum of the rates of the sites, nats per sample."""
        return math.fsum(self.rate.values())


@torch.no_grad()
def evaluate(
    program: nn.Module,
    data: Dataset,
    *,
    train: Dataset | None = None,
    num_samples: int = 16,
    batch_size: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a program on a set, with the noise on and off.

    The noise is drawn from a generator of its own, so that the same program gives the same numbers every time
    and the caller's generators stay where they are.

    Args:
        program: A ``ib_pyro.Bottleneck`` left as it is, in evaluation mode.
        data: Set to evaluate on.
        train: Training set, over which batch-norm statistics are re-estimated with the noise off; without it the
            noisy network's statistics are used, which makes the deterministic error look worse than it is.
        num_samples: Noise samples of the posterior predictive.
        batch_size: Images at a time.
        seed: Seed of the noise.

    Returns:
        The numbers.
    """
    program.eval()
    with seeded(seed):
        distortion, rate = _terms(program, data, batch_size)
        noisy = _error(program, data, 1, batch_size)
        predictive = _error(program, data, num_samples, batch_size)
        quiet = program
        if train is not None:
            quiet = noise_off_copy(program, placed(train.x, program), batch_size=batch_size)
        deterministic = _error(quiet, data, 0, batch_size)
        with noise_off():
            quiet_distortion, _ = _terms(quiet, data, batch_size)
    return Evaluation(
        num_images=len(data.x),
        error_noisy=noisy,
        error_predictive=predictive,
        error_deterministic=deterministic,
        num_samples=num_samples,
        distortion=distortion,
        distortion_deterministic=quiet_distortion,
        rate=rate,
    )


@torch.no_grad()
def noisy_error(program: nn.Module, data: Dataset, *, batch_size: int = 1000, seed: int = 0) -> float | None:
    """Share of a set that one noise sample an image gets wrong; the program's training mode is kept."""
    training = program.training
    program.eval()
    try:
        with seeded(seed):
            return _error(program, data, 1, batch_size)
    finally:
        program.train(training)


def _terms(program: nn.Module, data: Dataset, batch_size: int) -> tuple[float, dict[str, float]]:
    elbo = InformationBottleneckELBO(beta=1.0)
    distortion, rate = 0.0, dict[str, float]()
    model, guide = model_and_guide(program)
    for x, y in _batches(program, data, batch_size):
        terms = elbo.terms(model, guide, x, y)
        distortion += _total(terms.distortion)
        for site, value in terms.rate.items():
            rate[site] = rate.get(site, 0.0) + _total(value)
    size = len(data.x)
    return distortion / size, {site: value / size for site, value in rate.items()}


def _error(program: nn.Module, data: Dataset, num_samples: int, batch_size: int) -> float | None:
    if data.y.is_floating_point() or data.y.ndim != 1:
        return None
    predict: Callable[..., Tensor] = program.predict  # type: ignore[assignment]
    wrong = 0
    for x, y in _batches(program, data, batch_size):
        wrong += int((predict(x, num_samples=num_samples).argmax(-1) != y).sum())
    return wrong / len(data.x)


def _batches(program: nn.Module, data: Dataset, batch_size: int) -> Batches:
    return batches((placed(data.x, program), placed(data.y, program)), batch_size, shuffle=False)


def _total(values: Tensor) -> float:
    # A thousand samples are more than the half types can count.
    return values.sum(dtype=widest(values.device)).item()

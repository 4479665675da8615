"""What a program does with images, and how that is evaluated: a task makes y, evaluates, and names the columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from inference.runs.program_spec import NOISES, ProgramSpec
from inference.runs.settings import flag, require, setting

if TYPE_CHECKING:
    from torch import Tensor

    from ib_pyro import Bottleneck
    from ib_pyro.data import LabelledImages
    from ib_pyro.training.dataset import Dataset
    from ib_pyro.training.evaluation import Evaluation
    from ib_pyro.training.loop import Transform
    from inference.runs.splits import Splits

__all__ = ["TASKS", "Classification", "EvaluationSpec", "GreyReconstruction", "Reconstruction", "Task"]


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """Draws and batches of the evaluation.

    Raises:
        ValueError: If a value is out of range.
    """

    num_samples: int = setting(16, "noise samples of the posterior predictive in the evaluation")
    num_importance_samples: int = setting(
        64, "draws of the importance-weighted bound of --model vae (0: no such bound)"
    )
    eval_batch_size: int = setting(1000, "images at a time in the evaluation")
    validate_every_epoch: bool = setting(True, "test on the held-out images after every epoch as well")

    def __post_init__(self) -> None:
        for name in ("num_samples", "eval_batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        draws = self.num_importance_samples
        require(draws >= 0, "num_importance_samples", draws, "not negative")


class Task(ABC):
    """What a kind of program is fitted to, and what is asked of it.

    Attributes:
        optimizer: Optimiser where none was given.
        beta: Weight of the rate per sample where none was given.
        transform: What a step sees of a batch x, y; None for the batch itself.
    """

    optimizer: ClassVar[str]
    beta: ClassVar[float]
    transform: Transform | None = None

    @abstractmethod
    def require_beta(self, program: ProgramSpec) -> None:
        """Refuse a run without a weight of the rate, if its noise needs one."""

    @abstractmethod
    def observed(self, images: LabelledImages, *, seed: int) -> Dataset:
        """Return what is evaluated on: inputs, and what is observed of them."""

    @abstractmethod
    def evaluate(
        self, program: Bottleneck, splits: Splits, how: EvaluationSpec, *, seed: int, data_seed: int
    ) -> dict[str, Any]:
        """Evaluate a fitted program.

        Args:
            program: In evaluation mode.
            splits: The images.
            how: Draws and batches.
            seed: Seed of the draws.
            data_seed: Seed of what is drawn of the images themselves.

        Returns:
            Columns of ``result.json``; distortion, rates and bounds in nats per sample, errors as shares.
        """


class Classification(Task):
    """y is the label; errors with and without noise."""

    optimizer, beta = "sgd", 0.0

    def require_beta(self, program: ProgramSpec) -> None:
        """Refuse a run without a weight of the rate, if its noise learns one.

        Raises:
            ValueError: If it does.
        """
        if NOISES[program.noise].learns:
            raise ValueError(
                f"{flag('dropout')} {program.noise} needs the weight of its rate: --beta (nats per sample) or "
                "--beta-paper (times the number of training images; the paper's are around 1)"
            )

    def observed(self, images: LabelledImages, *, seed: int) -> Dataset:
        """The images with their labels."""
        return images

    def evaluate(
        self, program: Bottleneck, splits: Splits, how: EvaluationSpec, *, seed: int, data_seed: int
    ) -> dict[str, Any]:
        """Errors on the test images and, where there are some, on the held-out ones."""
        from ib_pyro.training.evaluation import evaluate

        options = {"train": splits.train, "num_samples": how.num_samples, "batch_size": how.eval_batch_size}
        test = evaluate(program, splits.test, seed=seed, **options)
        result = {
            **_errors(test, "test"),
            "num_samples": test.num_samples,
            "distortion": test.distortion,
            "distortion_deterministic": test.distortion_deterministic,
            **_rates(test),
            "units": "errors: shares of the images; distortion and rate: nats per sample, of the test set",
        }
        if splits.validation is not None:
            result |= _errors(evaluate(program, splits.validation, seed=seed, **options), "validation")
        return result


class Reconstruction(Task):
    """y is x, each pixel drawn as 0 or 1 by its grey value: anew for every step, and once for a test.

    With beta = 1 the Lagrangian is the negative bound on the log-likelihood.
    """

    optimizer, beta = "adam", 1.0
    units: ClassVar[str] = "nats per image, of the test set, stochastically binarised once"

    def require_beta(self, program: ProgramSpec) -> None:
        """A bound on the likelihood has its own weight, 1."""

    @staticmethod
    def transform(x: Tensor, _y: Tensor) -> tuple[Tensor, Tensor]:
        """Binarise a batch anew, and let it be its own target."""
        from models.vae import binarise

        binary = binarise(x)
        return binary, binary

    def observed(self, images: LabelledImages, *, seed: int) -> Dataset:
        """The images binarised once, as a pure function of the seed, so that their bound is one number."""
        import torch

        from ib_pyro.training.dataset import Samples
        from models.vae import binarise

        binary = binarise(images.x, torch.Generator().manual_seed(seed))
        return Samples(binary, binary)

    def evaluate(
        self, program: Bottleneck, splits: Splits, how: EvaluationSpec, *, seed: int, data_seed: int
    ) -> dict[str, Any]:
        """Bounds on the log-likelihood of the test images."""
        from ib_pyro.training.evaluation import evaluate

        test = self.observed(splits.test, seed=data_seed)
        found = evaluate(program, test, num_samples=1, batch_size=how.eval_batch_size, seed=seed)
        return {
            **_bounds(program, test, how.num_importance_samples, seed),
            "distortion": found.distortion,
            "distortion_deterministic": found.distortion_deterministic,
            **_rates(found),
            "units": self.units,
        }


class GreyReconstruction(Reconstruction):
    """y is x, its grey values as they are, under a likelihood of these."""

    units = "nats per image, of the test set, of its grey values"

    @staticmethod
    def transform(x: Tensor, _y: Tensor) -> tuple[Tensor, Tensor]:
        """Let a batch be its own target."""
        return x, x

    def observed(self, images: LabelledImages, *, seed: int) -> Dataset:
        """The images as they are."""
        from ib_pyro.training.dataset import Samples

        return Samples(images.x, images.x)


class OwnTask(Classification):
    """y is what the data say: labels, whose errors are counted, or anything that the program observes."""

    optimizer = "adam"

    def require_beta(self, program: ProgramSpec) -> None:
        """Refuse a run without a weight of the rate: whether there is a rate, only the program knows.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"--model {program.model} needs the weight of its rate: --beta (nats per sample; 0 where there is none) "
            "or --beta-paper (times the number of training samples)"
        )


TASKS: dict[str, Task] = {
    "classification": Classification(),
    "own": OwnTask(),
    "reconstruction": Reconstruction(),
    "reconstruction, grey": GreyReconstruction(),
}


def _errors(evaluation: Evaluation, split: str) -> dict[str, Any]:
    kinds = ("noisy", "predictive", "deterministic")
    return {f"{split}_error_{kind}": getattr(evaluation, f"error_{kind}") for kind in kinds}


def _rates(evaluation: Evaluation) -> dict[str, float]:
    return {
        "rate": evaluation.total_rate,
        **{f"rate/{site}": rate for site, rate in evaluation.rate.items()},
    }


def _bounds(program: Bottleneck, data: Dataset, num_samples: int, seed: int) -> dict[str, Any]:
    from ib_pyro.training.likelihood_bounds import bounds

    if num_samples == 0:
        return {}
    found = bounds(program, data.x, num_samples=num_samples, seed=seed)
    return {
        "test_elbo": found.elbo,
        "test_importance_weighted": found.importance_weighted,
        "test_importance_weighted_standard_error": found.standard_error,
        "test_gap": found.gap,
        "num_importance_samples": found.num_importance_samples,
        "effective_sample_size": found.effective_sample_size,
    }

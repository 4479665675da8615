"""What a fitted program does on a set: errors with and without noise, distortion and rate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ib_pyro.batch_norm import batches_seen, has_batch_norm, noise_off_statistics, number_of_batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.handlers import noise_off, value_without_noise, warn_if_noise_is_off
from ib_pyro.precision import widest
from ib_pyro.sites import is_point
from ib_pyro.subsamples import one_subsample
from ib_pyro.training.batch_arguments import Batch, Placement, leaves_of
from ib_pyro.training.by_sample import by_sample, plate_of_samples, terms_by_sample
from ib_pyro.training.data_checks import FirstLook, look_at
from ib_pyro.training.intervals import Interval, normal, wilson
from ib_pyro.training.one_draw import draw_once
from ib_pyro.training.programs import as_program, model_and_guide
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import Source, source_of
from ib_pyro.vector_math import page_in_special_cases

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["Evaluation", "evaluate"]

BATCH_SIZE = 1000


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Errors as shares in [0, 1], distortion and rate in nats per sample.

    The errors are None where y is no class label, and the deterministic numbers where some noise cannot be switched
    off.

    Args:
        num_images: Size of the set.
        error_noisy: Error with one noise sample an image (N).
        error_predictive: Error of the posterior predictive, the mean over ``num_samples`` noise samples.
        error_deterministic: Error with the noise off (D), and batch-norm statistics re-estimated without it if there
            was a training set to do so.
        num_samples: Noise samples of the posterior predictive.
        distortion: ``-log p(y|z)`` with one noise sample an image.
        distortion_deterministic: The same with the noise off.
        rate: Of each site.
        distortion_predictive: ``-log mean_s p(y|z_s)``, the negative log density of the posterior predictive.
        intervals: Of each number by its name, and of the rates as ``rate`` and ``rate/<site>``: Wilson's interval of
            the errors, the normal one of the means, over the samples of the set alone.
        confidence: Level of the intervals.
    """

    num_images: int
    error_noisy: float | None
    error_predictive: float | None
    error_deterministic: float | None
    num_samples: int
    distortion: float
    distortion_deterministic: float | None
    rate: dict[str, float]
    distortion_predictive: float = math.nan
    intervals: dict[str, Interval] = field(default_factory=dict)
    confidence: float = 0.95

    def __repr__(self) -> str:
        errors = {
            "1 draw": self.error_noisy,
            "predictive": self.error_predictive,
            "noise off": self.error_deterministic,
        }
        found = [f"{name} {value:.1%}" for name, value in errors.items() if value is not None]
        words = (
            f"{self.num_images} samples: distortion {self.distortion:.4g}, rate {self.total_rate:.4g} nats"
        )
        return f"{type(self).__name__}({words}{'; error ' * bool(found)}{', '.join(found)})"

    @property
    def total_rate(self) -> float:
        """Sum of the rates of the sites, nats per sample."""
        return math.fsum(self.rate.values())

    @property
    def table(self) -> pd.DataFrame:
        """The numbers, one a row, with ``estimate``, ``low``, ``high`` and the ``method`` of their interval."""
        import pandas as pd

        return pd.DataFrame.from_dict(
            self.intervals, orient="index", columns=["estimate", "low", "high", "method"]
        )


@torch.no_grad()
def evaluate(
    program: object,
    data: object,
    *,
    train: object | None = None,
    num_samples: int = 16,
    batch_size: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    elbo: InformationBottleneckELBO | None = None,
) -> Evaluation:
    """Evaluate a program on a set, with the noise on and off.

    The noise is drawn from a generator of its own, so that the same program gives the same numbers every time
    and the caller's generators stay where they are.

    Args:
        program: What :func:`ib_pyro.fit` takes; left as it is, in evaluation mode.
        data: Data to evaluate on, of any kind that :func:`ib_pyro.fit` takes.
        train: Training data, over which batch-norm statistics are re-estimated with the noise off; without them the
            noisy network's statistics are used, which makes the deterministic numbers look worse than they are, and
            warns.
        num_samples: Noise samples of the posterior predictive.
        batch_size: Samples at a time, by default 1,000; not for what makes batches itself.
        seed: Seed of the noise.
        confidence: Level of the intervals.
        elbo: How rates are found; by default in closed form.

    Returns:
        The numbers, with intervals over the samples of the set; the program's parameters are taken as given.

    Raises:
        TypeError: If program or data are of no kind that can be evaluated; says what to pass.
        ValueError: If ``num_samples`` is below 1, ``confidence`` not within (0, 1), or the program looks at a random
            part of a batch.

    >>> from torch import nn
    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> found = evaluate(program, (torch.rand(20, 4), torch.randint(2, (20,))))
    >>> list(found.table.index)[:3]
    ['error_noisy', 'error_predictive', 'error_deterministic']
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be within (0, 1); got {confidence}")
    warn_if_noise_is_off("evaluate", stacklevel=3)  # past its decorator
    module = as_program(program).eval()
    source = source_of(data, batch_size=batch_size, default=BATCH_SIZE)
    page_in_special_cases()
    first = Placement(module)(source.first())
    look = look_at(module, first)
    _require_all_samples(look, first)
    found = _Found(confidence, look.num_data or getattr(module, "num_data", None))
    with seeded(seed):
        found.add_terms(module, source, elbo or InformationBottleneckELBO())
        found.add_draws("noisy", module, source, look, 1)
        found.add_draws("predictive", module, source, look, num_samples)
        if all(_is_quiet(site) for site in look.guide_sites.values()):
            with _statistics(module, train, batch_size or BATCH_SIZE, look), noise_off():
                found.add_draws("deterministic", module, source, look, 1)
    return found.evaluation(num_samples)


class _Found:
    """Numbers with their intervals, as they come.

    Args:
        confidence: Level of the intervals.
        num_data: Size of the set that a batch is a subsample of; None if a batch stands for itself.
    """

    def __init__(self, confidence: float, num_data: int | None) -> None:
        self._confidence, self._num_data, self._size = confidence, num_data, 0
        self._intervals: dict[str, Interval] = {}

    def add_terms(self, program: nn.Module, source: Source, elbo: InformationBottleneckELBO) -> None:
        """Add the distortion and the rates under one draw."""
        placed, columns = Placement(program), dict[str, list[Tensor]]()
        sizes = []
        for batch in map(placed, source):
            sizes.append(batch.size)
            terms = elbo.terms(*model_and_guide(program), *batch.args, **batch.kwargs)
            whole, wide = self._num_data or batch.size, widest(terms.distortion.device)
            distortion, rates = terms_by_sample(terms, batch.size, whole, dtype=wide)
            columns.setdefault("distortion", []).append(distortion)
            for name, rate in rates.items():
                columns.setdefault(f"rate/{name}", []).append(rate)
        self._size = sum(sizes)
        for name, parts in columns.items():
            self._add_mean(name, parts, sizes)
        by_site = [parts for name, parts in columns.items() if name.startswith("rate/")]
        if by_site:
            totals = [sum(parts[1:], start=parts[0]) for parts in zip(*by_site, strict=True)]
            self._add_mean("rate", totals, sizes)

    def add_draws(
        self, name: str, program: nn.Module, source: Source, look: FirstLook, num_samples: int
    ) -> None:
        """Add the error and the distortion of the mean over draws."""
        placed, wrong, parts, sizes = Placement(program), 0, [], []
        for batch in map(placed, source):
            with one_subsample():
                draws = [draw_once(program, batch) for _ in range(num_samples)]
            log_likelihood = torch.stack([draw.log_likelihood for draw in draws])
            mixture, plates = math.log(num_samples) - log_likelihood.logsumexp(0), draws[0].plates
            whole = self._num_data or batch.size
            parts.append(by_sample(mixture, plates, plate_of_samples(plates, batch.size, whole), whole))
            sizes.append(batch.size)
            if look.labels is not None:
                probabilities = [draw.probabilities for draw in draws if draw.probabilities is not None]
                labels = list(leaves_of(batch))[look.labels]
                wrong += int((torch.stack(probabilities).mean(0).argmax(-1) != labels).sum())
        if look.labels is not None:
            self._intervals[f"error_{name}"] = wilson(wrong, self._size, self._confidence)
        if name != "noisy":  # that is the distortion itself
            self._add_mean(f"distortion_{name}", parts, sizes)

    def evaluation(self, num_samples: int) -> Evaluation:
        """Return all of it."""
        estimates = {name: interval.estimate for name, interval in self._intervals.items()}
        order = sorted(self._intervals, key=lambda name: not name.startswith("error"))
        return Evaluation(
            num_images=self._size,
            error_noisy=estimates.get("error_noisy"),
            error_predictive=estimates.get("error_predictive"),
            error_deterministic=estimates.get("error_deterministic"),
            num_samples=num_samples,
            distortion=estimates["distortion"],
            distortion_deterministic=estimates.get("distortion_deterministic"),
            rate={
                name.removeprefix("rate/"): estimates[name] for name in estimates if name.startswith("rate/")
            },
            distortion_predictive=estimates["distortion_predictive"],
            intervals={name: self._intervals[name] for name in order},
            confidence=self._confidence,
        )

    def _add_mean(self, name: str, parts: list[Tensor], sizes: list[int]) -> None:
        if all(part.dim() for part in parts):
            self._intervals[name] = normal(torch.cat(parts), self._confidence)
            return
        mean = (
            math.fsum(part.mean().item() * size for part, size in zip(parts, sizes, strict=True)) / self._size
        )
        self._intervals[name] = Interval(mean, math.nan, math.nan, "none")


def _require_all_samples(look: FirstLook, batch: Batch) -> None:
    """Raise if a plate of the program draws some samples of those that a batch has."""
    if look.num_seen is not None and look.num_seen < batch.size:
        raise ValueError(
            f"data: a batch has {batch.size} samples, and a plate of all observations, of size {look.num_data}, takes "
            f"{look.num_seen} of them, others at every run, where an evaluation is of all; leave subsample_size= out "
            "of the program, and take samples a few at a time by batch_size="
        )


def _is_quiet(site: Mapping[str, Any]) -> bool:
    """Whether a site of the guide has a value without noise."""
    return site["is_observed"] or is_point(site["fn"]) or value_without_noise(site["fn"]) is not None


def _statistics(
    program: nn.Module, train: object | None, batch_size: int, look: FirstLook
) -> AbstractContextManager[None]:
    """Re-estimate batch norm's statistics without noise, or warn that they are not."""
    if not has_batch_norm(program):
        return nullcontext()
    placed = Placement(program)
    if train is not None:
        source = source_of(train, name="train")
        batches = _even(source, batch_size) if source.whole is not None else iter(source)
        return noise_off_statistics(program, lambda batch: draw_once(program, batch), map(placed, batches))
    seen = batches_seen(program)
    if look.guide_sites and any(seen) and seen != getattr(program, "batches_seen_without_noise", None):
        warnings.warn(
            "the deterministic numbers use batch norm's running statistics, which were learned under noise and are "
            "wrong without it; pass train=, the training data, over which they are estimated again",
            stacklevel=4,
        )
    return nullcontext()


def _even(source: Source, batch_size: int) -> Iterator[Batch]:
    """Go through a set in memory in batches of (nearly) equal size."""
    assert source.whole is not None
    count = number_of_batches(source.size or 0, batch_size)
    columns = [leaf.tensor_split(count) for leaf in leaves_of(source.whole)]
    return map(source.rebuilt, zip(*columns, strict=True))

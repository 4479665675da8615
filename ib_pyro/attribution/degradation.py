"""Whether a map ranks the pixels that a network needs: its answer while they are taken away, or come back."""

from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor, nn

__all__ = ["DegradationCurves", "degradation_curves", "mean_interval"]


class DegradationCurves(NamedTuple):
    """The probability of a class as pixels are exchanged in the order of a map.

    Attributes:
        fractions: Share of the pixels that is exchanged, ``[steps + 1]``, from 0 to 1.
        deletion: Probability with the highest-ranked pixels taken away, ``[N, steps + 1]``; a good map falls early.
        insertion: Probability with these alone, ``[N, steps + 1]``; a good map rises early.
    """

    fractions: Tensor
    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_area(self) -> Tensor:
        """Area under each deletion curve, ``[N]``, in [0, 1]; lower is better."""
        return torch.trapezoid(self.deletion, self.fractions)

    @property
    def insertion_area(self) -> Tensor:
        """Area under each insertion curve, ``[N]``, in [0, 1]; higher is better."""
        return torch.trapezoid(self.insertion, self.fractions)


@torch.no_grad()
def degradation_curves(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    maps: Tensor,
    *,
    baseline: Tensor | float = 0.0,
    steps: int = 20,
    seed: int = 0,
) -> DegradationCurves:
    """Exchange pixels for a baseline in the order of a map, and look at the probability of a class.

    Deletion and insertion are those of Petsiuk, Das & Saenko (2018), "RISE", section 4.3. Pixels of equal rank are
    taken in random order.

    Args:
        network: A network of images whose output are logits, in evaluation mode.
        x: Images, ``[N, C, H, W]``.
        y: Classes, ``[N]``.
        maps: What ranks the pixels, ``[N, H, W]``, highest first.
        baseline: What a pixel is exchanged for, broadcastable to x.
        steps: Number of steps from none to all pixels.
        seed: Of the order of equal ranks.

    Raises:
        ValueError: If the maps do not fit the images, are not finite, or the network is in training mode.
    """
    if maps.shape != (len(x), *x.shape[2:]) or not bool(maps.isfinite().all()):
        raise ValueError(f"maps: expected finite values {[len(x), *x.shape[2:]]}, got {list(maps.shape)}")
    if network.training:
        raise ValueError(
            "network is in training mode, where its answers are not those it is used for; call .eval()"
        )
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(maps[0].numel(), generator=generator).to(maps.device)
    order = shuffled[maps.flatten(1)[:, shuffled].argsort(stable=True, dim=1, descending=True)]
    rank = torch.empty_like(order).scatter(
        1, order, torch.arange(order.shape[1], device=x.device).expand_as(order)
    )
    rank, other = (
        rank.view(maps.shape)[:, None],
        torch.as_tensor(baseline, dtype=x.dtype).to(x.device).expand(x.shape),
    )
    fractions = torch.linspace(0, 1, steps + 1, dtype=x.dtype, device=x.device)
    deletion, insertion = [], []
    for fraction in fractions.tolist():
        first = rank < round(fraction * order.shape[1])
        deletion.append(_probability(network, torch.where(first, other, x), y))
        insertion.append(_probability(network, torch.where(first, x, other), y))
    return DegradationCurves(fractions, torch.stack(deletion, 1), torch.stack(insertion, 1))


def mean_interval(values: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Return the mean over images and half of the width of its Student t interval.

    Args:
        values: One value an image, ``[N]``, such as areas, or differences of two maps' areas.
        level: Probability of the interval.

    Raises:
        ValueError: If there are less than two values.
    """
    if values.dim() != 1 or len(values) < 2:
        raise ValueError(f"values: expected at least two, [N]; got {list(values.shape)}")
    values = values.double()
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std().item() / len(values) ** 0.5
    return values.mean().item(), float(half)


def _probability(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    probabilities: Tensor = network(x).softmax(-1)
    return probabilities.gather(1, y[:, None])[:, 0]

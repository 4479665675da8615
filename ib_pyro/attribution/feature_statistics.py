"""What the features of a network are like in general: their mean and standard deviation over a set of images."""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ib_pyro.choices import require_known
from ib_pyro.inputs import Input, call_with
from ib_pyro.nn.places import Place, exchanged

__all__ = ["FeatureStatistics", "feature_statistics", "features_at"]


class FeatureStatistics(NamedTuple):
    """Mean and standard deviation of each feature over a set of images.

    Attributes:
        loc: Mean, of the shape of one sample.
        scale: Standard deviation, likewise, at least the floor that it was asked for with.
        num_images: Number of images.
    """

    loc: Tensor
    scale: Tensor
    num_images: int


@torch.no_grad()
def features_at(network: nn.Module, places: Iterable[str], x: Input) -> dict[str, Tensor]:
    """Return what modules of a network put out, in one pass in the mode that it is in.

    Args:
        network: The network.
        places: Places in it, as for :class:`~ib_pyro.nn.Insertion`.
        x: Inputs.

    Returns:
        The features by place, ``[batch, ...]``, without graph.

    Raises:
        ValueError: If a module does not exist or is not called.
    """
    found: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def keep(key: str, value: Tensor) -> Tensor:
        found[key] = value.detach().clone()
        return value

    def note(key: str, place: Place, module: nn.Module, inputs: object, output: object) -> None:
        counts[key] = counts.get(key, 0) + 1
        if place.call in (None, counts[key]):
            exchanged(output, place.parts, partial(keep, key), key)

    paths = [path for path, _ in network.named_modules(remove_duplicate=False)]
    hooks = []
    try:
        for key in places:
            place = Place.of(key, 0)
            module = network.get_submodule(require_known("module", place.path, paths))
            hooks.append(module.register_forward_hook(partial(note, key, place)))
        call_with(network, x)
    finally:
        for hook in hooks:
            hook.remove()
    for key in places:
        if key not in found:
            raise ValueError(f"{key!r}: the network does not come to this place in a pass; read another")
    return found


def feature_statistics(
    network: nn.Module, place: str, batches: Iterable[Input], *, least_scale: float = 0.01
) -> FeatureStatistics:
    """Measure the features at a place of a network, in evaluation mode, image by image of a set.

    Args:
        network: The network; its modes are put back.
        place: The place, as for :class:`~ib_pyro.nn.Insertion`.
        batches: Inputs, ``[batch, ...]`` each. The statistics are those of all images together, whatever the batches.
        least_scale: Floor of the standard deviation, for features that are the same in every image.

    Returns:
        The statistics, of the features' type; they are summed in double precision.

    Raises:
        ValueError: If there is no image, or the shape of features changes.
    """
    mean = squares = torch.zeros(())
    count, dtype = 0, torch.float32
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        for x in batches:
            features = features_at(network, [place], x)[place]
            dtype, features = features.dtype, features.double()
            if count and features.shape[1:] != mean.shape:
                raise ValueError(
                    f"{place!r}: features of shape {tuple(features.shape[1:])} after {tuple(mean.shape)}; "
                    "statistics are of one shape, so give all images the same size"
                )
            # Chan, Golub & LeVeque (1983): sums of squares around the means of parts add up without cancellation.
            new, step = len(features), features.mean(0) - mean
            squares = (
                squares
                + (features - features.mean(0)).square().sum(0)
                + step.square() * count * new / (count + new)
            )
            mean, count = mean + step * new / (count + new), count + new
    finally:
        for module, mode in modes:
            module.training = mode
    if count == 0:
        raise ValueError("batches: no image to measure features of; pass an iterable of batches of x")
    scale = (squares / count).sqrt().clamp_min(least_scale)
    return FeatureStatistics(mean.to(dtype), scale.to(dtype), count)

"""Attribution by a readout network that has learned, over many images, what a network needs of one."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro.attribution.feature_statistics import FeatureStatistics, features_at
from ib_pyro.attribution.image_maps import InformationMaps
from ib_pyro.attribution.restriction import Restriction
from ib_pyro.checks import require_count
from ib_pyro.nn import insert

__all__ = ["ReadoutAttribution"]


class ReadoutAttribution(Restriction):
    r"""What a trained network needs of one image, by the readout bottleneck of *Restricting the Flow*.

    The share :math:`\lambda` that is kept of each feature is the output of a small network of 1x1 convolutions on the
    features of a first pass, at several depths and resized to the place's; it is fitted to many images with the loss
    of :class:`PerSampleAttribution` (Schulz et al. 2020, section 3.2). A map then costs two passes.

    Args:
        network: See :class:`Restriction`, as for the other options.
        place: Likewise; its features must be those of images, ``[N, channels, rows, columns]``.
        statistics: Likewise.
        read: Places whose features the readout sees; by default the place itself. Deeper ones know the class.
        hidden: Channels of the readout's hidden layers.
        noise: Likewise.
        beta: Likewise.
        smoothing: Likewise.
        alpha_max: Likewise.

    Raises:
        ValueError: If an option is out of its range, or the features are not those of images.
    """

    def __init__(
        self,
        network: nn.Module,
        place: str,
        statistics: FeatureStatistics,
        *,
        read: Sequence[str] = (),
        hidden: int = 32,
        noise: str = "interpolated",
        beta: float | None = None,
        smoothing: float = 1.0,
        alpha_max: float = 0.7,
    ) -> None:
        if statistics.loc.dim() != 3:
            raise ValueError(
                f"{place!r}: features of shape {tuple(statistics.loc.shape)} are not those of images; "
                "use PerSampleAttribution"
            )
        super().__init__(
            network, place, statistics, noise=noise, beta=beta, smoothing=smoothing, alpha_max=alpha_max
        )
        self.read = tuple(read) or (place,)
        self.readout = self._readout(hidden)

    def fit(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        *,
        epochs: int = 1,
        learning_rate: float = 3e-3,
    ) -> list[float]:
        """Fit the readout network.

        Args:
            batches: Pairs of images and classes, gone through once an epoch.
            epochs: Number of epochs.
            learning_rate: Learning rate of Adam. Too large a one leads to a readout that keeps nothing of any image,
                and stays there.

        Returns:
            The loss of each step, nats per image.

        Raises:
            TypeError: If the batches can be gone through only once, and there are several epochs.
            ValueError: If there is no batch.
        """
        require_count("epochs", epochs)
        if epochs > 1 and _comes_once(batches):
            raise TypeError(
                f"batches: a {type(batches).__name__} gives its batches once, and each of {epochs} epochs goes "
                "through them again; pass a list of them, or an object whose __iter__ begins anew, such as "
                "ib_pyro.data.batches(...)"
            )
        losses: list[float] = []
        optimizer = torch.optim.Adam(self.readout.parameters(), learning_rate)
        with insert(self.network, {self.place: self.layer}, frozen=True) as program, torch.enable_grad():
            for epoch in range(epochs):
                before = len(losses)
                for x, y in batches:
                    optimizer.zero_grad()
                    self.keep.logits = self._logits(x)
                    loss = self.elbo.differentiable_loss(program.model, program.guide, x, y) / len(x)
                    loss.backward()
                    optimizer.step()
                    losses.append(float(loss.detach()))
                if len(losses) == before:
                    raise ValueError(
                        f"batches: none in epoch {epoch + 1}; pass some that can be gone through again"
                    )
        return losses

    def __call__(self, x: Tensor, y: Tensor | None = None, *, num_samples: int = 10) -> InformationMaps:
        """Return the maps of a batch of images.

        Args:
            x: Images, ``[N, ...]``.
            y: Classes for the distortion, ``[N]``; the maps do not depend on them. By default those that the network
                sees.
            num_samples: Draws of the noise for the distortion.
        """
        y = self.classes(x, y)
        with insert(self.network, {self.place: self.layer}, frozen=True) as program, torch.no_grad():
            self.keep.logits = self._logits(x)
            return self.maps(program, x, y, num_samples)

    def _readout(self, hidden: int) -> nn.Module:
        like = self.statistics.loc
        channels = like.shape[0]
        last = nn.Conv2d(hidden, channels, 1)
        # At first most is kept, but not so much that the shares have no slope.
        nn.init.constant_(last.bias, 2.0)  # type: ignore[arg-type]
        layers = [nn.LazyConv2d(hidden, 1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU(), last]
        return nn.Sequential(*layers).to(like)

    def _logits(self, x: Tensor) -> Tensor:
        size = self.statistics.loc.shape[1:]
        features = features_at(self.network, self.read, x)
        resized = [_at_size(values, size) for values in features.values()]
        logits: Tensor = self.readout(torch.cat(resized, 1))
        return logits


def _at_size(features: Tensor, size: torch.Size) -> Tensor:
    """Scale features, and resize them to the positions of a map; those without positions are the same at each."""
    # Of one scale at every place: of small features the biases alone would be fitted at first, until nothing is kept.
    features = F.group_norm(features, 1)
    if features.dim() == 2:
        return features[:, :, None, None].expand(-1, -1, *size)
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)


def _comes_once(batches: Iterable[object]) -> bool:
    """Whether batches are one of Python's own iterators; others may begin anew when they are asked to."""
    return isinstance(batches, Iterator) and type(batches).__module__ in ("builtins", "itertools")

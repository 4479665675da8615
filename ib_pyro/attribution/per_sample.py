"""Attribution by a bottleneck that is fitted to each image alone."""

from typing import Any

import torch
from torch import Tensor, nn

from ib_pyro.attribution.feature_statistics import FeatureStatistics
from ib_pyro.attribution.image_maps import InformationMaps
from ib_pyro.attribution.restriction import Restriction
from ib_pyro.nn import insert

__all__ = ["PerSampleAttribution"]


class PerSampleAttribution(Restriction):
    r"""What a trained network needs of one image, by the per-sample bottleneck of *Restricting the Flow*.

    For each image, noise at one place of the frozen network is made as strong as the answer allows: with
    :math:`\lambda` the share that is kept of each feature,

    .. math:: \min_\lambda \; \mathbb E\,[-\log p(y | z)] + \beta \, \mathrm{KL}\big(p(z | x, \lambda) \,\|\, q(z)\big)

    by Adam from :math:`\lambda \approx 1` (Schulz, Sixt, Tombari & Landgraf 2020, "Restricting the Flow: Information
    Bottlenecks for Attribution", section 3.1 and appendix). What is left of the rate, by position, is the map: in
    nats, an upper bound of the information there, and 0 where the answer needs nothing.

    The network becomes a program by :func:`~ib_pyro.nn.insert` for as long as it takes, and is then as it was.

    Args:
        network: See :class:`Restriction`, as for the other options.
        place: Likewise.
        statistics: Likewise.
        noise: Likewise.
        beta: Likewise.
        smoothing: Likewise.
        alpha_max: Likewise.
        layout: Likewise.
        steps: Steps of Adam (the paper takes 10, after which small networks are not at rest yet).
        learning_rate: Its learning rate.
        draws: Draws of the noise for each image in a step.

    Raises:
        ValueError: If an option is out of its range.
    """

    def __init__(
        self,
        network: nn.Module,
        place: str,
        statistics: FeatureStatistics,
        *,
        noise: str = "interpolated",
        beta: float | None = None,
        smoothing: float = 1.0,
        alpha_max: float = 0.7,
        layout: str | None = None,
        steps: int = 20,
        learning_rate: float = 1.0,
        draws: int = 10,
    ) -> None:
        options: dict[str, Any] = {
            "noise": noise,
            "beta": beta,
            "smoothing": smoothing,
            "alpha_max": alpha_max,
        }
        super().__init__(network, place, statistics, layout=layout, **options)
        if steps < 1 or draws < 1:
            raise ValueError(f"steps and draws must be at least 1; got steps={steps}, draws={draws}")
        self.steps, self.learning_rate, self.draws = steps, learning_rate, draws

    def __call__(self, x: Tensor, y: Tensor | None = None) -> InformationMaps:
        """Return the maps of a batch of images, each as if it were alone.

        Args:
            x: Images, ``[N, ...]``.
            y: The classes to explain, ``[N]``; by default those that the network sees.

        Returns:
            The maps, of the shape of the features' positions.
        """
        y = self.classes(x, y)
        shape, like = (len(x), *self.statistics.loc.shape), self.statistics.loc
        logits = torch.full(shape, 5.0, dtype=like.dtype, device=like.device, requires_grad=True)
        self.keep.logits = logits
        optimizer = torch.optim.Adam([logits], self.learning_rate)
        many = x.repeat_interleave(self.draws, 0), y.repeat_interleave(self.draws, 0)
        with insert(self.network, {self.place: self.layer}, frozen=True) as program, torch.enable_grad():
            for _ in range(self.steps):
                optimizer.zero_grad()
                (self.elbo.differentiable_loss(program.model, program.guide, *many) / self.draws).backward()
                optimizer.step()
            self.keep.logits = logits.detach()
            return self.maps(program, x, y, self.draws)

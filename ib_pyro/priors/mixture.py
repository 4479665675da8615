"""A learned mixture as a prior."""

from collections.abc import Callable, Sequence

import torch
from pyro.distributions import Categorical, MixtureSameFamily, Normal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro.choices import require_known
from ib_pyro.distributions import MultiplicativeLogNormal

__all__ = ["MixturePrior"]


def _log_normal(loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> TorchDistributionMixin:
    # Pyro's has no number for the density at zero, where a unit that is off is.
    return MultiplicativeLogNormal.from_log_activation(loc, scale, validate_args=validate_args)


FAMILIES: dict[str, Callable[..., TorchDistributionMixin]] = {"log-normal": _log_normal, "normal": Normal}


class MixturePrior(nn.Module):
    r"""The mixture of K factorised laws, ``q(z) = sum_k pi_k prod_j q(z_j; loc_kj, scale_kj)``, all of it learned.

    A module, given to a layer as ``prior=``: it learns along with the program. The rate has no closed form; ask for
    that at the draw, ``InformationBottleneckELBO(on_no_closed_form="monte-carlo")``.

    Args:
        event_shape: Shape of one sample of z, or its number of units.
        num_components: K.
        family: ``"normal"``, or ``"log-normal"`` for a z that is positive, as log-normal noise times a softplus is.
        spread: Standard deviation of the draws that the locations start at, which tells the components apart.

    Raises:
        ValueError: If the family is unknown, or there is no component.

    >>> MixturePrior(3, 5)(torch.Size([3])).event_shape
    torch.Size([3])
    """

    def __init__(
        self,
        event_shape: int | Sequence[int],
        num_components: int = 10,
        *,
        family: str = "normal",
        spread: float = 1.0,
    ) -> None:
        super().__init__()
        if num_components < 1:
            raise ValueError(f"num_components must be at least 1; got {num_components}")
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        self.family = require_known("family=", family, FAMILIES)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(spread * torch.randn(num_components, *shape))
        self.log_scale = nn.Parameter(torch.zeros(num_components, *shape))

    @property
    def weights(self) -> Tensor:
        """The probabilities pi of the components, ``[K]``."""
        return self.logits.softmax(0)

    def forward(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return q(z).

        Args:
            event_shape: Shape of one sample of z.

        Raises:
            ValueError: If the mixture is of another shape.
        """
        own = self.loc.shape[1:]
        if torch.Size(event_shape) != own:
            raise ValueError(
                f"the MixturePrior is of shape {tuple(own)}, but one sample of z has shape {tuple(event_shape)}; make "
                f"it MixturePrior({tuple(event_shape)}, ...)"
            )
        units = FAMILIES[self.family](self.loc, self.log_scale.exp(), validate_args=False)
        weights = Categorical(logits=self.logits, validate_args=False)
        return MixtureSameFamily(weights, units.to_event(len(own)), validate_args=False)

    def extra_repr(self) -> str:
        """Name the shape, the number of components and their family."""
        return f"{tuple(self.loc.shape[1:])}, num_components={len(self.logits)}, family={self.family!r}"

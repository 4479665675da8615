"""A normalizing flow as a prior."""

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from pyro.distributions import Normal, TransformedDistribution
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.transforms import ReshapeTransform

from ib_pyro.distributions.placement import forget_values, modules_in, moved

__all__ = ["FlowPrior"]


class FlowPrior(nn.Module):
    r"""The law that transforms such as Pyro's flows make of standard normal values, learned.

    ``z = T_n(... T_1(u))`` with ``u ~ N(0, 1)``, and ``log q(z) = log N(u; 0, 1) - sum_i log|det dT_i|`` at
    ``u = T_1^-1(... T_n^-1(z))``: each transform must be able to invert a z that it has not made. Coupling layers,
    splines and permutations are; what is fast in the one direction alone is given as its inverse:
    ``affine_autoregressive(d).inv`` scores in one pass and samples unit by unit, and ``planar(d).inv`` scores and does
    not sample.

    A module, given to a layer as ``prior=``: its transforms learn along with the program. The rate has no closed form;
    ask for that at the draw, ``InformationBottleneckELBO(on_no_closed_form="monte-carlo")``.

    Args:
        event_shape: Shape of one sample of z, or its number of units. Transforms see its units in one row.
        transforms: Of ``pyro.distributions.transforms``, from u to z. The last one brings z where the posterior is,
            such as ``ExpTransform()`` for a z that is positive.

    Raises:
        TypeError: If something else than a transform is among them.

    >>> from pyro.distributions.transforms import affine_coupling
    >>> FlowPrior(3, [affine_coupling(3, [8])])(torch.Size([3])).event_shape
    torch.Size([3])
    """

    def __init__(self, event_shape: int | Sequence[int], transforms: Sequence[Transform]) -> None:
        super().__init__()
        wrong = [type(t).__name__ for t in transforms if not isinstance(t, Transform)]
        if wrong:
            raise TypeError(
                f"transforms: {wrong[0]} is no transform; pass those of pyro.distributions.transforms"
            )
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        self.event_shape = list(shape)
        self.transforms = list(transforms)
        self.parts = nn.ModuleList(modules_in(self.transforms))
        self.register_buffer("zeros", torch.zeros(math.prod(shape)), persistent=False)

    zeros: Tensor

    def forward(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return q(z).

        Args:
            event_shape: Shape of one sample of z.

        Raises:
            ValueError: If the flow is of another shape.
        """
        if list(event_shape) != self.event_shape:
            raise ValueError(
                f"the FlowPrior is of shape {tuple(self.event_shape)}, but one sample of z has shape "
                f"{tuple(event_shape)}; make it FlowPrior({tuple(event_shape)}, ...)"
            )
        transforms = list(self.transforms)
        if len(event_shape) != 1:
            transforms.append(ReshapeTransform(self.zeros.shape, torch.Size(event_shape)))
        base = Normal(self.zeros, torch.ones_like(self.zeros), validate_args=False).to_event(1)
        return TransformedDistribution(base, transforms, validate_args=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        forget_values(self.transforms)
        super()._apply(fn, recurse)
        known = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        self.transforms = [moved(transform, fn, known) for transform in self.transforms]
        return self

    def __getstate__(self) -> dict[str, object]:
        forget_values(self.transforms)
        return dict(self.__dict__)

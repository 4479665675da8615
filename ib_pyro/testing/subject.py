"""A layer that is held to its contract: how to make it, and programs around it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.nn import StochasticLayer
from ib_pyro.testing.requirements import require, says

__all__ = ["Readout", "Subject", "guide_and_model", "sites_of"]

Sites = dict[str, tuple[Tensor, TorchDistributionMixin]]


class Readout(nn.Module):
    """Two logits from a z of any event shape, with any dimensions in front.

    Args:
        event_shape: One sample's own shape.
        like: A tensor of the type and device of z.
    """

    def __init__(self, event_shape: torch.Size, like: Tensor) -> None:
        super().__init__()
        self.event_dim = len(event_shape)
        self.dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        self.map = nn.Linear(event_shape.numel(), 2, dtype=self.dtype, device=like.device)

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits, ``[..., 2]``."""
        flat = z.flatten(-self.event_dim) if self.event_dim else z.unsqueeze(-1)
        return self.map(flat.to(self.map.weight.dtype))


@dataclass(frozen=True)
class Subject:
    """How to make the layer, its input, and what is not asked of it.

    Attributes:
        factory: Makes a new layer.
        x: Its input, ``[batch, ...]``.
        closed_form: Whether its rate has a closed form.
        noise_free: Whether its noise can be switched off.
        tolerance: Nats per element of z by which the closed form may be off.
    """

    factory: Callable[[], StochasticLayer]
    x: Tensor
    closed_form: bool = True
    noise_free: bool = True
    tolerance: float = 0.0

    @property
    def y(self) -> Tensor:
        """Labels, two classes in turn."""
        return torch.arange(len(self.x), device=self.x.device) % 2

    @property
    def elbo(self) -> InformationBottleneckELBO:
        """The objective that the contract is about."""
        return InformationBottleneckELBO(on_no_closed_form="error" if self.closed_form else "monte-carlo")

    def build(self) -> StochasticLayer:
        """Make a new layer of the type and on the device of the input."""
        with says("the layer cannot be made"):
            layer = self.factory()
        require(
            isinstance(layer, StochasticLayer),
            f"the factory returns a {type(layer).__name__}; it must return a new ib_pyro.nn.StochasticLayer each time",
        )
        return layer.to(self.x) if self.x.is_floating_point() else layer.to(self.x.device)

    def has_noise(self, layer: StochasticLayer) -> bool:
        """Whether two draws of the layer differ; those of a ReLU that is off for all of x do not."""
        with torch.no_grad():
            return not torch.equal(layer(self.x), layer(self.x))

    def program(self, layer: StochasticLayer, encoder: nn.Module | None = None) -> Bottleneck:
        """Return a classifier of two classes around the layer, or around an encoder that holds it."""
        with torch.no_grad():
            z = layer(self.x)
        return Bottleneck(layer if encoder is None else encoder, Readout(z.shape[1:], z))

    def loss(self, program: Bottleneck) -> Tensor:
        """Return the Lagrangian of one draw, at beta = 1."""
        loss: Tensor = self.elbo.differentiable_loss(program.model, program.guide, self.x, self.y)
        return loss


def guide_and_model(program: Bottleneck, x: Tensor, y: Tensor) -> tuple[Sites, Sites]:
    """Run a program once, and return value and law of each site of its guide, and of the model under the same draw."""
    guide = poutine.trace(program.guide).get_trace(x, y)
    model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(x, y)
    return sites_of(guide), sites_of(model)


def sites_of(trace: Trace) -> Sites:
    """Return value and law of each sample site of a trace but for its plates, by name."""
    nodes: dict[str, Any] = trace.nodes
    is_site = {k: n["type"] == "sample" and not site_is_subsample(n) for k, n in nodes.items()}
    return {name: (node["value"], node["fn"]) for name, node in nodes.items() if is_site[name]}

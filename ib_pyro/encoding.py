"""What is known of an encoder: the names of its layers' sites, and how its output follows from their values."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ib_pyro.buffers import buffers_kept
from ib_pyro.dependence import ValueTracker
from ib_pyro.handlers import LayerCalls, noise_off
from ib_pyro.inputs import Input, call_with
from ib_pyro.nn.naming import names_given
from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.particles import evaluation_mode, random_state_kept
from ib_pyro.priors.vamp import VampPrior

__all__ = [
    "Sites",
    "Structure",
    "name_layers",
    "require_called",
    "require_no_layers",
    "require_no_way_around",
    "structure_of",
    "tree_of",
]


@dataclass(frozen=True)
class Structure:
    """What one pass of the encoder says about its sites, for inputs of one shape.

    Attributes:
        event_shapes: Shape of one sample of each site.
        output_sites: The sites whose values are what the encoder returns, in order; None if it returns something that
            it goes on to compute of them.
    """

    event_shapes: dict[str, torch.Size]
    output_sites: tuple[str, ...] | None


@dataclass(frozen=True)
class Sites:
    """The sites of a program's present modules, and what is known of them from passes of the encoder.

    Attributes:
        tree: All modules of the program.
        own_names: The names that the layers themselves have.
        layers: The layers by the name of their site.
        names: The names by layer.
        vamp_priors: The priors that are made of the encoder's own posteriors, by the name of the site.
        structures: What passes have said, by the shape of x.
        fit_particles: Shapes of x for which vectorised particles are known to be right.
        ways_looked_for: Not empty once it is known that x has no way around the sites.
    """

    tree: tuple[nn.Module | None, ...]
    own_names: tuple[str | None, ...]
    layers: dict[str, StochasticLayer]
    names: dict[nn.Module, str]
    vamp_priors: dict[str, VampPrior] = field(default_factory=dict)
    structures: dict[Hashable, Structure] = field(default_factory=dict)
    fit_particles: set[Hashable] = field(default_factory=set)
    ways_looked_for: set[str] = field(default_factory=set)

    def are_of(self, tree: tuple[nn.Module | None, ...]) -> bool:
        """Whether these are the sites of a tree of modules still."""
        own_names = tuple(layer.name for layer in self.layers.values())
        return tree == self.tree and own_names == self.own_names


def tree_of(*roots: nn.Module | None) -> tuple[nn.Module | None, ...]:
    """Return all modules, a shared one as often as it is there: a cheap way to see whether one was exchanged."""
    found: list[nn.Module | None] = list(roots)
    for module in found:  # it grows while it is read
        if module is not None:
            found.extend(module._modules.values())
    return tuple(found)


def name_layers(encoder: nn.Module) -> dict[str, StochasticLayer]:
    """Return the encoder's layers by the name of their site.

    A layer's own name comes first, then that which a module around it gives it
    (``names_of_layers``), then its path; layers that have only a position are numbered.

    Args:
        encoder: The encoder.

    Raises:
        ValueError: If two would have the same.
    """
    layers: dict[str, StochasticLayer] = {}
    given = names_given(encoder)
    found = [(path, m) for path, m in encoder.named_modules() if isinstance(m, StochasticLayer)]
    for position, (path, layer) in enumerate(found, start=1):
        has_path = path and not path.rsplit(".", 1)[-1].isdigit()
        name = layer.name or given.get(layer) or (path if has_path else f"z{position}")
        if name in layers:
            raise ValueError(f"two layers of the encoder emit the site {name!r}; give one another name=")
        layers[name] = layer
    return layers


def require_no_layers(decoder: nn.Module | None) -> None:
    """Raise if a noisy layer is in the decoder, whose sites would be in the model alone; names its path."""
    for path, module in () if decoder is None else decoder.named_modules():
        if isinstance(module, StochasticLayer):
            raise ValueError(
                f"decoder{'.' * bool(path)}{path}: a noisy layer is in the decoder, which has no guide to sample it "
                "in; move it, and what is before it, into the encoder, or make the whole network the encoder: "
                "Bottleneck(nn.Sequential(encoder, decoder))"
            )


def structure_of(sites: Sites, encoded: object, calls: LayerCalls) -> Structure:
    """Read off one pass of the encoder what it says about its sites.

    Args:
        sites: The sites.
        encoded: What the encoder has returned.
        calls: What its layers have emitted.
    """
    outputs = encoded if isinstance(encoded, tuple) else (encoded,)
    emitters = [[name for name, value in calls.values.items() if value is output] for output in outputs]
    # In the order of the layers, which is that of the sites in the model.
    event_shapes = {name: calls.laws[name].event_shape for name in sites.layers}
    found = tuple(names[0] for names in emitters if names)
    return Structure(event_shapes, found if len(found) == len(outputs) else None)


def require_called(sites: Sites, calls: LayerCalls) -> None:
    """Raise unless a pass has called every layer; names the site of one that it has not."""
    for name in sites.layers:
        if name not in calls.values:
            raise ValueError(
                f"site {name!r}: its layer is in the encoder, but the encoder does not call it; call it in forward, "
                "or take it out of the encoder (PyTorch's fast path of transformers, in evaluation mode without "
                "gradients, calls no module within them: ib_pyro.nn.insert keeps it off)"
            )


@torch.no_grad()
def require_no_way_around(encoder: nn.Module, sites: Sites, x: Input, values: Mapping[str, Tensor]) -> None:
    """Raise if what the encoder returns depends on x in any other way than through the values of its sites.

    The encoder runs once in evaluation mode with these values at its sites, and x is followed through it; nothing of
    it changes.

    Args:
        encoder: The encoder.
        sites: Its sites.
        x: Inputs.
        values: A value of each site.

    Raises:
        ValueError: If it does; names the sites and the ways out.
    """
    given = {name: value.detach().clone() for name, value in values.items()}
    with (
        random_state_kept(encoder),
        buffers_kept([encoder]),
        evaluation_mode(encoder),
        poutine.block(),
        noise_off(),
        ValueTracker() as tracker,
    ):
        marked: Any = tree_map_only(Tensor, lambda value: tracker.mark(value, "x"), x)
        with LayerCalls(sites.names, given=given):
            output = call_with(encoder, marked)
        # A mapping of a library's own, such as Hugging Face's outputs, may be no tree that PyTorch knows.
        leaves = tree_leaves(dict(output) if isinstance(output, Mapping) else output)
        reaches = "x" in tracker.marks_of(leaves)
    if reaches:
        raise ValueError(
            f"sites {list(sites.layers)}: what the encoder returns depends on x beside their values too, by a "
            "residual connection or another branch, so that the rate is no bound on what y is told of x; return "
            "the values of the layers (or move the layer behind the place where the branches meet), or say "
            "conditional=True for a model p(y|z, x)"
        )

"""Noisy layers behind named modules of a network that exists, whose code and state stay as they are."""

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

from torch import Tensor, nn

from ib_pyro.checks import is_traced
from ib_pyro.choices import require_known
from ib_pyro.handlers import particles_are_vectorised
from ib_pyro.inputs import batch_size_of
from ib_pyro.nn.places import Place, exchanged
from ib_pyro.nn.stochastic import StochasticLayer

__all__ = ["Insertion"]


class Insertion(nn.Module):
    """A network with noisy layers behind some of its modules: a layer is given a module's output, and z goes on.

    The layers are called by forward hooks that are there during a pass of this module only, and only in its thread.
    The network is the one that was given, not a copy: its own passes, its code, its state and the keys of its
    ``state_dict`` stay what they were.

    z is handed on as a copy where the network changes it in place (``nn.ReLU(inplace=True)`` behind the module), which
    the first pass shows.

    Args:
        network: The network.
        layers: The layer for each place: a module's path, as ``network.named_modules()`` has it; ``path#2`` for the
            second of its calls in one pass; ``path[0]``, ``path[1][0]`` or ``path[last_hidden_state]`` for a part of
            an output that is no tensor. Sites have the layers' own names, or those of the places.
        batch_dim: Dimension of the batch in what the modules put out, one for all or by place: 1 behind an
            ``nn.LSTM`` that is not ``batch_first``. The layers see it as the first.
        frozen: Keep the network as it is: no gradients for its parameters, and evaluation mode for batch norm and
            dropout, whatever the mode of the rest. :meth:`thaw` puts both back.

    Raises:
        TypeError: If something else than a layer is to be inserted.
        ValueError: If a module does not exist, or a layer is in two places.

    Example:
        >>> import torch
        >>> from ib_pyro.nn import AdditiveNormal
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> Insertion(network, {"0": AdditiveNormal.after(3)})(torch.rand(5, 4)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Mapping[str, StochasticLayer],
        *,
        batch_dim: int | Mapping[str, int] = 0,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        _check_layers(layers)
        self.places = {key: Place.of(key, _batch_dim_of(key, layers, batch_dim)) for key in layers}
        paths = dict(network.named_modules(remove_duplicate=False))
        for place in self.places.values():
            require_known("module", place.path, list(paths), otherwise="see network.named_modules()")
        self.network = network
        self.layers = nn.ModuleList(layers.values())
        self._unchanged_places: set[str] = set()
        self._before: dict[str, dict[str, bool]] = {}
        if frozen:
            self.freeze()

    @property
    def names_of_layers(self) -> dict[nn.Module, str]:
        """The place of each layer."""
        return dict(zip(self.layers, self.places, strict=True))

    @property
    def is_frozen(self) -> bool:
        """Whether the network is kept as it is."""
        return bool(self._before)

    def freeze(self) -> Self:
        """Take gradients from the network's parameters, and keep it in evaluation mode."""
        if not self.is_frozen:
            self._before = {
                "requires_grad": {name: p.requires_grad for name, p in self.network.named_parameters()},
                "training": {name: m.training for name, m in self.network.named_modules()},
            }
            self.network.requires_grad_(False).eval()
        return self

    def thaw(self) -> Self:
        """Put back what :meth:`freeze` has changed, for each parameter and module."""
        if self.is_frozen:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(self._before["requires_grad"].get(name, True))
            for name, module in self.network.named_modules():
                module.training = self._before["training"].get(name, self.training)
            self._before = {}
        return self

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the layers, and of the network unless it is frozen."""
        super().train(mode)
        if self.is_frozen:
            self.network.eval()
        return self

    def forward(self, *args: Any) -> Any:  # noqa: ANN401  (whatever the network returns)
        """Run the network with z in the place of each module's output.

        Args:
            *args: The network's arguments; one mapping is its keyword arguments, as in Hugging Face's networks.

        Raises:
            TypeError: If what a module puts out at a place is no tensor; says which parts there are.
            ValueError: If a module is called twice, or not at all, or its output is nothing for the layer; names the
                site.
        """
        one = args[0] if len(args) == 1 else None
        run = _Run(self, batch_size_of(one if len(args) == 1 else args))
        modules = {place.path: self.network.get_submodule(place.path) for place in self.places.values()}
        hooks = [module.register_forward_hook(run.hook) for module in dict.fromkeys(modules.values())]
        try:
            output = self.network(**one) if isinstance(one, Mapping) else self.network(*args)
        finally:
            for hook in hooks:
                hook.remove()
        self._unchanged_places = run.finished()
        return output

    def extra_repr(self) -> str:
        """Name the places."""
        return f"places={list(self.places)}, frozen={self.is_frozen}"

    @property
    def unchanged_places(self) -> frozenset[str]:
        """The places behind which the network is known not to change z in place."""
        return frozenset(self._unchanged_places)


class _Run:
    """One pass through a network: the layers it has called, and what became of their values."""

    def __init__(self, insertion: Insertion, batch_size: int) -> None:
        self._batch_size, self._unchanged = batch_size, insertion.unchanged_places
        self._thread = threading.get_ident()
        self._counts: dict[nn.Module, int] = {}
        self._handed: dict[str, tuple[Tensor, int]] = {}
        self._layers = dict(zip(insertion.places, insertion.layers, strict=True))
        self._places: dict[nn.Module, dict[str, Place]] = {}
        for key, place in insertion.places.items():
            module = insertion.network.get_submodule(place.path)
            self._places.setdefault(module, {})[key] = place

    def hook(self, module: nn.Module, inputs: object, output: Any) -> Any:  # noqa: ANN401  (any module's output)
        """Return a module's output with z in its places."""
        if threading.get_ident() != self._thread:
            # Another thread runs the same network, for itself.
            return None
        self._counts[module] = count = self._counts.get(module, 0) + 1
        for key, place in self._places[module].items():
            if place.call is None and count > 1:
                raise ValueError(
                    f"site {key!r}: the network calls {place.path or 'itself'!r} twice in one pass, but a site is "
                    f"sampled once; insert behind one of its calls, as in '{place.path}#1' and '{place.path}#2', each "
                    "with a layer of its own"
                )
            if place.call in (None, count):
                output = exchanged(output, place.parts, partial(self._pass, key, place), key)
        return output

    def finished(self) -> set[str]:
        """Return the places behind which z is unchanged, once all layers are known to have been called."""
        for key, layer in self._layers.items():
            if key not in self._handed:
                raise ValueError(
                    f"site {layer.name or key!r}: the network does not come to this place in a pass (a module that it "
                    "does not call, or calls less often, or only by its weights); insert elsewhere"
                )
        if is_traced():
            return set(self._unchanged)
        changed = {key for key, (z, version) in self._handed.items() if _version_of(z) != version}
        for key in changed & self._unchanged:
            raise ValueError(
                f"site {key!r}: the network changes z in place, which it did not before; was a module exchanged for "
                "an in-place one? Insert anew"
            )
        return set(self._handed) - changed

    def _pass(self, key: str, place: Place, value: Tensor) -> Tensor:
        layer = self._layers[key]
        given = self._with_batch_first(key, place, value)
        try:
            z: Tensor = layer(given)
        except RuntimeError as error:
            raise ValueError(
                f"site {key!r}: its layer does not take an output of shape {tuple(given.shape)}: "
                f"{str(error).splitlines()[0]}; was it made by {type(layer).__name__}.after(width, layout) for "
                "another width or layout?"
            ) from error
        except ValueError as error:
            signs = "; where values have both signs, use GaussianDropout.after or AdditiveNormal.after"
            raise ValueError(f"{error}{signs * ('out of range' in str(error))}") from error
        # Vectorised particles give z a dimension in front.
        in_front = z.dim() - given.dim() if particles_are_vectorised() and not place.batch_dim else 0
        if z.shape[max(in_front, 0) :] != given.shape:
            raise ValueError(
                f"site {key!r}: its layer makes {tuple(z.shape)} of {tuple(given.shape)}, and the network goes on "
                f"with the latter; use a layer that keeps the shape, as {type(layer).__name__}.after does"
            )
        handed = z.transpose(0, place.batch_dim) if place.batch_dim else z
        if key not in self._unchanged or is_traced():
            handed = handed.clone()
        self._handed[key] = handed, _version_of(handed)
        return handed

    def _with_batch_first(self, key: str, place: Place, value: Tensor) -> Tensor:
        if particles_are_vectorised() and not place.batch_dim:
            return value
        dim = place.batch_dim
        if value.dim() <= dim or value.shape[dim] != self._batch_size:
            fits = [d for d, size in enumerate(value.shape) if size == self._batch_size]
            way_out = f"batch_dim={{{key!r}: {fits[0]}}}" if fits else "insert where samples are rows"
            raise ValueError(
                f"site {key!r}: an output of shape {tuple(value.shape)} has no batch of {self._batch_size} in "
                f"dimension {dim}; {way_out}"
            )
        return value.transpose(0, dim) if dim else value


def _check_layers(layers: Mapping[str, StochasticLayer]) -> None:
    if not layers:
        raise ValueError(
            "layers is empty; name at least one place, as in {'layer3': InformationDropout.after(256)}"
        )
    seen: dict[nn.Module, str] = {}
    for key, layer in layers.items():
        if not isinstance(layer, StochasticLayer):
            kind = getattr(layer, "__qualname__", type(layer).__name__)
            raise TypeError(
                f"{key!r}: {kind} is no layer; pass one, as in InformationDropout.after(width, layout)"
            )
        if layer in seen:
            raise ValueError(f"{key!r}: the layer is that of {seen[layer]!r} too; use one for each place")
        seen[layer] = key


def _batch_dim_of(key: str, layers: Mapping[str, object], batch_dim: int | Mapping[str, int]) -> int:
    if not isinstance(batch_dim, Mapping):
        return batch_dim
    for name in batch_dim:
        require_known("batch_dim: place", name, list(layers))
    return batch_dim.get(key, 0)


def _version_of(z: Tensor) -> int:
    return -1 if z.is_inference() or is_traced() else z._version

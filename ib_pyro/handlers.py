"""Effect handlers for noisy representations, and questions to the handlers that are active."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import pyro
from pyro.distributions import MaskedDistribution
from pyro.distributions.torch_distribution import ExpandedDistribution, TorchDistributionMixin
from pyro.infer.autoguide.initialization import InitMessenger
from pyro.poutine.indep_messenger import CondIndepStackFrame, IndepMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _PYRO_STACK, apply_stack
from pyro.poutine.trace_messenger import TraceMessenger
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

__all__ = [
    "BatchPlate",
    "LayerCalls",
    "any_value_will_do",
    "handlers_around",
    "name_in_running_program",
    "noise_is_off",
    "noise_off",
    "optimiser_listens",
    "particles_are_vectorised",
    "plate_sizes",
    "sample",
    "unwrap",
    "value_without_noise",
    "warn_if_noise_is_off",
]

Handler = TypeVar("Handler", bound=Messenger)


def unwrap(fn: Distribution) -> Distribution:
    """Return the distribution inside of any ``to_event``, ``mask`` and ``expand`` wrappers."""
    # By type: other distributions, such as transformed ones, have a base_dist that is not the same law.
    while isinstance(fn, Independent | MaskedDistribution | ExpandedDistribution):
        fn = fn.base_dist
    return fn


def value_without_noise(fn: Distribution) -> Tensor | None:
    """Return what a noisy site's draw is without its noise, its ``noise_free``; None if a law has no such value."""
    return getattr(unwrap(fn), "noise_free", None)


def sample(
    name: str, fn: TorchDistributionMixin, obs: Tensor | None = None, infer: Mapping[str, Any] | None = None
) -> Tensor:
    """Sample or observe a value at a site: ``pyro.sample``, in a form that ``torch.compile`` can follow.

    Args:
        name: Name of the site.
        fn: Its law.
        obs: Its value, if that is observed.
        infer: What handlers are told of it.
    """
    if not _PYRO_STACK:
        return pyro.sample(name, fn, obs=obs) if obs is not None else fn()
    msg: Any = {
        "type": "sample",
        "name": name,
        "fn": fn,
        "is_observed": obs is not None,
        "args": (),
        "kwargs": {},
    }
    msg |= {"value": obs, "infer": dict(infer or {}), "scale": 1.0, "mask": None, "cond_indep_stack": ()}
    msg |= {"done": False, "stop": False, "continuation": None}
    apply_stack(msg)
    value: Tensor = msg["value"]
    return value


class BatchPlate(pyro.plate):
    """A plate over the rightmost dimension, which takes little time for laws that have the shape of the batch already.

    Args:
        name: Name of the plate.
        batch_size: Samples in the batch.
        num_data: Size of the data set that the batch is drawn from; by default that of the batch.
    """

    def __init__(self, name: str, batch_size: int, num_data: int | None = None) -> None:
        # Of a subsample only its length matters here: a batch comes already drawn.
        subsample: Any = None if num_data is None else range(batch_size)
        super().__init__(name, batch_size if num_data is None else num_data, dim=-1, subsample=subsample)
        self._batch_shape = (batch_size,)

    @staticmethod
    def _subsample(  # type: ignore[override]
        name: str, size: int, subsample_size: None = None, subsample: range | None = None, *_: object
    ) -> tuple[int, int, range | None]:
        # Drawn already, it is no site.
        return size, size if subsample is None else len(subsample), subsample

    def _process_message(self, msg: Any) -> None:  # noqa: ANN401  (Pyro's message)
        if msg["type"] != "sample" or msg["cond_indep_stack"] or msg["fn"].batch_shape != self._batch_shape:
            super()._process_message(msg)
            return
        # What Pyro's own does, but for a law expanded to the shape that it has.
        frame = CondIndepStackFrame(self.name, -1, self.subsample_size, self.counter, self.size)
        msg["cond_indep_stack"] = (frame,)
        if self.size != self.subsample_size:
            msg["scale"] = msg["scale"] * self.size / self.subsample_size


class noise_off(Messenger):  # noqa: N801  (handlers read as verbs, as Pyro's do)
    """Replace the noise of every noisy site by eps = 1, so that ``z = f(x)``.

    Works on any sample site whose distribution has an attribute ``noise_free``, the value of z without noise:
    each :class:`~ib_pyro.distributions.NoisyActivation`, and whatever else has one. Other sites, and priors, are
    left alone. It is a switch of the noise only: batch norm has its own, ``program.train()`` and ``.eval()``.

    >>> import torch
    >>> from ib_pyro.nn import InformationDropout
    >>> layer = InformationDropout.linear(3, 2)
    >>> with noise_off():
    ...     torch.equal(layer(torch.ones(1, 3)), layer(torch.ones(1, 3)))
    True
    """

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["done"] or msg["is_observed"]:
            return
        value = value_without_noise(msg["fn"])
        if value is not None:
            # The site's own shape: a wrapper may have expanded the distribution beyond the activation.
            msg["value"] = value.expand(msg["fn"].shape())
            msg["done"] = True


class LayerCalls(Messenger):
    """Give the sites of a program's layers its names for them, and note what the layers emit, in order.

    A layer puts itself into the message, ``infer={"layer": layer}``, and may be in several programs, each of which
    has a name of its own for it. What handlers outside, such as ``pyro.contrib.autoname.scope``, make of the name
    does not matter here: values are told apart by layer.

    Args:
        names: The program's name for each of its layers.
        once: Refuse a second call of a layer, which would be a second sample at its site.
        given: Values that the layers emit instead of drawing, by the program's name; no handler outside sees their
            sites then.

    Attributes:
        values: The value that each layer has emitted, by the program's name.
        laws: The distribution that it was drawn from, with the batch shape of the site.
        replayed: Of each site that was replayed from a trace, the calls of the pass that it was sampled in.
        kept: What the program itself keeps of the pass, for a model that replays its values.

    Raises:
        ValueError: If a layer is called twice but may be called once; names the site.
    """

    def __init__(
        self,
        names: Mapping[nn.Module, str],
        *,
        once: bool = False,
        given: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.names, self.once, self.given = names, once, given
        self.values: dict[str, Tensor] = {}
        self.laws: dict[str, Distribution] = {}
        self.replayed: dict[str, LayerCalls] = {}
        self.kept: Any = None
        self._emitting: str | None = None

    def _process_message(self, msg: Any) -> None:  # noqa: ANN401  (Pyro's message)
        if msg["type"] == "sample":
            self._pyro_sample(msg)

    def _postprocess_message(self, msg: Any) -> None:  # noqa: ANN401  (Pyro's message)
        if msg["type"] == "sample":
            self._pyro_post_sample(msg)

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        self._emitting = self.names.get(msg["infer"].get("layer"))
        if self._emitting is None:
            return
        if self.once and self._emitting in self.values:
            raise ValueError(
                f"site {self._emitting!r}: the encoder calls its layer twice in one pass, but a site is sampled once; "
                "use a layer for each call, or one layer over all of them with a larger event_dim"
            )
        msg["name"] = self._emitting
        if self.given is not None:
            msg["value"], msg["done"], msg["stop"] = self.given[self._emitting], True, True
        # A replayed site has what was noted here when it was sampled.
        msg["infer"]["calls"] = self

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        if self._emitting is not None:
            self.values[self._emitting] = msg["value"]
            self.laws[self._emitting] = msg["fn"]
            source = msg["infer"].get("calls")
            if source is not self and source is not None:
                self.replayed[self._emitting] = source
            self._emitting = None


def name_in_running_program(layer: nn.Module) -> str | None:
    """Return the name of a layer's site in the program that is running its encoder, the outermost if they nest."""
    for handler in _PYRO_STACK:
        if isinstance(handler, LayerCalls) and layer in handler.names:
            return handler.names[layer]
    return None


def noise_is_off() -> bool:
    """Whether :class:`noise_off` is active."""
    return _is_active(noise_off)


def handlers_around() -> tuple[str, ...]:
    """Return the names of the classes of all active handlers, the outermost first."""
    return tuple(type(handler).__name__ for handler in _PYRO_STACK)


def warn_if_noise_is_off(doing: str, *, stacklevel: int) -> None:
    """Warn that no noise is drawn by what has noise by definition, since :class:`noise_off` is active around it.

    Args:
        doing: What is called, such as ``"fit"``.
        stacklevel: As of ``warnings.warn``, counted from who calls this.
    """
    if noise_is_off():
        warnings.warn(
            f"{doing} is called within noise_off(): every noisy site has its value without noise, so that no noise "
            f"is drawn where {doing} means it to be; leave the with-block",
            stacklevel=stacklevel + 1,
        )


def optimiser_listens() -> bool:
    """Whether something, such as ``SVI.step``, collects parameters; only then are they put in Pyro's store."""
    return any(handler.param_only for handler in _active(TraceMessenger))


def any_value_will_do() -> bool:
    """Whether a model is run only to learn the shapes of its sites, as automatic guides and ``Predictive`` do."""
    return _is_active(InitMessenger)


def plate_sizes() -> dict[int, int]:
    """Return the size of each vectorised plate around, by its dimension, counted from the right as -1, -2, ...

    A plate that is subsampled has the size of the subsample.
    """
    return {
        plate.dim: getattr(plate, "subsample_size", plate.size)
        for plate in _active(IndepMessenger)
        if plate.dim is not None
    }


def particles_are_vectorised() -> bool:
    """Whether a plate to the left of the data's, such as that of vectorised particles, gives z dimensions in front."""
    return any(dim < -1 for dim in plate_sizes())


def _active(kind: type[Handler]) -> Iterator[Handler]:
    return (handler for handler in _PYRO_STACK if isinstance(handler, kind))


def _is_active(kind: type[Messenger]) -> bool:
    return any(isinstance(handler, kind) for handler in _PYRO_STACK)

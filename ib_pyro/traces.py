"""Lean traces of a guide and of the model that replays it: the sample sites alone, without densities."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from ib_pyro.dependence import ValueTracker
from ib_pyro.sites import Site, is_point, log_prob_of

__all__ = ["EVERY_SITE", "HasNodes", "SiteTrace", "TracePair", "later_latents", "trace_pair"]

Program = Callable[..., Any]


class HasNodes(Protocol):
    """A trace: of this module, or Pyro's."""

    @property
    def nodes(self) -> Mapping[str, Any]:
        """The sites' messages by name, in order."""


class _EverySite:
    def __contains__(self, name: object) -> bool:
        return True


EVERY_SITE = _EverySite()
"""The sites of a computation that takes every density at the draw."""


@dataclass(frozen=True)
class TracePair:
    """One run of a guide, and of the model against it.

    Attributes:
        model: The model's trace, whose ``.nodes`` are its sample sites by name.
        guide: The guide's.
        later: For each latent site of the model whose law depends on latents that the guide samples later than it,
            their names. Sampled in the guide's order, such a site's prior is not yet known when the guide samples it.
    """

    model: HasNodes
    guide: HasNodes
    later: Mapping[str, frozenset[str]] = field(default_factory=dict)


class SiteTrace(Messenger):
    """Record the messages of all sample sites inside, in order; replay the latent values of another trace.

    It is ``poutine.trace`` and ``poutine.replay`` in one, less what an ELBO does not look at.

    Args:
        replayed: The trace, with ``.nodes``, whose latent sites keep their values here.
        tracker: Follows the values of sites that are replayed in another order; without one, it is only noticed that
            some are.
        in_any_order: Sites whose order does not matter, since their rate is taken at the draw.

    Attributes:
        nodes: The sites' messages by name.
        later: Sites that come after others that the replayed trace samples later, and those others: of those, with a
            tracker, that the site's law depends on.
    """

    def __init__(
        self,
        replayed: HasNodes | None = None,
        tracker: ValueTracker | None = None,
        *,
        in_any_order: Container[str] = (),
    ) -> None:
        super().__init__()
        self.nodes: dict[str, Site] = {}
        self.later: dict[str, frozenset[str]] = {}
        self._is_guide = replayed is None
        self._replayed = {} if replayed is None else replayed.nodes
        self._places = {name: place for place, name in enumerate(self._replayed)}
        self._tracker, self._in_any_order = tracker, in_any_order
        self._farthest = -1
        self._drawn: str | None = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *trace: Any) -> None:
        super().__exit__(kind, error, *trace)
        if isinstance(error, NotImplementedError) and self._drawn is not None and "site '" not in str(error):
            other = (
                "is it meant to be a prior, and are model and guide swapped?"
                if self._is_guide
                else f"the guide, which samples {sorted(self._replayed)}, has no value for it: sample it there too"
            )
            raise NotImplementedError(f"site {self._drawn!r}: {error}; {other}") from error

    # Pyro looks the methods of a message's type up by their names, at every site and handler.
    def _process_message(self, msg: Any) -> None:  # noqa: ANN401  (Pyro's message)
        if msg["type"] == "sample":
            self._pyro_sample(msg)

    def _postprocess_message(self, msg: Any) -> None:  # noqa: ANN401  (Pyro's message)
        if msg["type"] == "sample":
            self._pyro_post_sample(msg)

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        guide_msg = self._replayed.get(msg["name"])
        if guide_msg is None or msg["is_observed"]:
            self._drawn = msg["name"]
            return
        if guide_msg["is_observed"]:
            raise ValueError(
                f"site {msg['name']!r}: it is latent in the model but observed in the guide; "
                "leave obs= out of the guide"
            )
        msg["done"] = True
        msg["value"] = guide_msg["value"]
        msg["infer"] = guide_msg["infer"]
        if not site_is_subsample(msg):  # type: ignore[arg-type]
            self._note_order(msg)

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        self._drawn = None
        if msg["infer"] and msg["infer"].get("_do_not_trace"):
            return
        if msg["name"] in self.nodes:
            raise ValueError(f"site {msg['name']!r}: the program samples it twice; give one another name")
        self.nodes[msg["name"]] = msg
        if self._tracker is not None and self._is_guide and not msg["is_observed"]:
            # What the guide keeps of a value may reach the model by another way than the site.
            self._tracker.add_mark(msg["value"], msg["name"])

    def _note_order(self, msg: dict[str, Any]) -> None:
        name, place = msg["name"], self._places[msg["name"]]
        if place < self._farthest and not self._is_taken_at_draw(name):
            later = frozenset(n for n in self.nodes if self._places.get(n, -1) > place)
            if self._tracker is not None:
                later &= _latents_behind(msg, self._tracker)
            if later:
                self.later[name] = later
        self._farthest = max(self._farthest, place)
        if self._tracker is not None:
            msg["value"] = self._tracker.mark(msg["value"], name)

    def _is_taken_at_draw(self, name: str) -> bool:
        return name in self._in_any_order or is_point(self._replayed[name]["fn"])


def trace_pair(
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    in_any_order: Container[str] = (),
) -> TracePair:
    """Run the guide once, and the model against it.

    Where the model samples sites in another order than the guide, both run once more with their values followed, to
    find the sites whose law depends on latents that the guide samples later.

    Args:
        model: The model.
        guide: The guide, or a ``GuideMessenger`` that runs both.
        args: Their arguments.
        kwargs: Their keyword arguments.
        in_any_order: Sites whose order does not matter, since their rate is taken at the draw.
    """
    unwrapped_guide = poutine.unwrap(guide)
    if isinstance(unwrapped_guide, Messenger):
        guide(*args, **kwargs)
        return TracePair(*unwrapped_guide.get_traces())  # type: ignore[attr-defined]
    with SiteTrace() as guide_trace:
        guide(*args, **kwargs)
    with SiteTrace(guide_trace, in_any_order=in_any_order) as model_trace:
        model(*args, **kwargs)
    if model_trace.later:
        return _followed_pair(model, guide, args, kwargs, in_any_order)
    return TracePair(model_trace, guide_trace)


def later_latents(
    model: Program,
    guide: Program,
    orders: tuple[Iterable[str], Iterable[str]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Mapping[str, frozenset[str]]:
    """Return what :attr:`TracePair.later` says, of a model and guide that have run already.

    Args:
        model: The model.
        guide: The guide.
        orders: Names of the sites of the model and of the guide, in the order in which they ran.
        args: Arguments of both.
        kwargs: Their keyword arguments.
    """
    places = {name: place for place, name in enumerate(orders[1])}
    order = [places[name] for name in orders[0] if name in places]
    if order == sorted(order):
        return {}
    return _followed_pair(model, guide, args, kwargs, in_any_order=()).later


def _followed_pair(
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    in_any_order: Container[str],
) -> TracePair:
    with ValueTracker() as tracker:
        with SiteTrace(tracker=tracker) as guide_trace:
            guide(*args, **kwargs)
        with SiteTrace(guide_trace, tracker, in_any_order=in_any_order) as model_trace:
            model(*args, **kwargs)
    return TracePair(model_trace, guide_trace, model_trace.later)


def _latents_behind(msg: dict[str, Any], tracker: ValueTracker) -> frozenset[str]:
    """Return the latents that a site's law depends on; all there are if it has no density to ask."""
    try:
        with torch.no_grad():
            density = log_prob_of(msg["name"], {**msg, "value": tracker.unmarked(msg["value"])})
    except (NotImplementedError, ValueError):
        return tracker.marks
    return tracker.marks_of([density])

"""Lean traces of a guide and of the model that replays it: the sample sites alone, without densities."""

from collections.abc import Callable
from typing import Any

from pyro import poutine
from pyro.poutine.messenger import Messenger

from ib_pyro.elbo.sites import Site

__all__ = ["SiteTrace", "trace_pair"]


class SiteTrace(Messenger):
    """Record the messages of all sample sites inside, in order; replay the latent values of another trace.

    It is ``poutine.trace`` and ``poutine.replay`` in one, less what an ELBO does not look at.

    Args:
        replayed: The trace whose latent sites keep their values here.
    """

    def __init__(self, replayed: "SiteTrace | None" = None) -> None:
        super().__init__()
        self.nodes: dict[str, Site] = {}
        self._replayed = {} if replayed is None else replayed.nodes

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        guide_msg = self._replayed.get(msg["name"])
        if guide_msg is None or msg["is_observed"]:
            return
        if guide_msg["is_observed"]:
            raise ValueError(
                f"site {msg['name']!r}: it is latent in the model but observed in the guide; "
                "leave obs= out of the guide"
            )
        msg["done"] = True
        msg["value"] = guide_msg["value"]
        msg["infer"] = guide_msg["infer"]

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        if msg["infer"] and msg["infer"].get("_do_not_trace"):
            return
        if msg["name"] in self.nodes:
            raise ValueError(f"site {msg['name']!r}: the program samples it twice; give one another name")
        self.nodes[msg["name"]] = msg


def trace_pair(
    model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any]:
    """Run the guide once, and the model against it.

    Args:
        model: The model.
        guide: The guide, or a ``GuideMessenger`` that runs both.
        args: Their arguments.
        kwargs: Their keyword arguments.

    Returns:
        The traces of model and guide, whose ``.nodes`` are their sample sites by name.
    """
    unwrapped_guide = poutine.unwrap(guide)
    if isinstance(unwrapped_guide, Messenger):
        guide(*args, **kwargs)
        model_trace, guide_trace = unwrapped_guide.get_traces()  # type: ignore[attr-defined]
        return model_trace, guide_trace
    with SiteTrace() as guide_trace:
        guide(*args, **kwargs)
    with SiteTrace(guide_trace) as model_trace:
        model(*args, **kwargs)
    return model_trace, guide_trace

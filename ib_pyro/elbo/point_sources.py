"""Which of a guide's own draws its points are computed from, as an automatic guide computes latents from noise."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ib_pyro.buffers import buffers_kept, modules_behind
from ib_pyro.checks import is_traced
from ib_pyro.dependence import ValueTracker
from ib_pyro.handlers import unwrap
from ib_pyro.sites import Site
from ib_pyro.traces import SiteTrace

__all__ = ["SOURCES", "note_sources"]

Program = Callable[..., Any]
Sources = Mapping[str, frozenset[str]]

SOURCES = "ib_pyro_sources"
"""Where a site's ``infer`` has the names of the draws that its point is computed from."""

_KNOWN: "WeakKeyDictionary[object, dict[tuple[object, ...], Sources]]" = WeakKeyDictionary()


def note_sources(
    guide: Program,
    guide_sites: Mapping[str, Site],
    draws: Iterable[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Write into the messages of a guide's points which of its own draws they are computed from.

    The first time that it is asked of a guide with these sites, that runs once more with its values followed, through
    comparisons and ``detach`` too, which the graph of a gradient does not show; nothing of it or of the generators
    changes. Where it cannot run so, and under a tracer that comes first, nothing is written.

    Args:
        guide: The guide.
        guide_sites: Its sites by name, in order.
        draws: Names of its own draws.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    draws = frozenset(draws)
    first = next((place for place, name in enumerate(guide_sites) if name in draws), len(guide_sites))
    later = list(guide_sites)[first:]
    points = [n for n in later if n not in draws and isinstance(unwrap(guide_sites[n]["fn"]), Delta)]
    if not points or isinstance(poutine.unwrap(guide), Messenger):
        return
    key = (getattr(poutine.unwrap(guide), "__name__", ""), *guide_sites, *points)
    known = _known_of(guide)
    if key not in known:
        if is_traced():
            return
        known[key] = _run_followed(guide, guide_sites, draws, args, kwargs)
    sources = known[key]
    for name in points:
        if name in sources:
            site: Any = guide_sites[name]
            site["infer"] = {**site["infer"], SOURCES: sources[name]}


def _parts(site: Site) -> tuple[Tensor, Tensor]:
    point: Any = unwrap(site["fn"])
    return point.v, point.log_density


def _known_of(guide: Program) -> dict[tuple[object, ...], Sources]:
    """Return what earlier runs of a guide have shown, by its sites."""
    function = poutine.unwrap(guide)
    try:
        return _KNOWN.setdefault(getattr(function, "__self__", function), {})
    except TypeError:  # it has no hash, or no weak reference
        return {}


def _run_followed(
    guide: Program,
    guide_sites: Mapping[str, Site],
    draws: frozenset[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Sources:
    devices = {site["value"].device for site in guide_sites.values() if site["value"].is_cuda}
    kept = torch.random.fork_rng(devices), buffers_kept(modules_behind(guide))
    try:
        with torch.no_grad(), kept[0], kept[1], poutine.block():
            with ValueTracker() as tracker, SiteTrace(tracker=tracker) as run:
                guide(*args, **kwargs)
    except Exception:  # whatever a guide makes of a second run, or an operation of being followed
        return {}
    return {
        name: tracker.marks_of(_parts(site)) & draws
        for name, site in run.nodes.items()
        if isinstance(unwrap(site["fn"]), Delta)
    }

"""Which of a guide's own draws its points are computed from, as an automatic guide computes latents from noise."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from ib_pyro.buffers import buffers_kept, modules_behind
from ib_pyro.checks import is_traced
from ib_pyro.dependence import ValueTracker
from ib_pyro.elbo.path_gradient import CUT
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

    Where the draws have a gradient, the graph behind a point says so. Where they have none, under ``no_grad`` or from
    noise without parameters, the guide runs once more with its values followed, the first time that it is asked, and
    nothing of it or of the generators changes. Under a tracer, or where the guide cannot run so, nothing is written.

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
    if not points or is_traced():
        return
    own = {name: site for name, site in guide_sites.items() if name in draws}
    if torch.is_grad_enabled() and all(site["value"].requires_grad for site in own.values()):
        sources: Sources = {name: _in_graph(_parts(guide_sites[name]), own) for name in points}
    elif isinstance(poutine.unwrap(guide), Messenger):
        return
    else:
        key = (getattr(poutine.unwrap(guide), "__name__", ""), *guide_sites, *points)
        known = _known_of(guide)
        if key not in known:
            known[key] = _run_followed(guide, guide_sites, draws, args, kwargs)
        sources = known[key]
    for name in points:
        if name in sources:
            site: Any = guide_sites[name]
            site["infer"] = {**site["infer"], SOURCES: sources[name]}


def _parts(site: Site) -> tuple[Tensor, Tensor]:
    point: Any = unwrap(site["fn"])
    return point.v, point.log_density


def _in_graph(parts: Iterable[Tensor], draws: Mapping[str, Site]) -> frozenset[str]:
    """Return the draws that the graphs behind some tensors lead to."""
    names = {_edge(site["value"]): name for name, site in draws.items()}
    found: set[str] = set()
    todo = [_edge(part) for part in parts if part.requires_grad]
    seen = set(todo)
    while todo:
        edge = todo.pop()
        name = names.get(edge)
        if name is not None:
            found.add(name)
            if len(found) == len(draws):
                break
        cut = None if name is None else draws[name]["infer"].get(CUT)
        for other in (*edge[0].next_functions, *(() if cut is None else (_edge(cut.draw),))):
            if other[0] is not None and other not in seen:
                seen.add(other)
                todo.append(other)
    return frozenset(found)


def _edge(value: Tensor) -> tuple[Any, int]:
    """Return the operation that a value comes from, and which of its results it is."""
    if value.grad_fn is not None:
        return value.grad_fn, value.output_nr
    return get_gradient_edge(value).node, 0


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

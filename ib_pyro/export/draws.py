"""Draws from a posterior: the sites of a guide, and of the model with the guide's values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import Message
from pyro.poutine.trace_struct import Trace
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from torch import Tensor, nn

from ib_pyro.dependence import ValueTracker
from ib_pyro.elbo.attribution import own_draws
from ib_pyro.elbo.point_sources import note_sources
from ib_pyro.export.program import Program
from ib_pyro.export.random_streams import Streams
from ib_pyro.particles import random_state_kept
from ib_pyro.sites import Site, hints_of, is_deterministic, is_observation, plates_of, sample_sites
from ib_pyro.traces import later_latents

__all__ = ["Arguments", "Draw", "Sampler", "Sites"]

Arguments = tuple[Any, ...]
Sites = dict[str, Site]


@dataclass(frozen=True)
class Draw:
    """One draw of every latent site for one batch.

    Attributes:
        guide: The guide's sites.
        model: The model's sites, with the guide's values.
        trace: The guide's whole trace.
        later: Latents that a site's law in the model depends on and the guide samples later than it, so that its rate
            has no closed form.
    """

    guide: Sites
    model: Sites
    trace: Trace
    later: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def latent(self) -> tuple[str, ...]:
        """Names of the sites that the guide and the model share."""
        return tuple(name for name in self.guide if name in self.model)

    @property
    def auxiliary(self) -> Sites:
        """The guide's own sites."""
        return {name: site for name, site in self.guide.items() if name not in self.model}

    @property
    def with_density(self) -> Sites:
        """The model's observed sites and its bare factors."""
        return {name: s for name, s in self.model.items() if is_observation(s)}

    @property
    def observed(self) -> Sites:
        """The model's observed sites, without the bare factors."""
        return {name: s for name, s in self.with_density.items() if s["value"].numel()}

    @property
    def predicted(self) -> Sites:
        """The model's sites that are neither observed nor in the guide: y, when it is not given."""
        return {n: s for n, s in self.model.items() if not s["is_observed"] and n not in self.guide}

    @property
    def deterministic(self) -> Sites:
        """The model's ``pyro.deterministic`` sites."""
        return {name: s for name, s in self.model.items() if is_deterministic(s)}


class Sampler:
    """Draws from a program, with the same values of its global sites in every batch.

    Args:
        program: The model and guide.
        streams: Where it draws from.
    """

    def __init__(self, program: Program, streams: Streams) -> None:
        self.program, self._streams = program, streams
        self.plate: str | None = None
        self._shared: dict[tuple[str, int], Trace] = {}
        self._sites: frozenset[str] | None = None
        self._improper: frozenset[str] = frozenset()
        self._behind_improper: frozenset[str] = frozenset()

    def posterior(self, index: int | None, args: Arguments) -> Draw:
        """Return draw number ``index`` for a batch; None stands for a draw of its own.

        Raises:
            ValueError: If the sites of model and guide do not fit together, or are not those of the first draw.
        """
        guide = self._run("guide", self.program.guide, index, args)
        with self._streams.apart("model"):
            model = poutine.trace(poutine.replay(self.program.model, trace=guide)).get_trace(*args)
            later = later_latents(
                self.program.model, self.program.guide, (model.nodes, guide.nodes), args, {}
            )
        draw = Draw(sample_sites(guide.nodes), sample_sites(model.nodes), guide, later)
        note_sources(self.program.guide, draw.guide, own_draws(draw.guide, draw.model), args, {})
        _require_matching_sites(draw)
        self._require_same_sites(draw)
        return draw

    def prior(self, index: int | None, args: Arguments, draw: Draw) -> Sites:
        """Return the model's sites that can be sampled, each of them, observed or not, sampled.

        Args:
            index: Number of the draw; None stands for a draw of its own.
            args: The model's arguments.
            draw: A draw from the posterior, whose values stand in at sites that are known to have no proper prior.

        Raises:
            NotImplementedError: If a prior is improper that is not known to be.
        """
        model = self.program.model
        if self._improper:
            model = _StandIns({name: draw.model[name]["value"] for name in self._improper})(model)
        with self._streams.apart("prior"):
            sites = sample_sites(self._run("prior", _ObservationsSampled()(model), index, args).nodes)
        left_out = self._improper | self._behind_improper
        return {name: site for name, site in sites.items() if name not in left_out}

    def find_improper(self, args: Arguments, draw: Draw) -> tuple[frozenset[str], frozenset[str]]:
        """Find, and leave out from now on, the latent sites without a proper prior, and what depends on their values.

        Args:
            args: The model's arguments.
            draw: A draw from the posterior.

        Returns:
            Names of either kind of site; torch's generators are left as they were.
        """
        values = {name: draw.model[name]["value"] for name in draw.latent}
        modules = nn.ModuleList(self.program.modules)
        with random_state_kept(modules), ValueTracker() as tracker, _ImproperSites(values, tracker) as found:
            _ObservationsSampled()(self.program.model)(*args)
        self._improper, self._behind_improper = frozenset(found.improper), frozenset(found.behind)
        return self._improper, self._behind_improper

    def predictive(self, draw: Draw, args: Arguments) -> dict[str, tuple[Tensor, Site]]:
        """Sample the observed sites of the model given a draw; return each value with its site."""
        if draw.predicted:
            return {name: (site["value"], site) for name, site in draw.predicted.items()}
        with self._streams.apart("predictive"):
            return self._predictive_of_observed(draw, args)

    def _predictive_of_observed(self, draw: Draw, args: Arguments) -> dict[str, tuple[Tensor, Site]]:
        if len(draw.observed) == 1:
            return {name: (site["fn"].sample(), site) for name, site in draw.observed.items()}
        # A later observation may depend on the value of an earlier one: the model runs again.
        model = _ObservationsSampled()(poutine.replay(self.program.model, trace=draw.trace))
        sites = sample_sites(poutine.trace(model).get_trace(*args).nodes)
        return {name: (sites[name]["value"], sites[name]) for name in draw.observed if name in sites}

    def _require_same_sites(self, draw: Draw) -> None:
        sites = frozenset([*draw.guide, *draw.model])
        self._sites = sites if self._sites is None else self._sites
        if sites != self._sites:
            raise ValueError(
                f"site {min(sites ^ self._sites)!r} is in some draws and not in others; an export needs the same "
                "sites in all: sample each always, and mask what does not count"
            )

    def _run(self, kind: str, program: Callable[..., Any], index: int | None, args: Arguments) -> Trace:
        """Trace a program; sites outside of the plate over x take the values of their first batch."""
        if index is None or self.plate is None:
            return poutine.trace(program).get_trace(*args)
        shared = self._shared.get((kind, index))
        if shared is not None:
            return poutine.trace(poutine.replay(program, trace=shared)).get_trace(*args)
        trace = poutine.trace(program).get_trace(*args)
        self._shared[kind, index] = shared = Trace()
        for name, site in sample_sites(trace.nodes).items():
            if not site["is_observed"] and self.plate not in plates_of(site):
                shared.add_node(name, **site)
        return trace


class _StandIns(Messenger):
    """Gives some sites a value."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._values = values

    def _pyro_sample(self, msg: Message) -> None:
        if msg["name"] in self._values:
            msg["value"], msg["done"] = self._values[str(msg["name"])], True


class _ImproperSites(Messenger):
    """Finds the sites that cannot be sampled, and those that depend on them.

    Attributes:
        improper: Names of the former.
        behind: Names of the latter.
    """

    def __init__(self, values: Mapping[str, Tensor], tracker: ValueTracker) -> None:
        super().__init__()
        self.improper: set[str] = set()
        self.behind: set[str] = set()
        self._values, self._tracker = values, tracker

    def _pyro_sample(self, msg: Message) -> None:
        name, fn = str(msg["name"]), msg["fn"]
        if name not in self._values or msg["done"]:
            return
        try:
            msg["value"] = fn(*msg["args"], **msg["kwargs"])
        except NotImplementedError:
            self.improper.add(name)
            msg["value"] = self._tracker.mark(self._values[name], name)
        msg["done"] = True

    def _pyro_post_sample(self, msg: Message) -> None:
        name = str(msg["name"])
        if name not in self.improper and self._tracker.marks_of([msg["value"]]) & self.improper:
            self.behind.add(name)


class _ObservationsSampled(UnconditionMessenger):
    """``poutine.uncondition`` that leaves deterministic sites alone, which it would draw once for each plate."""

    def _pyro_sample(self, msg: Message) -> None:
        if not (msg["infer"] or {}).get("_deterministic"):
            super()._pyro_sample(msg)


def _require_matching_sites(draw: Draw) -> None:
    own = sorted(name for name, site in draw.auxiliary.items() if not site["infer"].get("is_auxiliary"))
    is_partly_given = bool(draw.observed and draw.predicted)
    if own or is_partly_given:
        hints = f". {hints_of(draw.model, draw.predicted)}" if is_partly_given else ""
        raise ValueError(
            f"the sites of model and guide differ: {sorted(draw.predicted) or 'none'} only in the model, "
            f"{own or 'none'} only in the guide; sample them in both, or mark a guide's own site with "
            f"infer={{'is_auxiliary': True}}{hints}"
        )

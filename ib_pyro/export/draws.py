"""Draws from a posterior: the sites of a guide, and of the model with the guide's values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro import poutine
from pyro.poutine.runtime import Message
from pyro.poutine.trace_struct import Trace
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from torch import Tensor

from ib_pyro.export.program import Program
from ib_pyro.sites import Site, is_observation, plates_of, sample_sites
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
        return {name: s for name, s in self.model.items() if s["infer"].get("_deterministic")}


class Sampler:
    """Draws from a program, with the same values of its global sites in every batch.

    Args:
        program: The model and guide.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.plate: str | None = None
        self._shared: dict[tuple[str, int], Trace] = {}
        self._sites: frozenset[str] | None = None

    def posterior(self, index: int | None, args: Arguments) -> Draw:
        """Return draw number ``index`` for a batch; None stands for a draw of its own.

        Raises:
            ValueError: If the sites of model and guide do not fit together, or are not those of the first draw.
        """
        guide = self._run("guide", self.program.guide, index, args)
        model = poutine.trace(poutine.replay(self.program.model, trace=guide)).get_trace(*args)
        later = later_latents(self.program.model, self.program.guide, (model.nodes, guide.nodes), args, {})
        draw = Draw(sample_sites(guide.nodes), sample_sites(model.nodes), guide, later)
        _require_matching_sites(draw)
        self._require_same_sites(draw)
        return draw

    def prior(self, index: int | None, args: Arguments) -> Sites:
        """Return the model's sites, each of them, observed or not, sampled.

        Raises:
            NotImplementedError: If a prior is improper.
        """
        return sample_sites(self._run("prior", _ObservationsSampled()(self.program.model), index, args).nodes)

    def predictive(self, draw: Draw, args: Arguments) -> dict[str, tuple[Tensor, Site]]:
        """Sample the observed sites of the model given a draw; return each value with its site."""
        if draw.predicted:
            return {name: (site["value"], site) for name, site in draw.predicted.items()}
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


class _ObservationsSampled(UnconditionMessenger):
    """``poutine.uncondition`` that leaves deterministic sites alone, which it would draw once for each plate."""

    def _pyro_sample(self, msg: Message) -> None:
        if not (msg["infer"] or {}).get("_deterministic"):
            super()._pyro_sample(msg)


def _require_matching_sites(draw: Draw) -> None:
    own = sorted(name for name, site in draw.auxiliary.items() if not site["infer"].get("is_auxiliary"))
    if own or (draw.observed and draw.predicted):
        raise ValueError(
            f"the sites of model and guide differ: {sorted(draw.predicted) or 'none'} only in the model, "
            f"{own or 'none'} only in the guide; sample them in both, or mark a guide's own site with "
            "infer={'is_auxiliary': True}"
        )

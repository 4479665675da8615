"""The importance-weighted bound as an objective, with the plain and the doubly reparameterised gradient."""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ib_pyro.checks import checks_values, fails, is_traced
from ib_pyro.choices import require_known
from ib_pyro.elbo.attribution import attribute
from ib_pyro.elbo.information_bottleneck import InformationBottleneckELBO
from ib_pyro.elbo.particle_weights import ParticleWeights
from ib_pyro.elbo.path_gradient import PathCuts, doubly_reparameterised
from ib_pyro.elbo.site_rate import Rate
from ib_pyro.elbo.terms import Terms, average_terms, report_rates
from ib_pyro.elbo.weights import Weight
from ib_pyro.information import importance_weighted_bound
from ib_pyro.sites import Site, masked, per_plate, plates_kept, plates_of
from ib_pyro.subsamples import SamplesOf, require_same_samples
from ib_pyro.traces import EVERY_SITE

__all__ = ["ImportanceWeightedELBO"]

Program = Callable[..., Any]
Sites = dict[str, Site]
Later = Mapping[str, frozenset[str]]


class ImportanceWeightedELBO(InformationBottleneckELBO):
    r"""The negative of the bound with K weighted draws, which lies between the ELBO and the log-likelihood.

    ``L_K = sum_n E[-log (1/K) sum_k p(y_n, z_nk) / p(z_nk | x_n)]`` (Burda, Grosse & Salakhutdinov 2016, eq. 8), a
    weight for each sample, scaled as plates are. With K = 1 it is the ELBO with every rate at the draw; it falls as K
    grows, and tends to the negative log-likelihood.

    Two gradients of it, both unbiased:

    * ``"iwae"``: that of the value itself. What it says of the guide gets lost in noise as K grows: its ratio of
      signal to noise falls as ``1 / sqrt(K)`` (Rainforth et al. 2018).
    * ``"dreg"``: doubly reparameterised, ``sum_k w_k² (d log p(y, z_k) / dz - d log p(z_k | x) / dz) dz_k`` with
      normalised weights w_k for the guide, and the first one for the model (Tucker et al. 2019); its ratio of signal
      to noise grows as ``sqrt(K)``. With K = 1 it is the path derivative of the ELBO (Roeder et al. 2017).

    Beta is 1: another weight of the rate makes no weights of a likelihood, and is refused, as are gamma, penalties and
    scales other than those of plates. All latents have to be in the same plates, so that a sample has a weight of its
    own, and all K draws are for the subsample that a plate draws in the first. Under improper priors the bound has a
    free constant, as every rate has.

    Args:
        num_particles: Number of draws K.
        gradient: ``"iwae"`` or ``"dreg"``.
        **options: Options of :class:`pyro.infer.ELBO`, such as ``vectorize_particles=True``, which draws all particles
            in one pass.

    Raises:
        ValueError: If the gradient is unknown, or an option of the Lagrangian is given that the bound does not have.

    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import AdditiveNormal
    >>> program = Bottleneck(AdditiveNormal.linear(4, 2), torch.nn.Linear(2, 4), "normal")
    >>> x = torch.rand(5, 4)
    >>> elbo = ImportanceWeightedELBO(
    ...     8, gradient="dreg", vectorize_particles=True, max_plate_nesting=1
    ... )
    >>> elbo(program.model, program.guide)(x, x).backward()
    """

    def __init__(self, num_particles: int = 8, *, gradient: str = "iwae", **options: Any) -> None:
        self.gradient = require_known("gradient=", gradient, ("iwae", "dreg"))
        if num_particles < 1:
            raise ValueError(f"num_particles must be at least 1; got {num_particles}")
        beta, gamma = options.pop("beta", 1.0), options.pop("gamma", 0.0)
        super().__init__(beta, gamma, num_particles=num_particles, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_particles={self.num_particles}, gradient={self.gradient!r})"

    @property
    def beta(self) -> Weight:
        """Weight of the rate, which is 1."""
        return self._beta

    @beta.setter
    def beta(self, value: Weight) -> None:
        if isinstance(value, dict) or fails(torch.as_tensor(value) == 1):
            raise ValueError(
                f"beta is {value}, but the weights p(y, z) / p(z|x) of an importance-weighted bound are those of a "
                "likelihood, in which the rate has weight 1; use InformationBottleneckELBO(beta=...) for another"
            )
        self._beta = value

    @property
    def gamma(self) -> Weight:
        """Weight of the total correlation, which is 0."""
        return self._gamma

    @gamma.setter
    def gamma(self, value: Weight) -> None:
        if isinstance(value, dict) or fails(torch.as_tensor(value) == 0):
            raise ValueError(
                f"gamma is {value}, but an importance-weighted bound has no total correlation; use "
                "InformationBottleneckELBO(gamma=...)"
            )
        self._gamma = value

    @property
    def _sites_at_draw(self) -> Container[str]:
        return EVERY_SITE

    def _get_trace(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # noqa: ANN401  (as the base's)
        if self.gradient != "dreg" or not torch.is_grad_enabled():
            return super()._get_trace(model, guide, args, kwargs)
        if is_traced():
            raise NotImplementedError(
                'gradient="dreg" differentiates within the loss, which torch.func.vmap and torch.compile do not take; '
                'use gradient="iwae", or train the runs one by one'
            )
        with PathCuts():
            return super()._get_trace(model, guide, args, kwargs)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss as a scalar tensor with its graph."""
        return self._loss_of(*self._weighted_particles(model, guide, args, kwargs), model)

    def _average_terms(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Terms:
        traces, particles = self._weighted_particles(model, guide, args, kwargs)
        loss = self._loss_of(traces, particles, model)
        with torch.no_grad():
            reports = [
                self._report(trace[0], trace[1], particle, loss)
                for trace, particle in zip(traces, particles, strict=True)
            ]
        return reports[0] if len(reports) == 1 else replace(average_terms(reports), loss=loss)

    def _weighted_particles(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[tuple[Sites, Sites, Later]], list[ParticleWeights]]:
        if self.penalty is not None:
            raise ValueError(
                f"penalty is {self.penalty!r}, but an importance-weighted bound has no rate apart from the rest; use "
                "InformationBottleneckELBO(penalty=...)"
            )
        traces = list(self._traces_of_one_subsample(model, guide, args, kwargs))
        particles = [ParticleWeights.of(trace[0], trace[1], self.max_plate_nesting) for trace in traces]
        require_same_samples(SamplesOf(tuple(p.log_joint.shape), p.plates, p.scale) for p in particles)
        return traces, particles

    def _loss_of(
        self, traces: list[tuple[Sites, Sites, Later]], particles: list[ParticleWeights], model: Program
    ) -> Tensor:
        loss = self._bound(particles, [trace[1] for trace in traces], model)
        if checks_values() and fails(loss.detach().isfinite()):
            # All draws of a sample have no weight.
            for trace, particle in zip(traces, particles, strict=True):
                self._require_finite_rates(_rates_of(particle), attribute(trace[1], trace[0]), trace[1])
        return loss

    def _bound(self, particles: list[ParticleWeights], guides: list[Sites], model: Program) -> Tensor:
        is_vectorised = len(particles) < self.num_particles
        log_weights, log_joint = (
            parts[0] if is_vectorised else torch.stack(parts)
            for parts in ([p.log_weight for p in particles], [p.log_joint for p in particles])
        )
        loss = importance_weighted_bound(log_weights).sum()
        if self.gradient == "dreg" and loss.requires_grad:
            surrogate = doubly_reparameterised(log_weights, log_joint, guides, model)
            loss = loss.detach() + (surrogate - surrogate.detach())
        return -particles[0].scale * loss

    @staticmethod
    def _report(model_sites: Sites, guide_sites: Sites, particle: ParticleWeights, loss: Tensor) -> Terms:
        """Return distortion and rates at the draw, without a graph: the loss alone has one."""
        attribution = attribute(guide_sites, model_sites)
        observed = {name: model_sites[name] for name in particle.log_likelihoods}
        shared = set.intersection(*map(plates_of, observed.values())) if observed else set()
        parts = [
            per_plate(masked(values.detach(), observed[name]), observed[name], shared)
            for name, values in particle.log_likelihoods.items()
        ]
        plates = [
            plates_kept(values, observed[name], shared) for name, values in particle.log_likelihoods.items()
        ]
        return Terms(
            -torch.as_tensor(sum(parts, start=0.0)),
            loss=loss,
            plates=plates[-1] if plates else (),
            likelihood={name: site["fn"] for name, site in observed.items()},
            **report_rates(_rates_of(particle), attribution, guide_sites),
        )


def _rates_of(particle: ParticleWeights) -> dict[str, Rate]:
    """Return ``log q(z) - log p(z)`` of each site of the guide at the draw, without a graph."""
    return {
        name: Rate((value - particle.log_priors.get(name, 0.0)).detach(), "monte-carlo")
        for name, value in particle.log_posteriors.items()
    }

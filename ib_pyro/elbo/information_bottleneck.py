"""The information-bottleneck Lagrangian as an ELBO with a weighted KL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.infer import ELBO
from pyro.infer.util import is_validation_enabled, torch_item
from pyro.util import check_model_guide_match, warn_if_nan
from torch import Tensor

from ib_pyro.elbo.sites import (
    Site,
    have_same_shapes,
    is_observation,
    log_prob_of,
    masked,
    num_samples,
    owner_of,
    per_plate,
    plates_of,
    require_matching_sites,
    require_plate_shape,
    sample_sites,
    scaled_sum,
)
from ib_pyro.elbo.terms import site_rate
from ib_pyro.elbo.total_correlation import TotalCorrelationEstimator, resolve_total_correlation
from ib_pyro.elbo.traces import trace_pair
from ib_pyro.elbo.weights import Weight, check_weight, is_zero, require_known_sites, weight_of, weighted
from ib_pyro.handlers import unwrap

__all__ = ["InformationBottleneckELBO", "Terms"]

Program = Callable[..., Any]
Sites = dict[str, Site]


@dataclass(frozen=True)
class Terms:
    """The parts of one evaluation of the Lagrangian, in nats, averaged over particles.

    Attributes:
        distortion: ``-log p(y|z)``, ``[batch]``: one value for each index of the plates that all observed
            sites share, summed over their other plates, without the plates' scale.
        rate: ``KL(p(z|x) || q(z))`` of each latent site, ``[batch]``: one value for each index of the site's
            plates, without their scale and without beta.
        loss: The scalar to minimise: distortion plus beta times rate, summed over plates and scaled as Pyro does.
        total_correlation: TC(z) of each site that gamma weights, a scalar; empty if gamma is 0.
    """

    distortion: Tensor
    rate: dict[str, Tensor]
    loss: Tensor
    total_correlation: dict[str, Tensor] = field(default_factory=dict)


class InformationBottleneckELBO(ELBO):
    r"""The negative ELBO with its analytic KL divergences weighted by beta, and total correlations by gamma.

    ``L = E[-log p(y|z)] + sum_l beta_l * KL(p(z_l|x) || q(z_l)) + gamma_l * TC(z_l)``, summed over plates
    (Achille & Soatto 2016, eqs. 3 and 5). Beta multiplies the rate per sample, in nats; the paper's experiments divide
    theirs by the number of training samples, ``beta_paper = beta * N``. With beta = 1 the value is that of
    :class:`pyro.infer.TraceMeanField_ELBO`, to the last digit.

    Works on any model and guide with reparameterised guides: nested plates, subsampling, ``poutine.scale`` and
    ``poutine.mask`` around a site on both sides, automatic guides. For automatic guides over constrained sites
    it keeps the Jacobian that Pyro's rule for ``Delta`` drops, and agrees with ``Trace_ELBO``.

    Args:
        beta: Weight of the rate: a number, a tensor (scalar, or broadcastable to a site's batch), or a mapping
            from sites to either, in which missing sites keep weight 1. Exactly 0 leaves a site's rate out, finite
            or not. May be set between steps.
        gamma: Weight of the total correlation, per sample and in nats: one number for a site; sites that a mapping
            leaves out have weight 0. Only sites inside of a plate, over whose samples TC is estimated, may have one.
        total_correlation: ``"gaussian"``, ``"minibatch-stratified"``, ``"minibatch-weighted"``, or an estimator
            such as :class:`ib_pyro.elbo.CriticTotalCorrelation`.
        on_missing_kl: ``"error"``, or ``"monte-carlo"`` to sample the rate of a site without a closed form.
        **options: Options of :class:`pyro.infer.ELBO`, such as ``num_particles``.

    Raises:
        ValueError: If beta or gamma is negative, or an option is unknown.

    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), torch.nn.Linear(3, 2))
    >>> x, y = torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1])
    >>> terms = InformationBottleneckELBO(beta=0.1).terms(program.model, program.guide, x, y)
    >>> terms.distortion.shape, terms.rate["z1"].shape
    (torch.Size([5]), torch.Size([5]))
    """

    def __init__(
        self,
        beta: Weight = 1.0,
        gamma: Weight = 0.0,
        *,
        total_correlation: str | TotalCorrelationEstimator = "gaussian",
        on_missing_kl: str = "error",
        **options: Any,
    ) -> None:
        if on_missing_kl not in ("error", "monte-carlo"):
            raise ValueError(f"on_missing_kl={on_missing_kl!r} is unknown; choose 'error' or 'monte-carlo'")
        super().__init__(**options)
        self.beta = beta
        self.gamma = gamma
        self.total_correlation = resolve_total_correlation(total_correlation)
        self.on_missing_kl = on_missing_kl

    @property
    def beta(self) -> Weight:
        """Weight of the rate, per sample and in nats."""
        return self._beta

    @beta.setter
    def beta(self, value: Weight) -> None:
        self._beta = check_weight(value, "beta")

    @property
    def gamma(self) -> Weight:
        """Weight of the total correlation, per sample and in nats."""
        return self._gamma

    @gamma.setter
    def gamma(self, value: Weight) -> None:
        value = check_weight(value, "gamma")
        for weight in value.values() if isinstance(value, Mapping) else [value]:
            if isinstance(weight, Tensor) and weight.dim():
                raise ValueError(
                    f"gamma must be one number for a site, as its TC is; got shape {tuple(weight.shape)}"
                )
        self._gamma = value

    def terms(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Terms:
        """Evaluate distortion, rates and loss once, differentiably.

        Args:
            model: The model.
            guide: The guide.
            *args: Their arguments, such as x and y.
            **kwargs: Their keyword arguments.

        Raises:
            ValueError: If the sites of model and guide differ, or a site is scaled or masked on one side.
            MissingKLError: If a site has no closed-form KL.
        """
        particles = [
            self._evaluate(model_sites, guide_sites, with_unweighted=True)
            for model_sites, guide_sites in self._get_traces(model, guide, args, kwargs)
        ]
        if len(particles) < self.num_particles:
            # Vectorised particles are a plate of one evaluation, whose loss sums over them.
            return replace(particles[0], loss=particles[0].loss / self.num_particles)
        return particles[0] if len(particles) == 1 else _average(particles)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss as a scalar tensor with its graph."""
        losses = [
            self._evaluate(model_sites, guide_sites, with_unweighted=False).loss
            for model_sites, guide_sites in self._get_traces(model, guide, args, kwargs)
        ]
        if self.num_particles == 1:
            return losses[0]
        return torch.as_tensor(sum(loss / self.num_particles for loss in losses))

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the loss as a number."""
        with torch.no_grad():
            loss = torch_item(self.differentiable_loss(model, guide, *args, **kwargs))
        warn_if_nan(loss, "loss")
        return loss

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the loss as a number, and accumulate its gradients in the parameters."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward(retain_graph=self.retain_graph)
        loss = torch_item(loss)
        warn_if_nan(loss, "loss")
        return loss

    def _get_trace(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sites, Sites]:
        """Run the guide, and the model against it; return the sample sites of both."""
        model_trace, guide_trace = trace_pair(model, guide, args, kwargs)
        model_sites = sample_sites(model_trace.nodes)
        guide_sites = {
            name: site
            for name, site in sample_sites(guide_trace.nodes).items()
            if not site["is_observed"] or site["infer"].get("is_auxiliary")  # pyro.factor in the guide
        }
        require_matching_sites(model_sites, guide_sites)
        if is_validation_enabled() and not have_same_shapes(model_sites, guide_sites):
            check_model_guide_match(model_trace, guide_trace, self.max_plate_nesting)
        return model_sites, guide_sites

    def _evaluate(self, model_sites: Sites, guide_sites: Sites, *, with_unweighted: bool) -> Terms:
        if isinstance(self.beta, Mapping):
            require_known_sites(self.beta, "beta", {owner_of(name, guide_sites) for name in guide_sites})
            _require_rates_apart(self.beta, model_sites, guide_sites)
        distortion, log_likelihood = self._distortion(model_sites)
        elbo: Tensor | float = 0.0
        rate: dict[str, Tensor] = {}
        # A sum in the order of Pyro's own, so that equal weights give equal digits.
        for name, site in model_sites.items():
            if name in log_likelihood:
                elbo = elbo + scaled_sum(log_likelihood[name], site)
            elif name in guide_sites:
                guide_site, beta = guide_sites[name], weight_of(self.beta, name, 1.0)
                if with_unweighted or not is_zero(beta):
                    kl = site_rate(name, guide_site, site, self.on_missing_kl)
                    if is_validation_enabled():
                        require_plate_shape(kl, guide_site, self.max_plate_nesting)
                        require_plate_shape(kl, site, self.max_plate_nesting)
                    elbo = elbo - self._weighted_rate(beta, kl, guide_site)
                    rate[name] = per_plate(masked(kl, guide_site), guide_site)
        for name, auxiliary in guide_sites.items():
            if name not in model_sites:
                owner, log_prob = owner_of(name, guide_sites), log_prob_of(name, auxiliary)
                elbo = elbo - self._weighted_rate(weight_of(self.beta, owner, 1.0), log_prob, auxiliary)
                rate[owner] = rate.get(owner, 0.0) + per_plate(masked(log_prob, auxiliary), auxiliary)
        loss = -torch.as_tensor(elbo)
        correlation = self._total_correlations(guide_sites)
        for name, value in correlation.items():
            loss = loss + weight_of(self.gamma, name, 0.0) * value * num_samples(guide_sites[name])
        return Terms(distortion, rate, loss, correlation)

    def _distortion(self, model_sites: Sites) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the distortion over the plates that all observations share, and each one's log density."""
        observed = {name: site for name, site in model_sites.items() if is_observation(site)}
        shared = set.intersection(*map(plates_of, observed.values())) if observed else set()
        log_likelihood = {name: log_prob_of(name, site) for name, site in observed.items()}
        distortion: Tensor | float = 0.0
        for name, values in log_likelihood.items():
            if is_validation_enabled():
                require_plate_shape(values, observed[name], self.max_plate_nesting)
            distortion = distortion - per_plate(masked(values, observed[name]), observed[name], shared)
        return torch.as_tensor(distortion), log_likelihood

    @staticmethod
    def _weighted_rate(beta: float | Tensor, values: Tensor, site: Site) -> Tensor | float:
        if is_zero(beta):
            return 0.0
        if isinstance(beta, Tensor) and beta.dim():
            return scaled_sum(weighted(beta, values), site)
        return weighted(beta, scaled_sum(values, site))

    def _total_correlations(self, guide_sites: Sites) -> dict[str, Tensor]:
        require_known_sites(self.gamma, "gamma", guide_sites.keys())
        values = {}
        for name, site in guide_sites.items():
            if site["is_observed"] or is_zero(weight_of(self.gamma, name, 0.0)):
                continue
            frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
            if len(frames) != 1 or len(site["fn"].batch_shape) != 1:
                raise ValueError(
                    f"site {name!r}: gamma weights a total correlation over the samples of one plate, but the site "
                    f"is in {len(frames)}; weight single sites with gamma={{site: ...}}"
                )
            if isinstance(site["mask"], Tensor):
                raise ValueError(
                    f"site {name!r}: some of its samples are masked, and the total correlation would take them in; "
                    "leave them out of the batch, or weight other sites with gamma={site: ...}"
                )
            values[name] = self.total_correlation(site["fn"], site["value"], frames[0].full_size)
        return values


def _require_rates_apart(beta: Mapping[str, float | Tensor], model_sites: Sites, guide_sites: Sites) -> None:
    """Raise if a weight would reach a site's prior alone, because its posterior is part of a joint site's.

    Raises:
        ValueError: Names both sites.
    """
    joint = [
        name for name in guide_sites if owner_of(name, guide_sites) not in model_sites and name not in beta
    ]
    for name in beta if joint else ():
        own = name in model_sites and f"{name}_unconstrained" not in guide_sites
        if own and isinstance(unwrap(guide_sites[name]["fn"]), Delta):
            raise ValueError(
                f"site {name!r}: beta weights it alone, but the guide draws it from the joint site {joint[0]!r}, "
                "whose entropy cannot be shared out. Use one beta for all sites, a guide with a site for each latent "
                f"such as AutoNormal, or say what the joint site weighs: beta={{..., {joint[0]!r}: 1.0}}"
            )


def _average(particles: list[Terms]) -> Terms:
    def mean(values: list[Tensor]) -> Tensor:
        return torch.stack(values).mean(0)

    return Terms(
        mean([p.distortion for p in particles]),
        {name: mean([p.rate[name] for p in particles]) for name in particles[0].rate},
        mean([p.loss for p in particles]),
        {
            name: mean([p.total_correlation[name] for p in particles])
            for name in particles[0].total_correlation
        },
    )

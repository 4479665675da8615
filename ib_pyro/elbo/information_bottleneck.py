"""The information-bottleneck Lagrangian as an ELBO with a weighted KL."""

import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer import ELBO
from pyro.infer.elbo import ELBOModule
from pyro.infer.util import is_validation_enabled, torch_item
from pyro.util import check_model_guide_match, warn_if_nan
from torch import Tensor

from ib_pyro.checks import checks_values, fails, require_count
from ib_pyro.elbo.attribution import Attribution, attribute, own_draws, require_rates_apart
from ib_pyro.elbo.captured_loss import CapturedLoss
from ib_pyro.elbo.loss_module import LossModule
from ib_pyro.elbo.penalties import Penalty, require_penalty
from ib_pyro.elbo.point_sources import note_sources
from ib_pyro.elbo.site_rate import Rate, check_estimator, site_rate
from ib_pyro.elbo.terms import Terms, average_terms, report_rates, what_is_nan
from ib_pyro.elbo.total_correlation import TotalCorrelationEstimator, resolve_total_correlation
from ib_pyro.elbo.unit_rates import sum_of_units, unit_rates
from ib_pyro.elbo.weights import (
    Weight,
    check_scalar_weight,
    check_weight,
    is_zero,
    require_known_sites,
    require_reach,
    weight_of,
    weighted,
)
from ib_pyro.sites import (
    PARTICLES,
    Plate,
    Site,
    have_same_shapes,
    is_deterministic,
    is_observation,
    is_silenced,
    log_prob_of,
    masked,
    num_samples,
    own_mask,
    per_plate,
    plates_kept,
    plates_of,
    require_matching_sites,
    require_plate_shape,
    sample_sites,
    scaled_sum,
)
from ib_pyro.subsamples import one_subsample
from ib_pyro.traces import trace_pair

__all__ = ["InformationBottleneckELBO", "Terms"]

Program = Callable[..., Any]
Sites = dict[str, Site]
Later = Mapping[str, frozenset[str]]


class InformationBottleneckELBO(ELBO):
    r"""The negative ELBO with its analytic KL divergences weighted by beta, and total correlations by gamma.

    ``L = E[-log p(y|z)] + sum_l beta_l * KL(p(z_l|x) || q(z_l)) + gamma_l * TC(z_l)``, summed over plates
    (Achille & Soatto 2016, eqs. 3 and 5). Beta multiplies the rate per sample, in nats; the paper's experiments divide
    theirs by the number of training samples, ``beta_paper = beta * N``. With beta = 1 the value is that of
    :class:`pyro.infer.TraceMeanField_ELBO`, to the last digit, where that is right: of point estimates with a
    Jacobian, however wrapped, and of sites in another order in the guide it is not, and the value is what
    :class:`pyro.infer.Trace_ELBO` means.

    Works on any model and guide with reparameterised guides: nested plates, subsampling, ``poutine.scale`` and
    ``poutine.mask`` around a site on both sides, automatic guides. A rate has a closed form if a KL divergence is
    registered for the two laws, and if the model's law does not depend on latents that the guide samples later than
    the site; values are followed through both to see whether it does. Otherwise it is refused, or sampled.

    Beta stands first, as the one weight that every objective here has. Pyro's own ELBOs begin with the number of
    particles: a whole number above 1 that is passed by position is taken as beta, and says so.

    Args:
        beta: Weight of the rate: a number, a tensor (scalar, or broadcastable to a site's batch), or a mapping
            from sites to either, in which missing sites keep weight 1. Exactly 0 leaves a site's rate out, finite
            or not. May be set between steps.
        gamma: Weight of the total correlation, per sample and in nats: one number for a site; sites that a mapping
            leaves out have weight 0. Only sites inside of a plate, over whose samples TC is estimated, may have one.
        total_correlation: ``"gaussian"``, ``"minibatch-stratified"``, ``"minibatch-weighted"``, or an estimator
            such as :class:`ib_pyro.elbo.CriticTotalCorrelation`.
        penalty: What takes the rate's place, :class:`ib_pyro.elbo.Capacity` or :class:`ib_pyro.elbo.FreeBits`.
        on_no_closed_form: What to do about a rate without a closed form: ``"error"``, or ``"monte-carlo"`` for
            ``log p(z|x) - log q(z)`` at the draw.
        sampled_rates: Sites whose rate is taken at the draw even if it has a closed form.
        on_missing_kl: Another name of ``on_no_closed_form``.
        **options: Options of :class:`pyro.infer.ELBO`, such as ``num_particles``.

    Raises:
        ValueError: If beta or gamma is negative or infinite, or an option is unknown.

    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), torch.nn.Linear(3, 2))
    >>> x, y = torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1])
    >>> terms = InformationBottleneckELBO(beta=0.1).terms(
    ...     program.model, program.guide, x, y
    ... )
    >>> terms.distortion.shape, terms.rate["z1"].shape, terms.estimator
    (torch.Size([5]), torch.Size([5]), {'z1': 'analytic'})
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the objective, and say so where beta may have been meant as Pyro's number of particles."""
        # Only a call's arguments as they were written tell beta from a number of particles.
        takes_beta_first = cls.__init__ is InformationBottleneckELBO.__init__
        if takes_beta_first and args and type(args[0]) is int and args[0] > 1:
            warnings.warn(
                f"{cls.__name__}({args[0]}) has beta={args[0]}, the weight of the rate; write num_particles={args[0]} "
                f"if particles are meant, and beta={args[0]} if not",
                stacklevel=2,
            )
        return super().__new__(cls)

    def __init__(
        self,
        beta: Weight = 1.0,
        gamma: Weight = 0.0,
        *,
        total_correlation: str | TotalCorrelationEstimator = "gaussian",
        penalty: Penalty | None = None,
        on_no_closed_form: str | None = None,
        sampled_rates: Iterable[str] = (),
        on_missing_kl: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        require_count("num_particles", self.num_particles)
        self.beta = beta
        self.gamma = gamma
        self.total_correlation = resolve_total_correlation(total_correlation)
        self.penalty = require_penalty(penalty)
        self.on_no_closed_form = _resolve_estimator(on_no_closed_form, on_missing_kl)
        self.sampled_rates = _names(sampled_rates)

    def __repr__(self) -> str:
        settings = {"beta": self.beta, "gamma": self.gamma}
        if self.penalty is not None:
            settings["penalty"] = self.penalty  # type: ignore[assignment]
        if self.num_particles > 1:
            settings["num_particles"] = self.num_particles
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in settings.items())})"

    def __call__(self, model: Program, guide: Program) -> ELBOModule:
        """Return the loss of a model and guide as a module, with each of their parameters in it once."""
        return LossModule(model, guide, self)

    def capture(self, model: Program, guide: Program, *, compile: bool = False) -> CapturedLoss:
        """Return the loss of a model and guide as a function that replays a recording of its tensor operations.

        The first call with arguments of one kind runs the programs and records what they compute, with the gradients
        of all parameters; later ones replay that without their Python, under the same seed with the same numbers. It
        suits programs whose operations do not depend on values, and says so of one whose do.

        Args:
            model: The model.
            guide: The guide.
            compile: Whether to compile each recording, which takes seconds to minutes and a compiler for C++: numbers
                are then the same to rounding. It pays where operations are small and steps many.

        >>> from ib_pyro import Bottleneck
        >>> from ib_pyro.nn import InformationDropout
        >>> program = Bottleneck(InformationDropout.linear(4, 3), torch.nn.Linear(3, 2))
        >>> loss = InformationBottleneckELBO(beta=0.1).capture(program.model, program.guide)
        >>> for _ in range(2):
        ...     loss(torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1])).backward()
        """
        return CapturedLoss(self, model, guide, compile)

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
        self._gamma = check_scalar_weight(value, "gamma", "as its TC is")

    def terms(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Terms:
        """Evaluate distortion, rates and loss once, differentiably.

        Args:
            model: The model.
            guide: The guide.
            *args: Their arguments, such as x and y.
            **kwargs: Their keyword arguments.

        Raises:
            ValueError: If the sites of model and guide differ, a site is scaled or masked on one side, a weight does
                not fit a site, or a rate that has a weight is infinite.
            MissingKLError: If a site's rate has no closed form.

        A loss that is NaN is returned, with a warning that names the terms. Particles in turn share the subsamples of
        the first, as vectorised ones do, so that each index of a plate is one sample; the loss alone may draw one for
        each.
        """
        found = self._average_terms(model, guide, args, kwargs)
        if checks_values() and fails(~found.loss.detach().isnan()):
            warnings.warn(f"{what_is_nan(found)}; look for NaN in the data and the parameters", stacklevel=2)
        return found

    def _average_terms(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Terms:
        particles = [
            self._evaluate(*traces, with_unweighted=True)
            for traces in self._traces_of_one_subsample(model, guide, args, kwargs)
        ]
        if len(particles) < self.num_particles:
            # Vectorised particles are a plate of one evaluation, whose loss sums over them.
            return replace(particles[0], loss=particles[0].loss / self.num_particles)
        return particles[0] if len(particles) == 1 else average_terms(particles)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss as a scalar tensor with its graph."""
        losses = [
            self._evaluate(*traces, with_unweighted=False).loss
            for traces in self._get_traces(model, guide, args, kwargs)
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

    def _traces_of_one_subsample(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Iterator[tuple[Sites, Sites, Later]]:
        """Run every particle on the subsample of the first, so that an index is the same sample in all."""
        traces = self._get_traces(model, guide, args, kwargs)
        if self.num_particles == 1 or self.vectorize_particles:
            yield from traces
            return
        subsample = one_subsample()
        for _ in range(self.num_particles):
            # Open while a particle runs, and shut while its caller does.
            with subsample:
                found = next(traces)
            yield found

    def _get_trace(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sites, Sites, Later]:
        """Run the guide, and the model against it; return the sites of both, and what rules out closed forms."""
        pair = trace_pair(model, guide, args, kwargs, in_any_order=self._sites_at_draw)
        model_sites = sample_sites(pair.model.nodes)
        guide_sites = {
            name: site for name, site in sample_sites(pair.guide.nodes).items() if not is_deterministic(site)
        }
        require_matching_sites(model_sites, guide_sites)
        if is_validation_enabled() and not have_same_shapes(model_sites, guide_sites):
            check_model_guide_match(pair.model, pair.guide, self.max_plate_nesting)
        if not guide_sites.keys() <= model_sites.keys():
            note_sources(guide, guide_sites, own_draws(guide_sites, model_sites), args, kwargs)
        return model_sites, guide_sites, pair.later

    @property
    def _sites_at_draw(self) -> Container[str]:
        """The sites whose rate is taken at the draw, so that their order does not matter."""
        return self.sampled_rates

    def _evaluate(
        self, model_sites: Sites, guide_sites: Sites, later: Later, *, with_unweighted: bool
    ) -> Terms:
        attribution = attribute(guide_sites, model_sites)
        self._require_known_names(attribution, model_sites, guide_sites)
        distortion, plates, log_likelihood = self._distortion(model_sites)
        elbo: Tensor | float = 0.0
        rates: dict[str, Rate] = {}
        # A sum in the order of Pyro's own, so that equal weights give equal digits.
        for name, site in model_sites.items():
            if name in log_likelihood:
                elbo = elbo + scaled_sum(log_likelihood[name], site)
            elif name in guide_sites and (with_unweighted or not is_zero(weight_of(self.beta, name, 1.0))):
                rates[name] = self._rate(name, guide_sites[name], site, later)
                elbo = elbo - self._weighted(name, name, rates[name], guide_sites[name])
        for name, site in guide_sites.items():
            if name not in model_sites:
                rates[name] = Rate(log_prob_of(name, site), "monte-carlo")
                owner = attribution.rate_of[name] or name
                elbo = elbo - self._weighted(name, owner, rates[name], site)
        loss = -torch.as_tensor(elbo)
        if checks_values() and fails(loss.isfinite()):
            self._require_finite_rates(rates, attribution, guide_sites)
            _say_infinite(log_likelihood, model_sites)
        correlation = self._total_correlations(guide_sites)
        for name, value in correlation.items():
            loss = loss + weighted(weight_of(self.gamma, name, 0.0), value) * num_samples(guide_sites[name])
        return Terms(
            distortion,
            loss=loss,
            total_correlation=correlation,
            plates=plates,
            likelihood={name: model_sites[name]["fn"] for name in log_likelihood},
            **report_rates(rates, attribution, guide_sites),
        )

    def _rate(self, name: str, guide_site: Site, model_site: Site, later: Later) -> Rate:
        rate = site_rate(
            name,
            guide_site,
            model_site,
            on_no_closed_form=self.on_no_closed_form,
            later=later.get(name, frozenset()),
            sampled=name in self.sampled_rates,
        )
        if is_validation_enabled():
            require_plate_shape(rate.values, guide_site, self.max_plate_nesting)
            require_plate_shape(rate.values, model_site, self.max_plate_nesting)
        if self.penalty is not None and _part_of(self.penalty) == "unit":
            return rate._replace(units=unit_rates(name, guide_site, model_site, rate.estimator))
        return rate

    def _distortion(self, model_sites: Sites) -> tuple[Tensor, tuple[Plate, ...], dict[str, Tensor]]:
        """Return the distortion over the plates that all observations share, these, and each one's log density."""
        observed = {name: site for name, site in model_sites.items() if is_observation(site)}
        shared = set.intersection(*map(plates_of, observed.values())) if observed else set()
        log_likelihood = {name: log_prob_of(name, site) for name, site in observed.items()}
        distortion: Tensor | float = 0.0
        plates: tuple[Plate, ...] = ()
        for name, values in log_likelihood.items():
            if is_validation_enabled():
                require_plate_shape(values, observed[name], self.max_plate_nesting)
            distortion = distortion - per_plate(masked(values, observed[name]), observed[name], shared)
            plates = plates_kept(values, observed[name], shared)
        return torch.as_tensor(distortion), plates, log_likelihood

    def _weighted(self, name: str, owner: str, rate: Rate, site: Site) -> Tensor | float:
        """Return what a site's rate, or a part of its owner's, adds to the loss."""
        beta = weight_of(self.beta, owner, 1.0)
        if is_zero(beta):
            return 0.0
        values = rate.values
        if self.penalty is not None:
            if _part_of(self.penalty) != "sample":
                return self._penalised(name, beta, rate, site)
            _require_own_rate(name, site, self.penalty)
            values = scale_and_mask(self.penalty(name, values, 1.0), mask=own_mask(site["fn"]))
        if isinstance(beta, Tensor) and beta.dim():
            require_reach(beta, "beta", name, values.shape)
            return scaled_sum(weighted(beta, values), site)
        return weighted(beta, scaled_sum(values, site))

    def _penalised(self, name: str, beta: float | Tensor, rate: Rate, site: Site) -> Tensor:
        assert self.penalty is not None
        if isinstance(beta, Tensor) and beta.dim():
            raise ValueError(
                f"site {name!r}: beta has shape {tuple(beta.shape)}, but a rate that is averaged before "
                f"it is compared with its {self.penalty.name} has one weight; pass a scalar"
            )
        _require_own_rate(name, site, self.penalty)
        if is_silenced(site["fn"]):
            return rate.values.new_zeros(())
        total = scaled_sum(rate.values, site) if rate.units is None else sum_of_units(rate.units, site)
        return beta * self.penalty(name, total, num_samples(site)).sum()

    def _total_correlations(self, guide_sites: Sites) -> dict[str, Tensor]:
        require_known_sites(self.gamma, "gamma", guide_sites.keys())
        values = {}
        for name, site in guide_sites.items():
            if not site["is_observed"] and not is_zero(weight_of(self.gamma, name, 0.0)):
                _require_samples_alike(name, site)
                (frame,) = (frame for frame in site["cond_indep_stack"] if frame.vectorized)
                values[name] = self.total_correlation(site["fn"], site["value"], frame.full_size)
        return values

    def _require_known_names(self, attribution: Attribution, model_sites: Sites, guide_sites: Sites) -> None:
        """Raise if a weight, target or option names a site that the program does not have, or cannot reach alone."""
        if isinstance(self.beta, Mapping):
            require_known_sites(self.beta, "beta", attribution.names)
            require_rates_apart(self.beta, attribution)
        if self.penalty is not None:
            self.penalty.require_known(set(guide_sites))
        if self.sampled_rates:
            named = dict.fromkeys(self.sampled_rates, 1.0)
            require_known_sites(named, "sampled_rates", guide_sites.keys() & model_sites.keys())

    def _require_finite_rates(
        self, rates: Mapping[str, Rate], attribution: Attribution, guide_sites: Sites
    ) -> None:
        """Raise if an infinite rate is what makes the loss infinite.

        Raises:
            ValueError: Names the site.
        """
        for name, rate in rates.items():
            beta = weight_of(self.beta, attribution.rate_of[name] or name, 1.0)
            infinite = masked(rate.values, guide_sites[name]).isinf() & (
                torch.as_tensor(beta).to(rate.values) > 0
            )
            if infinite.any():
                raise ValueError(
                    f"site {name!r}: its rate is infinite for {int(infinite.sum())} of {infinite.numel()} samples, "
                    "and beta weights it: its posterior has mass where its prior has none, as noise on all of "
                    "(0, inf) has under a prior with bounds. Use a prior that covers the posterior, such as a "
                    f"log-normal one for log-normal noise, or leave the rate out with beta={{{name!r}: 0.0}}"
                )


def _part_of(penalty: Penalty) -> str:
    """Return which part of a rate a penalty is of."""
    return getattr(penalty, "per", "site")


def _require_own_rate(name: str, site: Site, penalty: Penalty) -> None:
    if site["infer"].get("is_auxiliary"):
        raise NotImplementedError(
            f"site {name!r} is auxiliary: an automatic guide spreads a rate over several sites, which cannot be "
            f"compared with a {penalty.name} one by one; write the guide with one site for each latent"
        )


def _say_infinite(log_likelihood: Mapping[str, Tensor], model_sites: Sites) -> None:
    """Warn of observations without a density, and refuse scales that are none, where those make the loss infinite.

    Raises:
        ValueError: If a scale is not finite; names the site.
    """
    for name, site in model_sites.items():
        scale = torch.as_tensor(site["scale"])
        if not bool(scale.isfinite().all()):
            raise ValueError(
                f"site {name!r}: its scale is {scale.max().item()}; pass a finite one to poutine.scale"
            )
    for name, values in log_likelihood.items():
        infinite = masked(values, model_sites[name]).isinf()
        if infinite.any():
            lost = int((~model_sites[name]["value"].isfinite()).sum())
            why = f"its value has {lost} that are not finite" if lost else "the model has no density there"
            warnings.warn(
                f"site {name!r}: its log density is infinite for {int(infinite.sum())} of {infinite.numel()} values, "
                f"and so is the loss: {why}",
                stacklevel=2,
            )


def _resolve_estimator(on_no_closed_form: str | None, on_missing_kl: str | None) -> str:
    if on_no_closed_form is not None and on_missing_kl is not None and on_no_closed_form != on_missing_kl:
        raise ValueError(
            f"on_no_closed_form={on_no_closed_form!r} and on_missing_kl={on_missing_kl!r} name one option; pass one"
        )
    if on_missing_kl is not None:
        return check_estimator(on_missing_kl, "on_missing_kl")
    return check_estimator("error" if on_no_closed_form is None else on_no_closed_form, "on_no_closed_form")


def _names(sampled_rates: Iterable[str]) -> frozenset[str]:
    names = [sampled_rates] if isinstance(sampled_rates, str) else sampled_rates
    if not isinstance(names, Iterable):
        raise TypeError(f"sampled_rates must be names of sites; got {names!r}")
    return frozenset(names)


def _require_samples_alike(name: str, site: Site) -> None:
    """Raise unless a site's total correlation can be estimated over its samples, one like the other."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    if any(frame.name == PARTICLES for frame in frames):
        raise ValueError(
            f"site {name!r}: gamma weights a total correlation over the samples of its plate, and vectorised "
            "particles are a second plate; use vectorize_particles=False"
        )
    if len(frames) != 1 or len(site["fn"].batch_shape) != 1:
        raise ValueError(
            f"site {name!r}: gamma weights a total correlation over the samples of one plate, but the site "
            f"is in {len(frames)}; weight single sites with gamma={{site: ...}}"
        )
    if isinstance(site["mask"], Tensor) or isinstance(own_mask(site["fn"]), Tensor):
        raise ValueError(
            f"site {name!r}: some of its samples are masked, and the total correlation would take them in; "
            "leave them out of the batch, or weight other sites with gamma={site: ...}"
        )
    if isinstance(site["scale"], Tensor) and site["scale"].numel() > 1:
        raise ValueError(
            f"site {name!r}: its samples have a scale each, and the total correlation would count them alike; "
            "use one number in poutine.scale, or weight other sites with gamma={site: ...}"
        )

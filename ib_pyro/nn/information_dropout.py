"""Information dropout: log-normal noise whose scale is learned per sample and per unit."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro.checks import checks_values, fails
from ib_pyro.choices import require_known
from ib_pyro.distributions import FactorizedLogNormal, MultiplicativeLogNormal, ZeroInflatedLogUniform
from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.priors.given import Prior, prior_over
from ib_pyro.rates import log_uniform_log_c, noise_scale

__all__ = ["InformationDropout"]

SMALLEST_ACTIVATION = 1e-20
OPTIONS = ("alpha_min", "alpha_max", "gate", "atom", "activation_floor")


class InformationDropout(StochasticLayer):
    r"""The noisy activation ``z = f(x) * eps(x)`` with ``log eps ~ N(0, alpha(x)²)``.

    f(x) is the activation of ``features(x)`` and
    ``alpha(x) = alpha_min + (alpha_max - alpha_min) * sigmoid(noise(x))``, both of the same input
    (Achille & Soatto 2016, section 5). Two forms are usual:

    * ReLU with the log-uniform prior: the rate is ``log(alpha_max / alpha)`` per unit that is on and
      ``-log(gate)`` per unit that is off;
    * softplus with a log-normal prior whose mean and scale are learned, a pair a layer; the rate is that of
      Proposition 3.

    Args:
        features: Network whose output, after the activation, is f(x).
        noise: Network of the same input and output shape, whose output is the logit of alpha.
        activation: ``"relu"``, ``"softplus"``, ``"exponential"``, or a function with non-negative values. With the
            exponential, z is log-normal with a mean of log z that is linear in what precedes it.
        prior: ``"log-uniform"``, ``"log-normal"``, or another one; see :class:`StochasticLayer`.
        alpha_min: Smallest noise.
        alpha_max: Largest noise, which the log-uniform prior lets through for free.
        gate: Mass of the log-uniform prior at zero; 1 makes a unit that is off free.
        atom: ``"exact"``: f = 0 is an atom and costs ``-log(gate)``. ``"ignore"``: f = 0 costs
            ``log(alpha_max / alpha)`` too, as in the authors' code; f is then bounded below by 1e-20, which the
            scale-free prior does not notice.
        unit_mean: Give eps mean 1 instead of median 1.
        activation_floor: Clamp f from below (the authors' code clamps at 1e-4 under the log-normal prior).
        prior_shape: Shape of the learned log-normal prior's mean and scale, which are broadcast to the event: ``()``,
            one pair, as in the paper; ``(units,)`` a pair a unit; ``(channels, 1, 1)`` a pair a channel.
        event_dim: See :class:`StochasticLayer`.
        name: Name of the site.

    Raises:
        ValueError: If an option is out of its range, or the prior does not fit the activation.

    >>> layer = InformationDropout(nn.Linear(4, 2), nn.Linear(4, 2))
    >>> layer(torch.rand(5, 4)).shape
    torch.Size([5, 2])
    """

    has_noise_branch = True

    def __init__(
        self,
        features: nn.Module,
        noise: nn.Module,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        prior: str | Prior = "log-uniform",
        *,
        alpha_min: float = 1e-3,
        alpha_max: float = 0.7,
        gate: float = 1.0,
        atom: str = "exact",
        unit_mean: bool = False,
        activation_floor: float = 0.0,
        prior_shape: Sequence[int] = (),
        event_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(features, activation=activation, event_dim=event_dim, name=name)
        _check_options(alpha_min, alpha_max, gate, atom, activation_floor)
        self.noise = noise
        self.alpha_min, self.alpha_max, self.gate = alpha_min, alpha_max, gate
        self.atom, self.unit_mean, self.activation_floor = atom, unit_mean, activation_floor
        if prior == "log-normal":
            self.prior_loc = nn.Parameter(torch.zeros(tuple(prior_shape)))
            self.prior_log_scale = nn.Parameter(torch.zeros(tuple(prior_shape)))
        elif len(prior_shape):
            raise ValueError(
                f"prior_shape={tuple(prior_shape)} is that of a learned log-normal prior; the prior is {prior!r}"
            )
        self.prior = prior

    def check_option(self, name: str, value: Any) -> None:  # noqa: ANN401  (whatever is set)
        """Keep every option in its range, and prior and activation fit for each other."""
        super().check_option(name, value)
        options = {option: self.__dict__[option] for option in OPTIONS if option in self.__dict__}
        if name in OPTIONS and len(options) == len(OPTIONS):
            _check_options(**{**options, name: value})
        if name == "alpha" and not callable(value):
            raise ValueError("alpha is a function of x; set alpha_min and alpha_max, or noise")
        if name == "prior":
            self._check_prior(value)
        if name in ("activation", "atom", "activation_floor", "prior"):
            fitting = {
                key: getattr(self, key, None) for key in ("activation", "atom", "activation_floor", "prior")
            }
            _check_prior_fits(**{**fitting, name: value})

    @property
    def floor(self) -> float:
        """The least activation, which is the ``activation_floor``, or what keeps an atom that is ignored off zero."""
        return _floor(self.activation_floor, self.atom)

    @property
    def has_fixed_prior(self) -> bool:  # type: ignore[override]
        """Whether the prior is the log-uniform one, which has no parameters."""
        return isinstance(self.prior, str) and self.prior == "log-uniform"

    def alpha(self, x: Tensor) -> Tensor:
        """Return the standard deviation of log eps given x, of the shape of z."""
        return noise_scale(self.noise(x), self.alpha_min, self.alpha_max)

    def posterior(self, x: Tensor) -> MultiplicativeLogNormal:
        """Return ``p(z|x)``, elementwise: its batch shape is that of f(x)."""
        alpha = self.alpha(x)
        if self.activation in LOG_ACTIVATIONS and not self.floor:
            log_f = LOG_ACTIVATIONS[self.activation](self.features(x))
            self._check_shapes(log_f, alpha)
            return MultiplicativeLogNormal.from_log_activation(
                log_f, alpha, unit_mean=self.unit_mean, validate_args=False
            )
        f = self.activation_of(x)
        self._check_shapes(f, alpha)
        if self.floor:
            self._check_not_negative(f)
            # Half precision rounds so small a floor to zero, which would be the atom.
            f = f.clamp_min(max(self.floor, torch.finfo(f.dtype).tiny))
        return MultiplicativeLogNormal(f, alpha, unit_mean=self.unit_mean, validate_args=False)

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return ``q(z)`` with the given event shape."""
        if self.prior == "log-normal":
            loc, log_scale = self.prior_loc, self.prior_log_scale
            _check_broadcasts(loc.shape, event_shape)
            return FactorizedLogNormal(loc.expand(event_shape), log_scale.exp().expand(event_shape))
        if isinstance(self.prior, str):
            return self._log_uniform_prior(event_shape)
        return prior_over(self.prior, event_shape)

    def _log_uniform_prior(self, event_shape: torch.Size) -> TorchDistributionMixin:
        log_c = log_uniform_log_c(self.alpha_max)
        prior = ZeroInflatedLogUniform(self.gate, log_c=log_c, like=self._reference())
        return prior.expand(event_shape).to_event(len(event_shape))

    def _check_not_negative(self, f: Tensor) -> None:
        # The layer looks at z for all other activations; behind a floor z tells nothing.
        if self.activation not in ("relu", *LOG_ACTIVATIONS) and checks_values() and fails(~(f < 0)):
            raise ValueError(
                f"activation has values out of range (min {f.min():.4g}), which the floor "
                f"{self.floor:g} would hide: use an activation such as relu or softplus"
            )

    def _check_shapes(self, f: Tensor, alpha: Tensor) -> None:
        if f.shape != alpha.shape:
            raise ValueError(
                f"features give {tuple(f.shape)} but noise gives {tuple(alpha.shape)}; "
                "both must map the layer's input to the shape of z"
            )

    def _check_prior(self, prior: object) -> None:
        if prior is None:
            raise TypeError(
                "prior is a NoneType; pass a name, a distribution of pyro.distributions, or a function from the event "
                "shape to a distribution over it"
            )
        if isinstance(prior, str):
            require_known("prior=", prior, ("log-uniform", "log-normal"), otherwise="pass a distribution")
        if prior == "log-normal" and "prior_loc" not in self._parameters:
            raise ValueError(
                "a learned log-normal prior needs parameters: pass prior='log-normal' when building"
            )


def log_softplus(h: Tensor) -> Tensor:
    """Return ``log(log(1 + exp(h)))``, which is h where exp(h) is negligible."""
    small = h < math.log(torch.finfo(h.dtype).eps)
    return torch.where(small, h, F.softplus(h.masked_fill(small, 0.0)).log())


def _log_exponential(h: Tensor) -> Tensor:
    return h


LOG_ACTIVATIONS: dict[object, Callable[[Tensor], Tensor]] = {
    "exponential": _log_exponential,
    "softplus": log_softplus,
}
"""Logarithms of activations that are never zero, taken without them: they reach further."""


def _check_broadcasts(prior_shape: torch.Size, event_shape: torch.Size) -> None:
    own = tuple(prior_shape)
    given = tuple(event_shape)[len(event_shape) - len(own) :]
    if len(own) != len(given) or any(size not in (1, other) for size, other in zip(own, given, strict=True)):
        raise ValueError(
            f"prior_shape={own} does not broadcast to the event shape {tuple(event_shape)} of z; use (), or sizes "
            "that are 1 or those of z"
        )


def _floor(activation_floor: float, atom: str) -> float:
    return max(activation_floor, SMALLEST_ACTIVATION if atom == "ignore" else 0.0)


def _check_prior_fits(
    activation: object, atom: str | None, activation_floor: float | None, prior: object
) -> None:
    if not isinstance(prior, str) or prior != "log-normal" or atom is None or activation_floor is None:
        return
    is_relu = activation in ("relu", F.relu, torch.relu) or isinstance(activation, nn.ReLU)
    if is_relu and not _floor(activation_floor, atom):
        raise ValueError(
            "a log-normal prior has no mass at zero, where a ReLU often is: the rate would be +inf. Use "
            "activation='softplus', prior='log-uniform', or an activation_floor"
        )


def _check_options(
    alpha_min: float, alpha_max: float, gate: float, atom: str, activation_floor: float
) -> None:
    numbers = {
        "alpha_min": alpha_min,
        "alpha_max": alpha_max,
        "gate": gate,
        "activation_floor": activation_floor,
    }
    for name, value in numbers.items():
        if not isinstance(value, Real | Tensor):
            raise TypeError(f"{name} must be a number; got {value!r}")
    if not 0 < alpha_min < alpha_max:
        raise ValueError(f"need 0 < alpha_min < alpha_max; got alpha_min={alpha_min}, alpha_max={alpha_max}")
    if not 0 <= gate <= 1:
        raise ValueError(f"gate is a probability; got {gate}")
    require_known("atom=", atom, ("exact", "ignore"))
    if not activation_floor >= 0:
        raise ValueError(f"activation_floor must not be negative, nor NaN; got {activation_floor}")

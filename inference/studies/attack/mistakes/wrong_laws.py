"""Laws, rates, estimates and oracles with parameters that are none, and values outside of supports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro import distributions as dist
from torch import Tensor
from torch.distributions import kl_divergence

import ib_pyro
from ib_pyro.diagnostics import total_correlation
from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)
from ib_pyro.information import gaussian_total_correlation
from ib_pyro.oracle import discrete_ib, gaussian_ib
from ib_pyro.rates import gaussian_log_uniform_rate
from inference.studies.attack.mistakes.mistake import Draw, Wrong, mistake

__all__: list[str] = []

NAN = float("nan")
POSITIVE, SHARES = (0.0, -0.5, NAN), (-0.1, 1.5, NAN)
Law = Callable[..., Any]
LAWS: tuple[tuple[Law, dict[str, float], dict[str, tuple[float, ...]]], ...] = (
    (
        MultiplicativeLogNormal,
        {"activation": 1.0, "alpha": 0.5},
        {"activation": (-1.0, NAN), "alpha": POSITIVE},
    ),
    (MultiplicativeNormal, {"activation": 1.0, "alpha": 0.5}, {"activation": (NAN,), "alpha": POSITIVE}),
    (
        MultiplicativeBernoulli,
        {"activation": 1.0, "drop_prob": 0.5},
        {"activation": (NAN,), "drop_prob": (*SHARES, 1.0)},
    ),
    (FactorizedLogNormal, {"loc": 0.0, "scale": 1.0}, {"loc": (NAN,), "scale": POSITIVE}),
    (
        ZeroInflatedLogUniform,
        {"gate": 0.5, "low": 0.1, "high": 2.0},
        {"gate": SHARES, "low": (-1.0, 3.0, NAN), "high": (-1.0, 0.0, 0.05, NAN), "log_c": (0.0,)},
    ),
)
"""Laws with right parameters, and what each does not take."""


@mistake
def a_parameter_of_a_law(draw: Draw) -> Wrong:
    """One element of one parameter is out of its range."""
    law, right, wrong = draw.choice(*LAWS)
    name = draw.choice(*wrong)
    parameters: dict[str, Any] = {key: torch.full((draw.dims,), value) for key, value in right.items()}
    parameters[name] = torch.full((draw.dims,), right.get(name, 0.0))
    parameters[name][draw.random.randrange(draw.dims)] = draw.choice(*wrong[name])
    if name == "log_c":
        parameters[name] = draw.choice(*wrong[name])
    shape = (draw.dims,)

    def answer() -> Tensor:
        made = law(**parameters)
        value: Tensor = made.log_prob(torch.ones(shape))
        return value

    return Wrong(answer, (name, *(("low", "high") if name in ("low", "high") else ())))


@mistake
def parameters_of_other_shapes(draw: Draw) -> Wrong:
    """Parameters that do not broadcast."""
    law, right, _ = draw.choice(*LAWS)
    shapes = [(draw.dims,), (draw.dims + 1,), (draw.dims,)]
    parameters = {key: torch.full(shape, v) for (key, v), shape in zip(right.items(), shapes, strict=False)}
    return Wrong(lambda: law(**parameters).log_prob(torch.ones(draw.dims)), tuple(right))


@mistake
def a_value_outside_of_a_support(draw: Draw) -> Wrong:
    """A density is asked for where there is none."""
    law, right, _ = draw.choice(*LAWS)
    made = law(**{key: torch.full((draw.dims,), value) for key, value in right.items()})
    value = torch.ones(draw.dims)
    two_sided = law is MultiplicativeNormal
    value[-1] = (
        NAN if two_sided else draw.choice(NAN, -1.0, float("inf") if law is ZeroInflatedLogUniform else NAN)
    )
    return Wrong(lambda: made.log_prob(value), ("value", "support"))


@mistake
def a_draw_from_what_is_improper(draw: Draw) -> Wrong:
    """A prior without a bound is sampled, or asked for what only a proper one has."""
    prior = ZeroInflatedLogUniform(torch.full((draw.dims,), 0.5), *draw.choice((), (0.1,), (0.0, 2.0)))
    ask: Law = draw.choice(
        lambda: prior.sample(),
        lambda: prior.mean,
        lambda: prior.variance,
        lambda: prior.entropy(),
        lambda: prior.cdf(torch.ones(draw.dims)),
        lambda: prior.icdf(torch.full((draw.dims,), 0.5)),
    )
    return Wrong(ask, ("prior", "low", "high"))


@mistake
def a_divergence_that_is_not_known(draw: Draw) -> Wrong:
    """Laws of which there is no rule, or Gaussian noise under a prior of one side."""
    one = torch.ones(draw.dims)
    posteriors = (MultiplicativeNormal(one, 0.5 * one), MultiplicativeLogNormal(one, 0.5 * one))
    posterior = draw.choice(*posteriors)
    prior: Any = draw.choice(dist.Gamma(one, one), dist.Uniform(0 * one, one), dist.Cauchy(0 * one, one))
    if posterior is posteriors[0]:
        prior = draw.choice(prior, ZeroInflatedLogUniform(0.5 * one))
    kinds = (type(posterior).__name__, type(prior).__name__, "two_sided")
    return Wrong(lambda: kl_divergence(posterior, prior), kinds)


@mistake
def a_total_correlation_of_what_has_none(draw: Draw) -> Wrong:
    """Too few samples, collinear units, values that are not finite, an unknown method."""
    z = draw.normal(20, draw.dims)
    lost = z.clone()
    lost[3, 0] = draw.choice(NAN, float("inf"))
    forms = [
        (z[: draw.dims], {}),
        (torch.cat([z, z], 1), {}),
        (lost, {}),
        (z, {"method": "gauss"}),
        (z[:, 0], {}),
    ]
    form, options = draw.choice(*forms)
    return Wrong(lambda: torch.tensor(total_correlation(form, **options).estimate), ("z", "method", "units"))


@mistake
def an_estimate_from_too_few(draw: Draw) -> Wrong:
    """The covariance of a batch is singular, or the approximation is misspelt."""
    z = draw.normal(draw.dims, draw.dims)
    asks: list[tuple[Law, tuple[str, ...]]] = [
        (lambda: gaussian_total_correlation(z), ("samples", "shrinkage")),
        (lambda: gaussian_total_correlation(z, shrinkage=draw.choice(-0.1, 1.5, NAN)), ("shrinkage",)),
        (lambda: gaussian_log_uniform_rate(draw.positive(3), approximation="molchanow"), ("approximation",)),
    ]
    ask, names = draw.choice(*asks)
    return Wrong(ask, names)


@mistake
def an_oracle_of_what_is_no_distribution(draw: Draw) -> Wrong:
    """Covariances that are none, probabilities that do not sum to one, a beta or a number of states that is none."""
    eye, cross = torch.eye(2), 0.3 * torch.eye(2)
    p = torch.full((2, 3), 1 / 6)
    gaussian: dict[str, tuple[Any, ...]] = {
        "cov_x": (-eye, torch.tensor([[1.0, 0.9], [0.1, 1.0]]), eye[:1], eye * NAN),
        "cov_y": (-eye, 0 * eye, eye * float("inf")),
        "cov_xy": (2 * eye, cross[:1], cross * NAN),
        "beta": (-0.1, NAN, float("inf")),
    }
    discrete: dict[str, tuple[Any, ...]] = {
        "p_xy": (2 * p, -p, p * NAN, p[0]),
        "beta": (-0.1, NAN, float("inf")),
        "num_states": (0, -1),
        "num_restarts": (0,),
    }
    if draw.choice(True, False):
        name = draw.choice(*gaussian)
        arguments = {
            "cov_x": eye,
            "cov_y": eye,
            "cov_xy": cross,
            "beta": 0.1,
            name: draw.choice(*gaussian[name]),
        }
        return Wrong(lambda: gaussian_ib(**arguments).lagrangian, (name, "x and y"))
    name = draw.choice(*discrete)
    options = {"p_xy": p, "beta": 0.1, "num_states": 2, name: draw.choice(*discrete[name])}
    return Wrong(lambda: torch.as_tensor(discrete_ib(**options).lagrangian), (name, "num_states"))


@mistake
def a_choice_of_beta_by_what_is_no_rule(draw: Draw) -> Wrong:
    """No rule, two, one that nothing meets, or errors of the training set."""
    table: Any = {"beta": [1e-3, 1e-2, 1e-1], "validation_error": [0.3, 0.2, 0.25]}
    fitted = {"beta": table["beta"], "error": table["validation_error"]}
    rules: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (table, {}, "target_error"),
        (table, {"target_error": 0.3, "target_rate": 1.0}, "target_error"),
        (table, {"target_error": 0.01}, "error"),
        (table, {"knee": True}, "rate"),
        (fitted, {"target_error": 0.3}, "error"),
        ({"validation_error": [0.1]}, {"target_error": 0.3}, "beta"),
        ({**table, "beta": [1e-3, NAN, 1e-1]}, {"target_error": 0.3}, "beta"),
        (table, {"target_error": NAN}, "target_error"),
        (table, {"target_error": 0.3, "error": "validation_eror"}, "validation_eror"),
    )
    frame, options, name = draw.choice(*rules)
    return Wrong(lambda: torch.tensor(ib_pyro.choose_beta(frame, **options).beta), (name,))

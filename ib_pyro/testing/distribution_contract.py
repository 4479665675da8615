"""What a distribution owes to Pyro and to the layers: its draws follow its density, and a plate leaves it as it is."""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from ib_pyro.handlers import unwrap, value_without_noise
from ib_pyro.testing.draw_gradients import check_draw_gradients
from ib_pyro.testing.goodness_of_fit import fit_of_density, p_values_of_cdf
from ib_pyro.testing.requirements import in_type, require, says, unchecked, undisturbed

__all__ = ["check_distribution"]

# Checks of many elements are rarely all passed by chance alone, nor failed: the seed is fixed.
RARE = 1e-5


def check_distribution(
    distribution: TorchDistributionMixin,
    *,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64),
    num_draws: int = 4000,
    seed: int = 0,
) -> None:
    """Raise unless a distribution is what a noisy site can be drawn from and charged with.

    In this order: shapes of draws and densities; draws lie in the support, and a value outside is refused; the
    density, with its atoms, integrates to one; draws follow it, and ``cdf`` and ``mean`` where there are any; draws
    and densities have the type of the parameters, and are right in it; gradients through draws are those of the law,
    if it ``has_rsample``; ``expand`` keeps the class, ``validate_args``, ``has_rsample_`` and the density, and draws
    anew for each copy; a copy is the same law; ``noise_free`` and ``noise_variables`` have the shape of a draw.

    Args:
        distribution: With parameters of interest, the borders of their ranges among them, and a proper law. One with
            event dimensions of its own is not compared with its draws, beside their mean.
        dtypes: Types of the parameters that it must work in, such as ``torch.float16`` or ``torch.bfloat16`` besides.
        num_draws: Number of draws that are compared.
        seed: Seed of the draws. The state of PyTorch's generators is restored.

    Raises:
        AssertionError: Says what is not as it should be, and the way out.

    >>> import pyro.distributions as dist
    >>> check_distribution(dist.Gamma(torch.tensor([0.5, 2.0]), 1.0))
    """
    name = type(unwrap(distribution)).__name__
    with undisturbed(seed), torch.no_grad():
        with says(f"{name}: sample((num_draws,)) fails"):
            draws = distribution.sample(torch.Size([num_draws]))
        _check_shapes(name, distribution, draws)
        _check_support(name, distribution, draws)
        _check_fit(name, distribution, draws)
        for dtype in dtypes:
            _check_types(name, distribution, dtype)
        if distribution.has_rsample and not distribution.event_shape:
            check_draw_gradients(name, distribution)
        _check_expand(name, distribution, draws)
        _check_copy(name, distribution, draws)
        _check_noise(name, distribution, draws)


def _check_shapes(name: str, fn: TorchDistributionMixin, draws: Tensor) -> None:
    shape = (len(draws), *fn.batch_shape, *fn.event_shape)
    require(
        draws.shape == shape,
        f"{name}: sample((n,)) has shape {tuple(draws.shape)} instead of {shape}; draw noise of the shape "
        "self._extended_shape(sample_shape)",
    )
    with says(f"{name}: log_prob of its own draws fails"):
        density = fn.log_prob(draws)
    require(
        density.shape == shape[: 1 + len(fn.batch_shape)],
        f"{name}: log_prob has shape {tuple(density.shape)} instead of {shape[: 1 + len(fn.batch_shape)]}; it is "
        "elementwise over the batch, and summed over the event",
    )
    require(
        density.isfinite().all(),
        f"{name}: log_prob of its own draws is not finite ({int((~density.isfinite()).sum())} of {density.numel()})",
    )


def _check_support(name: str, fn: TorchDistributionMixin, draws: Tensor) -> None:
    with says(f"{name}: support fails"):
        support = fn.support
        inside = support.check(draws)
    require(
        inside.all(),
        f"{name}: {int((~inside).sum())} of {inside.numel()} checked draws lie outside of its support {support}",
    )
    checked = copy.deepcopy(fn)
    unwrap(checked)._validate_args = checked._validate_args = True
    for outside in (-1.0, 0.123, 1e6):
        value = torch.full_like(draws[0], outside)
        if bool(support.check(value).any()):
            continue
        try:
            checked.log_prob(value)
        except ValueError:
            continue
        raise AssertionError(
            f"{name}: log_prob({outside:g}), outside of its support {support}, is not refused; begin log_prob with "
            "`if self._validate_args: self._validate_sample(value)`"
        )


def _check_fit(name: str, fn: TorchDistributionMixin, draws: Tensor) -> None:
    if not fn.event_shape:
        stuck = (draws == draws[0]).all(0) & (fn.log_prob(draws[0]).abs() > 1e-3)
        require(
            not stuck.any(),
            f"{name}: its draws are copies of one draw, and that no atom of mass 1; draw noise of the shape "
            "self._extended_shape(sample_shape)",
        )
        with says(f"{name}: in torch.float64 it cannot be drawn from or scored"):
            # In single precision draws far from zero come again, and would be taken for atoms.
            wide = unchecked(fn)
            _check_density(name, wide, wide.sample(draws.shape[:1]))
    try:
        mean = fn.mean
    except NotImplementedError:
        return
    values = draws.double()
    off = (values.mean(0) - mean).abs() > 6 * values.std(0) / len(values) ** 0.5 + 1e-5 * values.abs().mean(0)
    require(
        not (off & mean.isfinite()).any(),
        f"{name}: the mean of its draws is {values.mean(0).flatten()[:5].tolist()}, and its .mean "
        f"{mean.flatten()[:5].tolist()} (first elements)",
    )


def _check_density(name: str, fn: TorchDistributionMixin, draws: Tensor) -> None:
    mass, error, p_values = fit_of_density(draws, fn.log_prob)
    off = int(((mass - 1).abs() - error).argmax())
    require(
        (mass[off] - 1).abs() <= error[off],
        f"{name}: its density, atoms and all, integrates to {mass[off].item():.3g} instead of 1 (+- "
        f"{error[off].item():.2g}, element {off}); look at the constants and Jacobians in log_prob",
    )
    require(
        p_values.min() > RARE / len(p_values),
        f"{name}: its draws do not follow its density (chi-squared test, p = {p_values.min():.2g} at element "
        f"{int(p_values.argmin())}); look at log_prob, and at sample",
    )
    try:
        p_values = p_values_of_cdf(draws, fn.cdf)
    except NotImplementedError:
        return
    require(
        p_values.min() > RARE / len(p_values),
        f"{name}: its draws do not follow its cdf (chi-squared test, p = {p_values.min():.2g} at element "
        f"{int(p_values.argmin())})",
    )


def _check_types(name: str, fn: TorchDistributionMixin, dtype: torch.dtype) -> None:
    """The law in another type draws and scores in that type, as one in double precision that has its parameters."""
    with says(f"{name}: in {dtype} it cannot be drawn from or scored"):
        other = in_type(fn, dtype)
        draws = other.sample(torch.Size([200]))
        density = other.log_prob(draws)
        exact = unchecked(other).log_prob(draws.double() if draws.is_floating_point() else draws)
    wanted = (draws.dtype if not draws.is_floating_point() else dtype, dtype)
    require(
        (draws.dtype, density.dtype) == wanted,
        f"{name}: with parameters of {dtype} its draws are {draws.dtype}, their log_prob {density.dtype}; make "
        "noise and constants of the type of the parameters",
    )
    allowed = max(1e-3, 16 * torch.finfo(dtype).eps) * (1 + exact.abs())
    off = ~((density.double() - exact).abs() <= allowed)
    require(
        not off.any(),
        f"{name}: in {dtype} its log_prob is {density[off][:3].tolist()} where it should be {exact[off][:3].tolist()} "
        "(first elements); compute in logarithms, or in a wider type",
    )


def _check_expand(name: str, fn: TorchDistributionMixin, draws: Tensor) -> None:
    flagged = copy.deepcopy(fn)
    # Pyro's own distributions lose has_rsample_(False) in a plate, which no user can help.
    keeps_detached = fn.has_rsample and not type(unwrap(fn)).__module__.startswith("pyro.")
    flagged._validate_args = True
    if keeps_detached:
        base: Any = unwrap(flagged)
        base.has_rsample_(False)
    with says(f"{name}: expand fails"):
        wide = flagged.expand(torch.Size([50, *fn.batch_shape]))
    require(
        type(wide) is type(fn),
        f"{name}: expand makes a {type(wide).__name__} of it, for which no registered KL is found; derive it from "
        "ib_pyro.distributions.NoisyActivation, or define expand",
    )
    require(
        wide.batch_shape == (50, *fn.batch_shape) and wide.event_shape == fn.event_shape,
        f"{name}: expanded to {(50, *fn.batch_shape)} it has batch shape {tuple(wide.batch_shape)} and event shape "
        f"{tuple(wide.event_shape)}",
    )
    require(
        bool(wide._validate_args) and (wide.has_rsample is False or not keeps_detached),
        f"{name}: expand loses validate_args or has_rsample_(False); keep both, as "
        "ib_pyro.distributions.NoisyActivation does",
    )
    with says(f"{name}: an expansion cannot be scored or drawn from"):
        same = torch.allclose(wide.log_prob(draws[:50]), fn.log_prob(draws[:50]), rtol=1e-4, atol=1e-5)
        copies = wide.sample()
    require(same, f"{name}: an expansion has another log_prob than the distribution itself")
    varies = (draws != draws[0]).any(0)
    require(
        (copies != copies[0]).any(0)[varies].sum() * 2 >= varies.sum(),
        f"{name}: the draws of an expansion are copies of one draw; draw noise of the shape "
        "self._extended_shape(sample_shape)",
    )


def _check_copy(name: str, fn: TorchDistributionMixin, draws: Tensor) -> None:
    with says(f"{name}: copy.deepcopy fails"):
        twin = copy.deepcopy(fn)
    require(
        type(twin) is type(fn) and torch.equal(twin.log_prob(draws), fn.log_prob(draws)),
        f"{name}: copy.deepcopy makes another law of it",
    )


def _check_noise(name: str, fn: TorchDistributionMixin, draws: Tensor) -> None:
    value, base = value_without_noise(fn), cast(TorchDistributionMixin, unwrap(fn))
    if value is None:
        return
    require(
        value.shape == base.shape() and value.isfinite().all(),
        f"{name}: noise_free has shape {tuple(value.shape)} (finite: {bool(value.isfinite().all())}) instead of a "
        f"finite value for each element, {tuple(base.shape())}",
    )
    if not hasattr(base, "noise_variables"):
        return
    with says(f"{name}: noise_variables fails"):
        shapes = {suffix: values.shape for suffix, (values, _) in base.noise_variables(draws[0]).items()}
    for suffix, shape in shapes.items():
        require(
            shape == draws[0].shape,
            f"{name}: noise_variables gives {suffix} of shape {tuple(shape)} instead of that of z, "
            f"{tuple(draws[0].shape)}",
        )

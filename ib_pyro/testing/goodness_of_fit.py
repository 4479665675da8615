"""Whether draws follow a density, and what it integrates to, on bins and atoms that draws have chosen."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["DensityFit", "fit_of_density", "p_values_of_cdf"]

POINTS = 101
LEVELS = (0.005, 0.02, *(i / 20 for i in range(1, 20)), 0.98, 0.995)
# A value that this many of the draws have is an atom.
ATOM = 3


class DensityFit(NamedTuple):
    """How draws and a density fit, element by element.

    Attributes:
        mass: What the density integrates to, if its shape is that of the draws.
        error: Six standard errors of the mass, and what the quadrature may be off by.
        p_value: Of the counts of draws under the integrals of the density.
    """

    mass: Tensor
    error: Tensor
    p_value: Tensor


def fit_of_density(draws: Tensor, log_prob: Callable[[Tensor], Tensor]) -> DensityFit:
    """Compare counts of draws with the integrals of a density, element by element.

    Half of the draws choose the atoms, values that come again, and bins between quantiles of the others; the other
    half is counted. The density is integrated by the trapezoid rule; what lies elsewhere is one more class. The mass
    is the integral over bins and atoms by the share of draws that lie there, which is nearly all.

    Args:
        draws: ``[n, *batch]``.
        log_prob: The log density, of values ``[..., *batch]``.

    Returns:
        Mass, its error and the p-value, each ``[elements]``.
    """
    choosing, counted = _halves(draws)
    chosen = [_atoms_and_edges(column) for column in choosing.T]
    edges = torch.stack([edges for _, edges in chosen], -1)
    most = max(len(atoms) for atoms, _ in chosen)
    # Where an element has fewer atoms than another, its first draw stands in, and is not counted.
    padded = torch.stack(
        [
            torch.cat([atoms, column[:1].repeat(most - len(atoms))])
            for (atoms, _), column in zip(chosen, choosing.T, strict=True)
        ],
        -1,
    )
    grid = _nodes(edges)
    density = _on(log_prob, grid, draws.shape[1:]).exp().nan_to_num(posinf=0.0)
    inside = torch.trapezoid(density, grid.double(), dim=0)
    mass = _on(log_prob, padded, draws.shape[1:]).exp()
    fits = []
    for index, (atoms, own) in enumerate(chosen):
        column = counted[:, index]
        is_atom = torch.isin(column, atoms)
        in_bins = (
            torch.histogram(column[~is_atom].double().cpu(), own.double().cpu())[0]
            if own[-1] > own[0]
            else own[:0]
        )
        at_atoms = torch.stack([(column == atom).sum() for atom in atoms]) if len(atoms) else own[:0]
        observed = torch.cat([in_bins.double(), at_atoms.double().cpu()])
        expected = torch.cat([inside[: len(in_bins), index], mass[: len(atoms), index]]).cpu() * len(column)
        fits.append((*_mass(observed, expected, len(column)), _p_value(observed, expected, len(column))))
    return DensityFit(*(torch.stack(values) for values in zip(*fits, strict=True)))


def p_values_of_cdf(draws: Tensor, cdf: Callable[[Tensor], Tensor]) -> Tensor:
    """Return p-values of the counts of draws between quantiles under a distribution function, element by element.

    Args:
        draws: ``[n, *batch]``.
        cdf: The distribution function, of values ``[..., *batch]``.

    Returns:
        One p-value for each element, ``[elements]``.
    """
    choosing, counted = _halves(draws)
    edges = torch.quantile(choosing, _levels(choosing), dim=0)
    below = _on(cdf, edges, draws.shape[1:])
    seen = torch.stack([(counted <= edge).double().mean(0) for edge in edges])
    expected, observed = below.diff(dim=0) * len(counted), seen.diff(dim=0) * len(counted)
    columns = zip(observed.T.cpu(), expected.T.cpu(), strict=True)
    return torch.stack([_p_value(seen, wanted, len(counted)) for seen, wanted in columns])


def _halves(draws: Tensor) -> tuple[Tensor, Tensor]:
    flat = draws.detach().reshape(len(draws), -1)
    flat = flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
    return flat[: len(flat) // 2], flat[len(flat) // 2 :]


def _levels(draws: Tensor) -> Tensor:
    return torch.tensor(LEVELS, dtype=draws.dtype, device=draws.device)


def _atoms_and_edges(draws: Tensor) -> tuple[Tensor, Tensor]:
    values, counts = draws.unique(return_counts=True)
    atoms = values[counts >= ATOM]
    rest = draws[~torch.isin(draws, atoms)]
    # So few others need no bins: they are one class.
    edges = (
        torch.quantile(rest, _levels(rest)) if len(rest) > len(draws) / 10 else draws[:1].repeat(len(LEVELS))
    )
    return atoms, edges


def _nodes(edges: Tensor) -> Tensor:
    """Points between neighbouring edges, in equal steps, or in equal factors where it is far from one to the other."""
    weights = torch.linspace(0, 1, POINTS, dtype=edges.dtype, device=edges.device)[:, None, None]
    low, high = edges[:-1], edges[1:]
    ratio = high / low
    in_factors = low * ratio.pow(weights)
    grid = torch.where(
        ((ratio > 2) | (ratio < 0.5)) & (ratio > 0) & ratio.isfinite(),
        in_factors,
        torch.lerp(low, high, weights),
    )
    # Rounding must not step over an edge, which may be that of the support.
    return grid.clamp(low, high)


def _mass(observed: Tensor, expected: Tensor, total: int) -> tuple[Tensor, Tensor]:
    share = (observed.sum() / total).clamp_min(1 / total)
    error = ((1 - share).clamp_min(1 / total) * share / total).sqrt() / share
    return expected.sum() / total / share, 0.005 + 6 * error


def _on(function: Callable[[Tensor], Tensor], values: Tensor, shape: torch.Size) -> Tensor:
    """Apply a function of ``[n, *shape]`` to values ``[..., elements]``, in float64."""
    if not values.numel():
        return values.double()
    return function(values.reshape(-1, *shape)).reshape(values.shape).double()


def _p_value(observed: Tensor, expected: Tensor, total: int) -> Tensor:
    """Of the chi-squared statistic, with classes that expect fewer than five in one that holds all else."""
    large = expected >= 5
    seen, wanted = observed[large], expected[large]
    rest_seen, rest_wanted = total - seen.sum(), total - wanted.sum()
    statistic = ((seen - wanted).square() / wanted).sum()
    freedom = len(seen) - 1.0
    # A class that expects next to nothing says nothing, unless there is something in it, or less than nothing is left.
    if rest_wanted.abs() > 1e-3 * total or rest_seen > 5:
        statistic = statistic + (rest_seen - rest_wanted).square() / rest_wanted.clamp_min(1.0)
        freedom += 1.0
    if not statistic.isfinite():
        return torch.zeros((), dtype=torch.float64)
    return torch.special.gammaincc(torch.tensor(max(freedom, 1.0) / 2).double(), statistic / 2)

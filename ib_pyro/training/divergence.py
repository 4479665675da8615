"""A fit whose numbers are no longer finite: which, since when, and what is to blame."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, repeat

from torch import Tensor, nn

__all__ = [
    "DivergenceError",
    "explained",
    "finite_tensors",
    "refused",
    "require_finite_parameters",
    "require_finite_terms",
]

_STATISTICS = ("running_mean", "running_var")
_NAMES = ("inputs x", "targets y")
_OF_STEPS = "a smaller learning rate may help"
_OF_COLLINEAR_UNITS = (
    "units that are collinear over a batch, such as some that only one sample excites, make it infinite: larger "
    "batches or an estimator with shrinkage=0.1 may help"
)
_TERMS = {"rate/": "", "total_correlation/": ": the total correlation"}


class DivergenceError(FloatingPointError):
    """A loss, a term of it or a parameter is not finite.

    Args:
        message: What is not finite, and what may help.
        site: The site whose term it is; None of the likelihood, of the loss alone, and of a parameter.
        term: Its column in a history (``"rate/z1"``, ``"total_correlation/z1"``, ``"distortion"``, ``"loss"``), or the
            parameter's name; None where the program itself refused its values.
        value: NaN, inf or -inf; None where that is not known.
        epoch: The epoch in which it was seen, from 1; None outside of a fit.
        way_out: What may help, which the message of the fit ends in.
    """

    def __init__(
        self,
        message: str,
        *,
        site: str | None = None,
        term: str | None = None,
        value: float | None = None,
        epoch: int | None = None,
        way_out: str = _OF_STEPS,
    ) -> None:
        super().__init__(message)
        self.site, self.term, self.value = site, term, value
        self.epoch, self.way_out = epoch, way_out

    def within(self, message: str, epoch: int, way_out: str) -> DivergenceError:
        """The same of an epoch, under another message, which ends in the way out."""
        known = DivergenceError(f"epoch {epoch}: {message}; {way_out}", epoch=epoch, way_out=way_out)
        known.site, known.term, known.value = self.site, self.term, self.value
        return known


def require_finite_terms(values: Mapping[str, float]) -> None:
    """Raise if a mean is not finite, and blame the innermost: rates before total correlations before the likelihood.

    Args:
        values: ``loss``, ``distortion``, ``rate/<site>``, ``total_correlation/<site>``, nats per sample, and others.

    Raises:
        DivergenceError: If one is not finite; it names the sites.
    """
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if not bad:
        return
    told = f"not finite ({', '.join(f'{name} = {value}' for name, value in bad.items())}, nats per sample)"
    for prefix, what in _TERMS.items():
        terms = [name for name in bad if name.startswith(prefix)]
        if terms:
            sites = [name.removeprefix(prefix) for name in terms]
            raise DivergenceError(
                f"site {', '.join(map(repr, sites))}{what}: {told}",
                site=sites[0],
                term=terms[0],
                value=bad[terms[0]],
                way_out=_OF_COLLINEAR_UNITS if what else _OF_STEPS,
            )
    if "distortion" in bad:
        raise DivergenceError(f"the likelihood of 'y': {told}", term="distortion", value=bad["distortion"])
    term = "loss" if "loss" in bad else next(iter(bad))
    raise DivergenceError(
        f"the weighted sum: {told}, though each term is finite",
        term=term,
        value=bad[term],
        way_out="a smaller beta or gamma may help",
    )


def finite_tensors(program: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and running statistics of a program by name, all of which a fit that goes well keeps finite.

    Other buffers may be infinite, as a mask of scores is.

    Args:
        program: The program.
    """
    statistics = (named for named in program.named_buffers() if named[0].endswith(_STATISTICS))
    return chain(program.named_parameters(), statistics)


def require_finite_parameters(program: nn.Module) -> None:
    """Raise if a parameter or a running statistic is not finite, as after a step whose loss still was.

    Args:
        program: The program.

    Raises:
        DivergenceError: If one is not; it names the parameter.
    """
    for name, value in finite_tensors(program):
        if value.is_floating_point() and not value.isfinite().all():
            first = float(value.detach()[~value.isfinite()][0])
            raise DivergenceError(f"'{name}' is not finite", term=name, value=first)


def explained(error: FloatingPointError, epoch: int, data: Iterable[Tensor] = ()) -> DivergenceError:
    """What an error in an epoch comes from: the data, if those are not finite, and else what the error itself says.

    Args:
        error: What was raised.
        epoch: In which epoch, from 1.
        data: The tensors of the whole set, ``[N, ...]``, as the program takes them; none where they are not at hand.
    """
    found = error if isinstance(error, DivergenceError) else refused(error)
    for name, values in zip(chain(_NAMES, repeat("an argument")), data, strict=False):
        if values.is_floating_point() and not values.isfinite().all():
            wrong = ~values.isfinite()
            first = tuple(wrong.nonzero()[0])
            told = f"not finite in {int(wrong.sum())} of {values.numel()} values"
            where = f"sample {int(first[0])} has {values[first]:g}"
            return found.within(f"{name}: {told} ({where}), hence {found}", epoch, "mend the data")
    return found.within(str(found), epoch, found.way_out)


def refused(error: FloatingPointError | ValueError) -> DivergenceError:
    """What a program that has run before refuses once its parameters have moved, such as a law its own.

    Args:
        error: What it raised, which may name the site.
    """
    site = re.match(r"site '([^']+)'", str(error))
    return DivergenceError(str(error), site=site and site[1])

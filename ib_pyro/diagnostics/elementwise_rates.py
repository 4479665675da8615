"""The rate of every unit of every noisy site of a program, for one batch."""

import torch
from pyro import poutine
from pyro.distributions import MaskedDistribution
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.buffers import buffers_kept
from ib_pyro.closed_forms import closed_form
from ib_pyro.distributions import FactorizedLogNormal
from ib_pyro.handlers import unwrap
from ib_pyro.sites import is_silenced, sample_sites

__all__ = ["elementwise_rates"]


@torch.no_grad()
def elementwise_rates(program: Bottleneck, x: Tensor) -> dict[str, Tensor]:
    r"""Rate of every unit of every noisy site, given one sample of the sites before it.

    .. math:: r_{nlu} = \mathrm{KL}\big(p(z_{lu} | z_{l-1, n}) \,\|\, q(z_{lu})\big), \quad
        z_{l-1, n} \sim p(z_{l-1} | x_n)

    Summed over the units of a site these are the ``rate`` of :meth:`InformationBottleneckELBO.terms
    <ib_pyro.elbo.InformationBottleneckELBO.terms>` under the same noise (Achille & Soatto 2018, section 5, for
    independent units). The rates of the first site depend on x alone, those of later ones on the sample too.

    The noise is that of PyTorch's ambient generator, which moves on by what the sites draw, as in any pass: seed
    before. The program stays as it is, its batch norm's statistics too, though in training mode a batch is normalised
    by its own; call ``program.eval()`` for the running ones. Large sets go in batches, each reduced before the next.

    A site that the objective does not charge has rate 0: :class:`~ib_pyro.nn.BinaryDropout`, whose divergence
    from every prior with a density is infinite.

    Args:
        program: The program; nothing of it changes.
        x: Inputs of one batch, ``[N, ...]``, on the program's device.

    Returns:
        Nats per element by site, in the order of the sites, of the shape of z: ``[N, units]`` or ``[N, channels,
        ...positions]``. A posterior with an event of its own, such as a one-hot vector, has one rate an event.

    Raises:
        NotImplementedError: If a prior has no closed-form divergence for single units, as one under which they
            depend on each other.
        ValueError: If a posterior does not fit its prior. Both name the site.

    Example:
        >>> from ib_pyro.nn import InformationDropout
        >>> encoder = torch.nn.Sequential(
        ...     InformationDropout.linear(4, 3), InformationDropout.linear(3, 2)
        ... )
        >>> rates = elementwise_rates(
        ...     Bottleneck(encoder, torch.nn.Linear(2, 10)), torch.rand(5, 4)
        ... )
        >>> {site: list(rate.shape) for site, rate in rates.items()}
        {'z1': [5, 3], 'z2': [5, 2]}
    """
    with buffers_kept([program]):
        sites = sample_sites(poutine.trace(program.guide).get_trace(x).nodes)
    rates = {}
    for name, layer in program.stochastic_layers.items():
        posterior: Distribution = sites[name]["fn"]
        try:
            prior = layer.prior_distribution(posterior.event_shape)
        except NotImplementedError as error:
            raise NotImplementedError(
                f"site {name!r}: {error}. The site's whole rate is that of "
                'InformationBottleneckELBO(on_no_closed_form="monte-carlo").terms'
            ) from error
        if not layer.is_charged:
            prior = prior.mask(False)
        rates[name] = _rate(name, posterior, prior, like=sites[name]["value"])
    return rates


def _rate(name: str, posterior: Distribution, prior: Distribution, *, like: Tensor) -> Tensor:
    p, q = _units(posterior), _units(prior)
    try:
        rate = closed_form(p, q)
    except NotImplementedError as error:
        raise NotImplementedError(
            f"site {name!r}: no closed-form KL is known from a unit's {type(p).__name__} to "
            f"{type(unwrap(prior)).__name__}; use a prior of independent units, or the site's whole rate from "
            'InformationBottleneckELBO(on_no_closed_form="monte-carlo").terms'
        ) from error
    except ValueError as error:
        raise ValueError(f"site {name!r}: {error}") from error
    # Sites masked as a whole on both sides have the number zero.
    return rate if isinstance(rate, Tensor) else like.new_full(p.batch_shape, rate)


def _units(fn: Distribution) -> Distribution:
    """Return the law of single units, and leave out of the objective what the whole law leaves out."""
    units = unwrap(fn)
    if isinstance(units, FactorizedLogNormal):
        units = units.units
    return MaskedDistribution(units, False) if is_silenced(fn) else units

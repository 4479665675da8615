"""The noise behind a draw: the parameters of a site's posterior, and eps itself."""

from typing import NamedTuple

from pyro.distributions import Normal
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.distributions import MultiplicativeBernoulli, MultiplicativeLogNormal, MultiplicativeNormal
from ib_pyro.handlers import unwrap

__all__ = ["NoiseVariable", "noise_variables"]


class NoiseVariable(NamedTuple):
    """One tensor of the shape of z, and what it is."""

    values: Tensor
    long_name: str


def noise_variables(fn: Distribution, z: Tensor) -> dict[str, NoiseVariable]:
    """Return what is known of the noise of one draw, by the suffix of its name.

    * ``z = f * eps`` with log-normal eps: ``activation`` f, ``alpha`` (standard deviation of log eps),
      ``log_eps``;
    * with Gaussian eps: ``activation``, ``alpha`` (variance of eps), ``eps``;
    * with Bernoulli eps: ``activation``, ``drop_prob``, ``eps``;
    * additive Gaussian noise: ``loc``, ``scale``;
    * any other posterior: nothing.

    Where f = 0, z is zero whatever the noise: eps is not identified by the draw, and NaN. (0, the logarithm of no
    noise, would be a value like others, and would pull every mean and density towards it.)

    Args:
        fn: The site's posterior.
        z: The draw, of its shape.

    Returns:
        Tensors of the shape of z.
    """
    base = unwrap(fn)
    if isinstance(base, MultiplicativeLogNormal):
        # log f is loc without its shift, and -inf on the atom: -inf - (-inf) is the NaN that belongs there.
        log_eps = z.log() - (base.loc - base.shift)
        known = {
            "log_eps": (log_eps, "log of the noise eps, NaN where activation is 0"),
            "activation": (base.activation, "activation f(x)"),
            "alpha": (base.alpha, "standard deviation of log eps"),
        }
    elif isinstance(base, MultiplicativeNormal | MultiplicativeBernoulli):
        known = {
            "eps": (z / base.activation, "noise eps, NaN where activation is 0"),
            "activation": (base.activation, "activation f(x)"),
        }
        if isinstance(base, MultiplicativeNormal):
            known["alpha"] = (base.alpha, "variance of eps")
        else:
            known["drop_prob"] = (base.drop_prob, "probability that a unit is dropped")
    elif isinstance(base, Normal):
        known = {"loc": (base.loc, "mean of z"), "scale": (base.scale, "standard deviation of z")}
    else:
        return {}
    return {suffix: NoiseVariable(values.expand(z.shape), text) for suffix, (values, text) in known.items()}

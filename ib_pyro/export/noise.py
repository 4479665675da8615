"""The noise behind a draw: the parameters of a site's posterior, and eps itself."""

from pyro.distributions import Normal
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.distributions import NoiseVariable
from ib_pyro.handlers import unwrap

__all__ = ["noise_variables"]


def noise_variables(fn: Distribution, z: Tensor) -> dict[str, NoiseVariable]:
    """Return what is known of the noise of one draw, by the suffix of its name.

    A posterior with a method ``noise_variables``, as :class:`~ib_pyro.distributions.NoisyActivation` has, says it
    itself; additive Gaussian noise has ``loc`` and ``scale``; of any other posterior nothing is known.

    Args:
        fn: The site's posterior.
        z: The draw, of its shape.

    Returns:
        Tensors of the shape of z.

    Raises:
        ValueError: If the posterior gives a variable of a shape that does not broadcast to that of z.
    """
    base = unwrap(fn)
    if hasattr(base, "noise_variables"):
        known = base.noise_variables(z)
    elif isinstance(base, Normal):
        known = {
            "loc": NoiseVariable(base.loc, "mean of z"),
            "scale": NoiseVariable(base.scale, "standard deviation of z"),
        }
    else:
        return {}
    return {
        suffix: _of_shape(z, suffix, NoiseVariable(*variable), base) for suffix, variable in known.items()
    }


def _of_shape(z: Tensor, suffix: str, variable: NoiseVariable, base: Distribution) -> NoiseVariable:
    try:
        return variable._replace(values=variable.values.expand(z.shape))
    except RuntimeError as error:
        raise ValueError(
            f"{type(base).__name__}.noise_variables gives {suffix} of shape {tuple(variable.values.shape)} for a draw "
            f"of shape {tuple(z.shape)}; give each variable the shape of z"
        ) from error

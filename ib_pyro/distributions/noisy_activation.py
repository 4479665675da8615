"""The base of noise that multiplies an activation: its draws without noise, and what is known of the noise."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution
from torch.types import _size

from ib_pyro.distributions.flags import copy_flags

__all__ = ["NoiseVariable", "NoisyActivation"]


class NoiseVariable(NamedTuple):
    """One tensor of the shape of z, and what it is."""

    values: Tensor
    long_name: str


class NoisyActivation(TorchDistribution):
    """The law of a noisy activation ``z = f * eps``, elementwise.

    **A distribution of your own** sets its tensors, among them ``activation``, broadcast to one batch shape, before it
    calls ``super().__init__(batch_shape, validate_args=...)``, and defines ``arg_constraints``, ``support``,
    ``has_rsample``, ``rsample`` and ``log_prob``. It inherits

    * :attr:`noise_free`, by which :class:`ib_pyro.noise_off` knows it;
    * :meth:`noise_variables`, by which :func:`ib_pyro.to_arviz` knows it: the parameters that ``parameter_names``
      lists, with what they are;
    * :meth:`expand`, without which a plate would wrap it, and no registered KL would be found.

    Attributes:
        activation: f, of the batch shape.
        parameter_names: What each parameter of the noise is, by its name: ``{"alpha": "variance of eps"}``.
    """

    parameter_names: ClassVar[Mapping[str, str]] = {}
    activation: Tensor

    @property
    def noise_free(self) -> Tensor:
        """The activation itself, which is z with eps = 1."""
        return self.activation

    def noise_variables(self, z: Tensor) -> dict[str, NoiseVariable]:
        """Return what is known of the noise of one draw, by the suffix of its name.

        Where f = 0, z is zero whatever the noise: eps is not identified by the draw, and NaN.

        Args:
            z: The draw, of the batch shape or with dimensions in front.

        Returns:
            ``eps``, ``activation`` and each parameter of the noise, of the shape of z.
        """
        eps = NoiseVariable(z / self.activation, "noise eps, NaN where activation is 0")
        return {"eps": eps, **self.parameter_variables(z)}

    def parameter_variables(self, z: Tensor) -> dict[str, NoiseVariable]:
        """Return those of the noise's variables that are parameters, of the shape of z: all but the noise itself."""
        names = {"activation": "activation f(x)", **self.parameter_names}
        return {
            name: NoiseVariable(getattr(self, name).expand(z.shape), text) for name, text in names.items()
        }

    def expand(self, batch_shape: _size, _instance: object = None) -> Self:
        """Return the distribution with each tensor that it holds expanded to ``batch_shape``, and all else as it is.

        A distribution that it holds, such as that of the noise, is expanded too if it has the same batch shape.

        Args:
            batch_shape: The new batch shape.
            _instance: The object that becomes the expansion; by default a new one.

        Raises:
            ValueError: If a tensor that the distribution holds has dimensions beside those of the batch.
        """
        batch_shape = torch.Size(batch_shape)
        if _instance is None and batch_shape == self.batch_shape:
            return self
        new: Self = self._get_checked_instance(type(self), _instance)
        new.__dict__.update({name: self._expanded(name, batch_shape) for name in self.__dict__})
        super(NoisyActivation, new).__init__(batch_shape, validate_args=False)
        return copy_flags(self, new)

    def _expanded(self, name: str, batch_shape: torch.Size) -> Any:  # noqa: ANN401  (whatever the attribute is)
        value = self.__dict__[name]
        if isinstance(value, Distribution) and value.batch_shape == self.batch_shape:
            return value.expand(batch_shape)
        if not isinstance(value, Tensor):
            return value
        try:
            return value.expand(batch_shape)
        except RuntimeError as error:
            raise ValueError(
                f"{type(self).__name__}.{name} has shape {tuple(value.shape)}, which does not expand from the batch "
                f"shape {tuple(self.batch_shape)} to {tuple(batch_shape)}; broadcast the parameters of the noise to "
                "one batch shape, or define expand"
            ) from error

"""The base of every stochastic layer: a network that turns its input into one latent site."""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar, Self, cast

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.infer.autoguide.initialization import InitMessenger
from pyro.infer.util import is_validation_enabled
from pyro.nn import PyroModule
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn

from ib_pyro.nn.activations import resolve_activation
from ib_pyro.nn.maps import conv2d_map, linear_map

__all__ = ["StochasticLayer"]

EVENT_DIMS: dict[type[nn.Module], int | None] = {
    nn.Linear: 1,
    nn.Conv1d: 2,
    nn.Conv2d: 3,
    nn.Conv3d: 4,
    nn.ConvTranspose1d: 2,
    nn.ConvTranspose2d: 3,
    nn.ConvTranspose3d: 4,
    nn.Flatten: None,
    nn.Unflatten: None,
}


class StochasticLayer(PyroModule):
    """A layer that emits exactly one latent site, distributed as :meth:`posterior` says.

    The layer is half a guide and half a model. Called, it samples ``z ~ p(z|x)`` at its site, as a guide does;
    :meth:`sample_prior` samples ``z ~ q(z)`` at the same site, as a model does. Outside of any Pyro handler a
    call merely draws z, so that the layer also works in a plain ``nn.Sequential``.

    The site is called ``name`` if that is given; otherwise it has the module's own name, which
    :class:`~ib_pyro.Bottleneck` or an enclosing ``PyroModule`` gives it. These two also tell Pyro's optimisers of
    its parameters; elsewhere ``pyro.module`` does, as for any ``nn.Module``.

    Args:
        features: Network whose output, after the activation, is f(x).
        activation: ``"relu"``, ``"softplus"``, ``"identity"``, or a function of tensors.
        event_dim: Number of rightmost dimensions of z that are one sample's; by default that of the last linear
            (1) or convolutional (2 to 4) layer in ``features`` unless z is reshaped after it; otherwise all
            dimensions but the first.
        name: Name of the site.

    Raises:
        ValueError: If the activation is unknown or ``event_dim`` is below 1.
    """

    _has_noise_branch: ClassVar[bool] = False

    def __init__(
        self,
        features: nn.Module,
        *,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        event_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self._prior_cache: dict[Any, TorchDistributionMixin] = {}
        self.features = features
        self.activation = activation
        self._activate = resolve_activation(activation)
        if event_dim is not None and event_dim < 1:
            raise ValueError(f"event_dim must be at least 1, one sample's own dimensions; got {event_dim}")
        self.event_dim = event_dim or _last_event_dim(features)
        self.name = name
        self._name_in_program: str | None = None
        # What `.to()` moves of a layer without parameters.
        self._placement = torch.zeros(())

    def __setattr__(self, name: str, value: object) -> None:
        if name != "_prior_cache" and "_prior_cache" in self.__dict__:
            self._prior_cache.clear()
        super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "StochasticLayer":
        self._prior_cache.clear()
        self._placement = fn(self._placement)
        return super()._apply(fn, recurse)

    @property
    def _prior_is_fixed(self) -> bool:
        """Whether the prior has no parameters of its own, so that it can be kept between calls."""
        return True

    @property
    def site_name(self) -> str:
        """Name of the latent site that this layer emits."""
        return self.name or self._name_in_program or self._pyro_name or "z"

    @abstractmethod
    def posterior(self, x: Tensor) -> TorchDistributionMixin:
        """Return ``p(z|x)``, elementwise: its batch shape is that of f(x)."""

    @abstractmethod
    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return ``q(z)`` with the given event shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Sample z given x at the layer's site.

        Args:
            x: The layer's input, ``[batch, ...]``.

        Returns:
            z, of the shape of ``features(x)``.

        Raises:
            ValueError: If the activation or the noise is not what the distribution allows; names the site.
        """
        posterior = self._posterior_of(x)
        z = pyro.sample(self.site_name, self._as_site(posterior))
        if is_validation_enabled() and not self._is_valid(z):
            raise ValueError(f"site {self.site_name!r}: {_describe_invalid(posterior, z)}")
        return z

    def sample_prior(self, event_shape: torch.Size, batch_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Sample z from the prior at the layer's site.

        Args:
            event_shape: Shape of one sample of z.
            batch_shape: Batch dimensions, if the enclosing plates are not to add them.

        Returns:
            z, ``[..., *event_shape]``, with the batch dimensions of the enclosing plates.

        Raises:
            NotImplementedError: If nothing fixes the site's value and the prior is improper; names the site.
        """
        # A PyroModule names the parameters that are looked at inside of its context.
        with self._pyro_context if self._announces_parameters else nullcontext():
            prior = self._expanded_prior(event_shape, batch_shape)
        try:
            return pyro.sample(self.site_name, prior)
        except NotImplementedError as error:
            if any(isinstance(handler, InitMessenger) for handler in _PYRO_STACK):
                # Pyro's Predictive first runs the model alone, to learn the shapes of its sites: any value will do.
                with InitMessenger(lambda site: self._reference().new_zeros(site["fn"].shape())):
                    return pyro.sample(self.site_name, prior)
            proper = "set layer.prior to one"
            if not hasattr(self, "prior"):
                proper = f"use InformationDropout(..., prior=...): that of {type(self).__name__} is fixed"
            raise NotImplementedError(
                f"site {self.site_name!r}: {error}. The model cannot be sampled without a proper prior: {proper}. "
                "To sample y given x, use program.predict(x)"
            ) from error

    @property
    def _announces_parameters(self) -> bool:
        # Inside a Bottleneck the program announces parameters to Pyro, under names that cannot clash;
        # PyroModule's attribute access would do it again, once a layer and step.
        return self._name_in_program is None and bool(self._pyro_name)

    def _submodule(self, name: str) -> nn.Module:
        return getattr(self, name) if self._announces_parameters else cast(nn.Module, self._modules[name])

    def _own_parameter(self, name: str) -> Tensor:
        return getattr(self, name) if self._announces_parameters else cast(Tensor, self._parameters[name])

    def _expanded_prior(self, event_shape: torch.Size, batch_shape: torch.Size) -> TorchDistributionMixin:
        key = event_shape, batch_shape
        if key in self._prior_cache:
            return self._prior_cache[key]
        # A prior without parameters is the same at every step. It must outlive the mode it is first needed in.
        with torch.inference_mode(mode=torch.is_inference_mode_enabled() and not self._prior_is_fixed):
            prior = self.prior_distribution(event_shape).expand(batch_shape)
        if self._prior_is_fixed:
            self._prior_cache[key] = prior
        return prior

    def _is_valid(self, z: Tensor) -> bool:
        return bool(z.isfinite().all())

    def _reference(self) -> Tensor:
        """Return a tensor of the dtype and on the device that the layer computes in."""
        return next(self.parameters(), self._placement)

    def _activation_of(self, x: Tensor) -> Tensor:
        return self._activate(self._submodule("features")(x))

    def _posterior_of(self, x: Tensor) -> TorchDistributionMixin:
        try:
            return self.posterior(x)
        except ValueError as error:
            raise ValueError(f"site {self.site_name!r}: {error}") from error

    def _as_site(self, posterior: TorchDistributionMixin) -> TorchDistributionMixin:
        return posterior.to_event(self._event_dim_of(posterior.batch_shape))

    def _event_dim_of(self, shape: torch.Size) -> int:
        event_dim = self.event_dim or len(shape) - 1
        if len(shape) <= event_dim:
            raise ValueError(
                f"site {self.site_name!r}: an output of shape {tuple(shape)} leaves no batch dimension beside "
                f"event_dim={event_dim}; pass a batch, or set event_dim"
            )
        return event_dim

    @classmethod
    def linear(
        cls,
        in_features: int,
        out_features: int,
        *,
        batch_norm: bool = False,
        bias: bool = True,
        **options: Any,
    ) -> Self:
        """Build the layer over a linear map; the noise, if it depends on the input, has another of its own.

        Args:
            in_features: Width of the input.
            out_features: Width of z.
            batch_norm: Put batch norm between the map and the activation.
            bias: Give the map a bias (batch norm has its own).
            **options: The layer's own options.
        """
        build: Callable[..., Self] = cls
        branches = [linear_map(in_features, out_features, batch_norm=batch_norm, bias=bias)]
        if cls._has_noise_branch:
            branches.append(linear_map(in_features, out_features))
        return build(*branches, **options)

    @classmethod
    def conv2d(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        padding: int | str = 0,
        batch_norm: bool = False,
        bias: bool = True,
        **options: Any,
    ) -> Self:
        """Build the layer over a convolution; the noise, if it depends on the input, has another of its own.

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of z.
            kernel_size: Side of the kernel.
            stride: Stride of the convolution.
            padding: Padding of the convolution.
            batch_norm: Put batch norm between the convolution and the activation.
            bias: Give the convolution a bias (batch norm has its own).
            **options: The layer's own options.
        """
        build: Callable[..., Self] = cls
        size = in_channels, out_channels, kernel_size
        conv: dict[str, Any] = {"stride": stride, "padding": padding}
        branches = [conv2d_map(*size, batch_norm=batch_norm, bias=bias, **conv)]
        if cls._has_noise_branch:
            branches.append(conv2d_map(*size, **conv))
        return build(*branches, **options)


def _describe_invalid(posterior: TorchDistributionMixin, z: Tensor) -> str:
    """Say which parameter of a posterior made its sample invalid."""
    for parameter in posterior.arg_constraints:
        values = getattr(posterior, parameter).detach()
        if values.isnan().any():
            return (
                f"{parameter} has {int(values.isnan().sum())} NaN of {values.numel()} values; look for NaN in the "
                "layer's input or parameters (a lower learning rate often helps)"
            )
        if not posterior.arg_constraints[parameter].check(values).all():
            return (
                f"{parameter} has values out of range (min {values.min():.4g}, max {values.max():.4g}); "
                f"it must satisfy {posterior.arg_constraints[parameter]}: use an activation such as relu or softplus"
            )
    return f"z has {int((~z.isfinite()).sum())} infinite or NaN values; the activation or its noise overflows"


def _last_event_dim(features: nn.Module) -> int | None:
    known = [
        dims for module in features.modules() for kind, dims in EVENT_DIMS.items() if isinstance(module, kind)
    ]
    return known[-1] if known else None

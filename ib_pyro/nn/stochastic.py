"""The base of every stochastic layer: a network that turns its input into one latent site."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Self

import torch
from pyro.distributions import ImproperUniform, MaskedDistribution, constraints
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.infer.autoguide.initialization import InitMessenger
from pyro.infer.util import is_validation_enabled
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.distributions import Distribution

from ib_pyro.checks import checks_values, is_traced
from ib_pyro.distributions.placement import forget_values, modules_in, moved
from ib_pyro.handlers import any_value_will_do, name_in_running_program, plate_sizes, sample, unwrap
from ib_pyro.nn.activations import resolve_activation
from ib_pyro.nn.maps import LAYOUTS, conv_map, linear_map, positionwise_map
from ib_pyro.nn.naming import name_by_holder
from ib_pyro.nn.validity import describe_invalid, is_valid
from ib_pyro.priors.given import Prior, check_prior, prior_over

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

    The site is called ``name`` if that is given. Otherwise a :class:`~ib_pyro.Bottleneck` has a name for it, its own
    in each program that the layer is part of; elsewhere it is that of the layer in an enclosing ``PyroModule``. These
    two also tell Pyro's optimisers of the parameters; elsewhere ``pyro.module`` does, as for any ``nn.Module``.

    **A layer of your own** defines :meth:`posterior` and :meth:`prior_distribution`. It may look at its own submodules
    and parameters, ``self.features(x)`` and ``self.log_scale``, in both; :meth:`activation_of` is f(x). What else it
    may say of itself:

    * ``has_noise_branch``: :meth:`linear` and :meth:`conv2d` build a second map, passed as second argument.
    * ``is_charged``: whether the site has a rate. If not, both of its sides are masked, and no prior is needed.
    * ``has_fixed_prior``: the prior is a function of the layer's attributes alone, not of parameters, buffers or
      anything else that may change in place; only then is it kept between calls. A subclass that defines
      :meth:`prior_distribution` starts from False again.
    * :meth:`check_option`: what an attribute may be set to.

    A distribution that is an attribute of the layer goes where the layer goes, ``.to(device)`` or ``.double()``: the
    layer takes a copy, and leaves the given one as it is. What a flow in it learns is part of the layer.

    A prior of one's own, ``prior=`` of this package's layers and their attribute that may be set, is a distribution of
    one unit or of one sample, or a function (a module, if it learns) from one sample's shape to a distribution over
    it: see :mod:`ib_pyro.priors`.

    A posterior's value is checked against its support, if that is a set of reals: a value outside, infinite or NaN is
    an error that names the site.

    Args:
        features: Network whose output, after the activation, is f(x).
        activation: ``"relu"``, ``"softplus"``, ``"identity"``, or a function of tensors. May be set later.
        event_dim: Number of rightmost dimensions of z that are one sample's; by default that of the last linear
            (1) or convolutional (2 to 4) layer in ``features`` unless z is reshaped after it; otherwise all
            dimensions but the first. May be set later; None is the default again.
        name: Name of the site. May be set later.

    Raises:
        ValueError: If the activation is unknown or ``event_dim`` is below 1.

    >>> from pyro.distributions import Normal
    >>> class LearnedScale(StochasticLayer):
    ...     def __init__(self, features):
    ...         super().__init__(features, activation="identity")
    ...         self.log_scale = nn.Parameter(torch.zeros(()))
    ...
    ...     def posterior(self, x):
    ...         return Normal(self.activation_of(x), 0.5)
    ...
    ...     def prior_distribution(self, event_shape):
    ...         return (
    ...             Normal(0.0, self.log_scale.exp())
    ...             .expand(event_shape)
    ...             .to_event(len(event_shape))
    ...         )
    >>> LearnedScale.linear(4, 3)(torch.rand(5, 4)).shape
    torch.Size([5, 3])
    """

    has_noise_branch: ClassVar[bool] = False
    is_charged: ClassVar[bool] = True
    has_fixed_prior: bool = False

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
        self.event_dim = event_dim
        self.name = name
        # What `.to()` moves of a layer without parameters.
        self._placement = torch.zeros(())

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "prior_distribution" in cls.__dict__ and "has_fixed_prior" not in cls.__dict__:
            # The promise was made for another prior.
            cls.has_fixed_prior = False

    def __setattr__(self, name: str, value: object) -> None:
        if "_prior_cache" not in self.__dict__:
            super().__setattr__(name, value)
            return
        self.check_option(name, value)
        if name != "training":
            self._prior_cache.clear()
        if name in self._modules and not isinstance(value, nn.Module):
            # PyTorch takes no function in the place of a module, such as nn.Softplus() as the activation.
            del self._modules[name]
        super().__setattr__(name, value)
        if name == "event_dim":
            object.__setattr__(self, "_has_own_event_dim", value is not None)
        if isinstance(value, Distribution):
            self._hold_modules_of(name, value)
        elif f"{name}_modules" in self._modules:
            del self._modules[f"{name}_modules"]
        if name in ("features", "event_dim") and not self.__dict__.get("_has_own_event_dim"):
            object.__setattr__(self, "event_dim", _last_event_dim(self.features))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (as nn.Module's)
        """Call the layer, in a ``PyroModule``'s context only where that has something to say."""
        # It costs, and dynamo cannot enter it.
        if self._pyro_samples or self._announces_parameters:
            return super().__call__(*args, **kwargs)
        for module in self._modules.values():
            if isinstance(module, PyroModule):
                return super().__call__(*args, **kwargs)
        return nn.Module.__call__(self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (as nn.Module's)
        # A PyroModule tells Pyro's store of each parameter that is looked at, by the layer's name. A program does so
        # once a step, under names that cannot clash; without a name, those of two layers would be the same.
        if name in self.__dict__.get("_pyro_samples", ()) or self._announces_parameters:
            return super().__getattr__(name)
        if name in self.__dict__.get("_pyro_params", ()):
            constraint, _ = self._pyro_params[name]
            raw = nn.Module.__getattr__(self, f"{name}_unconstrained")
            return torch.distributions.transform_to(constraint)(raw)
        return nn.Module.__getattr__(self, name)

    def __getstate__(self) -> dict[str, Any]:
        self._forget_values()
        return {**super().__getstate__(), "_prior_cache": {}}

    def _forget_values(self) -> None:
        forget_values([value for value in self.__dict__.values() if isinstance(value, Distribution)])

    def _hold_modules_of(self, name: str, distribution: Distribution) -> None:
        """Make what is learned inside of a distribution part of the layer, for optimisers and ``state_dict``."""
        self._modules.pop(f"{name}_modules", None)
        modules = modules_in(distribution)
        if modules:
            self._modules[f"{name}_modules"] = nn.ModuleList(modules)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._prior_cache.clear()
        self._forget_values()
        before = self._own_tensors()
        # Asked first: nothing is moved if something cannot be.
        self._moved_distributions(fn, {id(tensor): tensor for tensor in before.values()})
        self._placement = fn(self._placement)
        super()._apply(fn, recurse)
        after = self._own_tensors()
        known = {id(tensor): after[name] for name, tensor in before.items()}
        self.__dict__.update(self._moved_distributions(fn, known))
        return self

    def _own_tensors(self) -> dict[str, Tensor]:
        parameters = self.named_parameters(remove_duplicate=False)
        return {**dict(parameters), **dict(self.named_buffers(remove_duplicate=False))}

    def _moved_distributions(
        self, fn: Callable[[Tensor], Tensor], known: dict[int, Tensor]
    ) -> dict[str, Distribution]:
        held = {name: value for name, value in self.__dict__.items() if isinstance(value, Distribution)}
        for name, distribution in held.items():
            try:
                held[name] = moved(distribution, fn, known)
            except ValueError as error:
                kind = type(distribution).__name__
                raise ValueError(
                    f"site {self.site_name!r}: {name}, a {kind}, cannot go where the layer goes: {error}. Make "
                    "it a parameter of a layer of your own, and the law in prior_distribution from it; "
                    "or move the tensor first, and set the attribute anew"
                ) from error
        return held

    @property
    def site_name(self) -> str:
        """Name of the latent site that this layer emits here and now; within a program, the name that it has there."""
        return (
            self.name
            or name_in_running_program(self)
            or self.__dict__["_pyro_name"]
            or name_by_holder(self)
            or "z"
        )

    def check_option(self, name: str, value: Any) -> None:  # noqa: ANN401  (whatever is set)
        """Raise if an attribute of the layer may not have this value; called before it is set, whenever it is set.

        Args:
            name: Name of the attribute.
            value: Its new value.

        Raises:
            ValueError: Says what is allowed.
        """
        if name == "activation":
            resolve_activation(value)
        if name == "prior" and value is not None and not isinstance(value, str):
            check_prior(value)
        if name == "event_dim" and value is not None and value < 1:
            raise ValueError(f"event_dim must be at least 1, one sample's own dimensions; got {value}")

    def posterior(self, x: Tensor) -> TorchDistributionMixin:
        """Return ``p(z|x)``, elementwise: its batch shape is that of f(x).

        A law whose values have dimensions of their own, such as a one-hot vector, has them as its event.

        Args:
            x: Inputs, ``[batch, ...]``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define posterior(x), the law p(z|x)")

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return ``q(z)`` with the given event shape."""
        if not self.is_charged:
            return ImproperUniform(constraints.real, (), event_shape)
        raise NotImplementedError(
            f"{type(self).__name__} must define prior_distribution(event_shape), the law q(z) of one sample; a layer "
            "without a rate says is_charged = False instead"
        )

    def given_prior(self, event_shape: torch.Size) -> TorchDistributionMixin | None:
        """Return the prior that was given to the layer over one sample; None if it was given none.

        Args:
            event_shape: Shape of one sample of z.

        Raises:
            ValueError: If it does not fit that shape.
        """
        prior: Prior | None = getattr(self, "prior", None)
        return None if prior is None else prior_over(prior, event_shape)

    def activation_of(self, x: Tensor) -> Tensor:
        """Return f(x), the activation of the features."""
        return self._activate(self.features(x))

    def _activation_of(self, x: Tensor) -> Tensor:
        """Be what layers of others still call: another name of :meth:`activation_of`."""
        return self.activation_of(x)

    @property
    def _infer(self) -> Any:  # noqa: ANN401  (Pyro's type knows only its own keys)
        # By which programs tell their layers apart, whatever handlers make of the site's name.
        return {"layer": self}

    @property
    def _activate(self) -> Callable[[Tensor], Tensor]:
        return resolve_activation(self.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Sample z given x at the layer's site.

        Args:
            x: The layer's input, ``[batch, ...]``.

        Returns:
            z, of the shape of ``features(x)``.

        Raises:
            ValueError: If the activation or the noise is not what the distribution allows; names the site.
        """
        return self._emit(self._posterior_of(x), x)

    def _emit(self, posterior: TorchDistributionMixin, x: Tensor) -> Tensor:
        fn = self._as_charged(self._with_event(posterior))
        if is_validation_enabled():
            self._require_batch_of_plates(fn)
        z = sample(self.site_name, fn, infer=self._infer)
        if checks_values():
            law = unwrap(posterior)
            if not is_valid(law, z):
                raise ValueError(f"site {self.site_name!r}: {describe_invalid(law, z, x)}")
        return z

    def sample_prior(
        self,
        event_shape: torch.Size,
        batch_shape: torch.Size = torch.Size(),  # noqa: B008
        *,
        law: TorchDistributionMixin | None = None,
    ) -> Tensor:
        """Sample z from the prior at the layer's site.

        Args:
            event_shape: Shape of one sample of z.
            batch_shape: Batch dimensions, if the enclosing plates are not to add them.
            law: The prior over one sample, where the program knows more of it than the layer.

        Returns:
            z, ``[..., *event_shape]``, with the batch dimensions of the enclosing plates.

        Raises:
            NotImplementedError: If nothing fixes the site's value and the prior is improper; names the site.
        """
        # A PyroModule names the parameters that are looked at inside of its context.
        with self._pyro_context if self._announces_parameters else nullcontext():
            prior = self._expanded_prior(event_shape, batch_shape) if law is None else law.expand(batch_shape)
        try:
            return sample(self.site_name, prior, infer=self._infer)
        except NotImplementedError as error:
            if any_value_will_do():
                with InitMessenger(lambda site: self._reference().new_zeros(site["fn"].shape())):
                    return sample(self.site_name, prior, infer=self._infer)
            raise NotImplementedError(
                f"site {self.site_name!r}: {error}. The model cannot be sampled without a proper prior: "
                f"{self._way_to_a_proper_prior()}. To sample y given x, use program.predict(x)"
            ) from error

    def _way_to_a_proper_prior(self) -> str:
        if not hasattr(self, "prior"):
            return f"use InformationDropout(..., prior=...): that of {type(self).__name__} is fixed"
        return (
            "set layer.prior to one (for sampling alone: the rate of noise that reaches beyond a prior's bounds is "
            "infinite; one to train with is activation='softplus', prior='log-normal')"
        )

    @property
    def _announces_parameters(self) -> bool:
        named = bool(self.__dict__.get("_pyro_name"))
        return named and name_in_running_program(self) is None

    def _expanded_prior(self, event_shape: torch.Size, batch_shape: torch.Size) -> TorchDistributionMixin:
        # A prior that was set on the object itself made no promise.
        if not self.has_fixed_prior or "prior_distribution" in self.__dict__ or is_traced():
            return self._as_charged(self._prior_over(event_shape)).expand(batch_shape)
        key = event_shape, batch_shape
        if key not in self._prior_cache:
            # Kept, it must outlive the mode that it is first needed in.
            with torch.inference_mode(False), torch.no_grad():  # noqa: FBT003  (by keyword it breaks dynamo)
                prior = self._as_charged(self._prior_over(event_shape))
                self._prior_cache[key] = prior.expand(batch_shape)
        return self._prior_cache[key]

    def _prior_over(self, event_shape: torch.Size) -> TorchDistributionMixin:
        try:
            prior = self.prior_distribution(event_shape)
        except ValueError as error:
            raise ValueError(f"site {self.site_name!r}: {error}") from error
        except NotImplementedError as error:
            raise NotImplementedError(f"site {self.site_name!r}: {error}") from error
        if prior.event_shape != event_shape:
            raise ValueError(
                f"site {self.site_name!r}: its prior has event shape {tuple(prior.event_shape)} (and batch shape "
                f"{tuple(prior.batch_shape)}), but an event of z has {tuple(event_shape)}; make one of that shape, "
                "with .to_event() where it is elementwise"
            )
        return prior

    def _as_charged(self, fn: TorchDistributionMixin) -> TorchDistributionMixin:
        is_masked = isinstance(fn, MaskedDistribution)
        return fn if self.is_charged or is_masked else fn.mask(False)

    def _reference(self) -> Tensor:
        """Return a tensor of the dtype and on the device that the layer computes in."""
        return next(self.parameters(), self._placement)

    def _posterior_of(self, x: Tensor) -> TorchDistributionMixin:
        try:
            return self.posterior(x)
        except ValueError as error:
            raise ValueError(f"site {self.site_name!r}: {error}") from error

    def _with_event(self, posterior: TorchDistributionMixin) -> TorchDistributionMixin:
        """Take one sample's own dimensions into the event, as far as they are not there."""
        event_dim = self._event_dim_of(posterior.shape())
        missing = event_dim - posterior.event_dim
        return posterior.to_event(missing) if missing > 0 else posterior

    def _event_dim_of(self, shape: torch.Size) -> int:
        event_dim = self.event_dim or len(shape) - 1
        if len(shape) <= event_dim:
            raise ValueError(
                f"site {self.site_name!r}: an output of shape {tuple(shape)} leaves no batch dimension beside "
                f"event_dim={event_dim}; pass a batch, or set event_dim"
            )
        return event_dim

    def _require_batch_of_plates(self, fn: TorchDistributionMixin) -> None:
        """Raise if dimensions are left of a sample that no plate around has, such as the tokens of a sequence."""
        plates = plate_sizes()
        if not plates:
            return
        batch = fn.batch_shape
        fits = all(len(batch) < -dim or batch[dim] in (1, size) for dim, size in plates.items())
        # A program knows that it has no other batch dimensions; elsewhere, Pyro's enumeration puts some in front.
        too_many = len(batch) > -min(plates) and name_in_running_program(self) is not None
        if fits and not too_many:
            return
        wanted = fn.event_dim + (len(batch) - len(plates) or 1)
        shape = tuple(batch) + tuple(fn.event_shape)
        raise ValueError(
            f"site {self.site_name!r}: z has shape {shape}, of which event_dim={fn.event_dim} leaves the batch shape "
            f"{tuple(batch)}, but the plates around have the sizes {[plates[d] for d in sorted(plates)]}; say how "
            f"many dimensions are one sample's own: event_dim={wanted}, as in tokens [batch, seq, d]"
        )

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
        return cls._over(partial(linear_map, in_features, out_features), batch_norm, bias, options)

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
        conv = partial(conv_map, 2, in_channels, out_channels, kernel_size, stride=stride, padding=padding)
        return cls._over(conv, batch_norm, bias, options)

    @classmethod
    def conv3d(
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
        """Build the layer over a convolution of volumes ``[batch, channels, depth, rows, columns]``.

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
        conv = partial(conv_map, 3, in_channels, out_channels, kernel_size, stride=stride, padding=padding)
        return cls._over(conv, batch_norm, bias, options)

    @classmethod
    def _over(
        cls, build_map: Callable[..., nn.Module], batch_norm: bool, bias: bool, options: dict[str, Any]
    ) -> Self:
        """Build the layer over the map of f(x), and over another for the noise if that depends on the input."""
        build: Callable[..., Self] = cls
        branches = [build_map(batch_norm=batch_norm, bias=bias)]
        if cls.has_noise_branch:
            branches.append(build_map())
        return build(*branches, **options)

    @classmethod
    def after(cls, width: int, layout: str = "vector", **options: Any) -> Self:
        """Build the layer for a value that exists, such as the output of a module of a trained network.

        f(x) is the value itself; the noise, if it depends on the input, has a linear map of the units at each
        position. A value of both signs is nothing for noise that keeps the sign in a logarithm: use
        :class:`~ib_pyro.nn.GaussianDropout` or :class:`~ib_pyro.nn.AdditiveNormal` there.

        Args:
            width: Number of units (features, channels).
            layout: ``"vector"`` ``[batch, width]``, ``"tokens"`` ``[batch, positions, width]``, ``"series"``
                ``[batch, width, positions]``, ``"image"`` ``[batch, width, rows, columns]`` or ``"volume"``.
            **options: The layer's own options; the activation is the identity unless given.

        Raises:
            ValueError: If the layout is unknown.
        """
        build: Callable[..., Self] = cls
        branches: list[nn.Module] = [nn.Identity()]
        noise = positionwise_map(width, layout)
        if cls.has_noise_branch:
            branches.append(noise)
        options.setdefault("event_dim", LAYOUTS[layout])
        if "activation" in signature(cls.__init__).parameters:
            options.setdefault("activation", "identity")
        return build(*branches, **options)


def _last_event_dim(features: nn.Module) -> int | None:
    known = [
        dims for module in features.modules() for kind, dims in EVENT_DIMS.items() if isinstance(module, kind)
    ]
    return known[-1] if known else None

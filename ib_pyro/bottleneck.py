"""A network with noisy layers as a Pyro model and guide."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.infer.util import is_validation_enabled
from pyro.params.param_store import param_with_module_name
from pyro.poutine.runtime import _PYRO_STACK
from pyro.poutine.trace_messenger import TraceMessenger
from torch import Tensor, nn

from ib_pyro.handlers import SiteRecorder, noise_off
from ib_pyro.likelihoods import Likelihood, check_target, resolve_likelihood
from ib_pyro.nn.stochastic import StochasticLayer

__all__ = ["Bottleneck"]


@dataclass(frozen=True)
class _Structure:
    """What one pass of the encoder says about its sites, for inputs of one shape."""

    event_shapes: dict[str, torch.Size]
    output_sites: tuple[str, ...]


class Bottleneck(nn.Module):
    r"""An encoder with noisy layers, a decoder and a likelihood, as a Pyro program.

    The generative process and its guide, for a batch x with labels y::

        model                                   guide
        with plate("data", len(x)):             with plate("data", len(x)):
            z_l ~ q(z_l)         for each layer     z_1 ~ p(z_1 | x)
            y   ~ p(y | decoder(z_L))               z_l ~ p(z_l | z_{l-1})

    so that the negative ELBO with its KL weighted by beta is the information-bottleneck Lagrangian
    ``E[-log p(y|z)] + beta * KL(p(z|x) || q(z))`` (Achille & Soatto 2016, eq. 3). The encoder runs once an
    evaluation, in the guide; the model replays its sites. An encoder without a stochastic layer is a
    deterministic network: it runs in the model, and the guide is empty.

    Sites have the layers' own names within the encoder (``z1`` in ``nn.Sequential(OrderedDict(z1=...))``);
    layers that have only a position are called ``z1``, ``z2``, ... in order.

    Args:
        encoder: Network of x that holds the stochastic layers. It returns the value of its last layer, or a
            tuple of several layers' values; what follows the last noise belongs in the decoder.
        decoder: Network of the encoder's output (one argument a site).
        likelihood: ``"categorical"`` (decoder gives logits), ``"bernoulli"`` (logits), ``"normal"`` (mean, unit
            variance; or a pair mean, standard deviation), or a function from the decoder's output to a
            distribution with batch shape ``[batch]``.
        num_data: Size of the data set. If given, a batch is taken as a subsample of it, and log densities are
            scaled by ``num_data / batch``, as Pyro does; by default a batch stands for itself.

    Raises:
        ValueError: If two layers would emit the same site, or the likelihood is unknown.

    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> program.predict(torch.rand(5, 4)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: str | Likelihood = "categorical",
        *,
        num_data: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.num_data = num_data
        self._plates: dict[tuple[int | None, int], pyro.plate] = {}

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 (whatever nn.Module takes)
        super().__setattr__(name, value)
        if name == "encoder":
            self._layers = _name_layers(value)
            self._structures: dict[torch.Size, _Structure] = {}
        if name == "likelihood":
            self._likelihood = resolve_likelihood(value)
        if name in ("encoder", "decoder"):
            # Model and guide are views of these; they are made again on demand.
            self._views: tuple[_Model, _Guide] | None = None

    @property
    def stochastic_layers(self) -> dict[str, StochasticLayer]:
        """The encoder's stochastic layers by the name of their site, in order."""
        return dict(self._layers)

    @property
    def model(self) -> "_Model":
        """The Pyro model, a module called as ``model(x, y)``; without y it samples y."""
        return self._model_and_guide()[0]

    @property
    def guide(self) -> "_Guide":
        """The Pyro guide, a module called as ``guide(x, y)``; y is not looked at."""
        return self._model_and_guide()[1]

    def predictive(self, x: Tensor, num_samples: int = 16) -> list[TorchDistributionMixin]:
        """Return ``p(y | z_s)`` for draws ``z_s ~ p(z | x)``, differentiable in x and the parameters.

        Args:
            x: Inputs, ``[batch, ...]``.
            num_samples: Number of draws; 0 stands for one pass with the noise off.

        Returns:
            A distribution with batch shape ``[batch]`` for each draw.

        Raises:
            ValueError: If ``num_samples`` is negative.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must not be negative; got {num_samples}")
        if num_samples == 0:
            with noise_off():
                return self.predictive(x, 1)
        return [self._likelihood(self._decode(self.encoder(x))) for _ in range(num_samples)]

    @torch.no_grad()
    def predict(self, x: Tensor, num_samples: int = 16) -> Tensor:
        """Return the mean of the posterior predictive ``p(y|x) = E_{p(z|x)} p(y|z)``.

        Batch norm stays in the mode it is in; call ``program.eval()`` to predict with its running statistics.

        Args:
            x: Inputs, ``[batch, ...]``.
            num_samples: Number of draws of the noise; 0 switches the noise off.

        Returns:
            Class probabilities ``[batch, classes]`` under a categorical likelihood, otherwise the mean of y,
            ``[batch, ...]``.
        """
        draws = [_mean(likelihood) for likelihood in self.predictive(x, num_samples)]
        return torch.stack(draws).mean(0)

    def extra_repr(self) -> str:
        """Name the likelihood and the sites."""
        return f"likelihood={self.likelihood!r}, sites={list(self._layers)}"

    def __getstate__(self) -> dict[str, Any]:
        # Model and guide are views of this module; they and its plates are made again on demand.
        return {**super().__getstate__(), "_views": None, "_plates": {}}

    def _decode(self, encoded: Tensor | tuple[Tensor, ...]) -> object:
        return self.decoder(*encoded) if isinstance(encoded, tuple) else self.decoder(encoded)

    def _model_and_guide(self) -> "tuple[_Model, _Guide]":
        if self._views is None:
            # Kept out of the module tree: their parameters are this module's own.
            object.__setattr__(self, "_views", (_Model(self), _Guide(self)))
        assert self._views is not None
        return self._views

    def _plate(self, batch_size: int) -> pyro.plate:
        key = self.num_data, batch_size
        if key not in self._plates:
            if batch_size == 0:
                raise ValueError("the batch is empty; pass at least one sample")
            if self.num_data is not None and self.num_data < batch_size:
                raise ValueError(
                    f"num_data={self.num_data} is the size of the data set, but the batch alone has {batch_size}"
                )
            # Of a subsample only its length matters here: a batch comes already drawn.
            drawn: dict[str, Any] = {} if self.num_data is None else {"subsample": range(batch_size)}
            # A plate is made once, outside of any handler: making one is an effect, and costs as much as a site.
            with poutine.block():
                self._plates[key] = pyro.plate("data", self.num_data or batch_size, dim=-1, **drawn)
        return self._plates[key]

    def _encode(self, x: Tensor) -> None:
        """Run a noisy encoder, and note the shapes of its sites the first time."""
        if not self._layers:
            return
        if x.shape[1:] in self._structures:
            self.encoder(x)
        else:
            with SiteRecorder() as recorder:
                encoded = self.encoder(x)
            self._structures[x.shape[1:]] = self._structure_of(recorder.values, encoded)

    def _structure(self, x: Tensor) -> _Structure:
        if x.shape[1:] not in self._structures:
            with torch.no_grad(), poutine.block(), noise_off(), SiteRecorder() as recorder:
                encoded = _without_side_effects(self.encoder, x)
            self._structures[x.shape[1:]] = self._structure_of(recorder.values, encoded)
        return self._structures[x.shape[1:]]

    def _structure_of(self, values: dict[str, Tensor], encoded: Tensor | tuple[Tensor, ...]) -> _Structure:
        layers = self._layers
        outputs = encoded if isinstance(encoded, tuple) else (encoded,)
        sites = [[name for name, value in values.items() if value is output] for output in outputs]
        if not all(sites):
            raise ValueError(
                f"the encoder must return the value of its last stochastic layer, or a tuple of layers' values "
                f"(sites {list(layers)}); move what follows the last noise into the decoder"
            )
        event_shapes = {}
        for name in layers:
            if name not in values:
                raise ValueError(
                    f"site {name!r}: its layer is in the encoder, but the encoder does not call it"
                )
            event_dim = layers[name]._event_dim_of(values[name].shape)
            event_shapes[name] = values[name].shape[values[name].dim() - event_dim :]
        return _Structure(event_shapes, tuple(names[0] for names in sites))


class _View(nn.Module):
    """One side of a program, as a module with the program's parameters."""

    program: Bottleneck
    _side: str

    def __init__(self, program: Bottleneck) -> None:
        super().__init__()
        self.encoder = program.encoder
        self.decoder = program.decoder
        object.__setattr__(self, "program", program)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (self.program, self._side)

    def _announce_parameters(self) -> None:
        if not _an_optimiser_listens():
            return
        for name, module in (("encoder", self.encoder), ("decoder", self.decoder)):
            if next(module.parameters(), None) is not None:
                pyro.module(name, module)
                _check_same_parameters(name, module)


class _Model(_View):
    _side = "model"

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Sample each z from its prior and y given z; y is observed if given."""
        program = self.program
        self._announce_parameters()
        with program._plate(len(x)):
            encoded = self._sample_priors(x) if program._layers else self.encoder(x)
            likelihood = program._likelihood(program._decode(encoded))
            if y is not None and is_validation_enabled():
                check_target(y, likelihood, len(x))
            return pyro.sample("y", likelihood, obs=y)

    def _sample_priors(self, x: Tensor) -> tuple[Tensor, ...]:
        structure = self.program._structure(x)
        batch_shape = torch.Size((len(x),))
        values = {
            name: self.program._layers[name].sample_prior(shape, batch_shape)
            for name, shape in structure.event_shapes.items()
        }
        return tuple(values[name] for name in structure.output_sites)


class _Guide(_View):
    _side = "guide"

    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        """Sample each z given x."""
        self._announce_parameters()
        with self.program._plate(len(x)):
            self.program._encode(x)


def _name_layers(encoder: nn.Module) -> dict[str, StochasticLayer]:
    layers: dict[str, StochasticLayer] = {}
    found = [(path, m) for path, m in encoder.named_modules() if isinstance(m, StochasticLayer)]
    for position, (path, layer) in enumerate(found, start=1):
        has_own_name = path and not path.rsplit(".", 1)[-1].isdigit()
        layer._name_in_program = path if has_own_name else f"z{position}"
        if layer.site_name in layers:
            raise ValueError(
                f"two layers of the encoder emit the site {layer.site_name!r}; give one another name="
            )
        layers[layer.site_name] = layer
    return layers


def _an_optimiser_listens() -> bool:
    """Whether something, such as ``SVI.step``, collects parameters; only then are they put in Pyro's store."""
    return any(isinstance(m, TraceMessenger) and m.param_only for m in _PYRO_STACK)


def _check_same_parameters(name: str, module: nn.Module) -> None:
    store = pyro.get_param_store()
    for path, parameter in module.named_parameters():
        if parameter.requires_grad and store._params[param_with_module_name(name, path)] is not parameter:
            raise RuntimeError(
                f"Pyro's parameter store already holds {name}.{path} of another program, and would optimise that; "
                "call pyro.clear_param_store() first, or work within pyro.get_param_store().scope()"
            )


def _without_side_effects(module: nn.Module, x: Tensor) -> Tensor | tuple[Tensor, ...]:
    """Call a module so that its buffers, such as batch norm's statistics, stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return torch.func.functional_call(module, buffers, (x,))


def _mean(likelihood: TorchDistributionMixin) -> Tensor:
    probs = getattr(likelihood, "probs", None)
    return likelihood.mean if probs is None or likelihood.event_dim else probs

"""A network with noisy layers as a Pyro model and guide."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn
from torch.distributions import Distribution

from ib_pyro.batch_norm import batches_seen
from ib_pyro.buffers import buffers_kept
from ib_pyro.checks import checks_values
from ib_pyro.handlers import LayerCalls, noise_off, optimiser_listens, particles_are_vectorised, unwrap
from ib_pyro.likelihoods import (
    Likelihood,
    as_target,
    check_target,
    check_values,
    predictive_mean,
    resolve_likelihood,
)
from ib_pyro.nn.naming import hold
from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.parameters import announce
from ib_pyro.particles import Evaluation, random_state_kept, require_particles_fit

__all__ = ["Bottleneck"]

Encoded = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class _Structure:
    """What one pass of the encoder says about its sites, for inputs of one shape."""

    event_shapes: dict[str, torch.Size]
    output_sites: tuple[str, ...]


@dataclass(frozen=True)
class _Sites:
    """The sites of a program's present modules, and what is known of them from passes of the encoder."""

    tree: tuple[nn.Module | None, ...]
    own_names: tuple[str | None, ...]
    layers: dict[str, StochasticLayer]
    names: dict[nn.Module, str]
    structures: dict[tuple[int, ...], _Structure] = field(default_factory=dict)
    fit_particles: set[tuple[int, ...]] = field(default_factory=set)

    def are_of(self, tree: tuple[nn.Module | None, ...]) -> bool:
        own_names = tuple(layer.name for layer in self.layers.values())
        return tree == self.tree and own_names == self.own_names


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
    layers that have only a position are called ``z1``, ``z2``, ... in order. The names are the program's: a layer
    may be part of several programs, under other names.

    Encoder, decoder and likelihood, whole or in parts, may be exchanged at any time: model and guide, and losses made
    of them, are those of the present modules. As an ordinary module, ``program(x)`` is the decoder's output under one
    draw of the noise.

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
        ValueError: If two layers would emit the same site, a noisy layer is in the decoder, or the likelihood is
            unknown.

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
        self._known: _Sites | None = None
        self._views: tuple[_Model, _Guide] | None = None
        self._plates: dict[tuple[int | None, int], pyro.plate] = {}
        self._announced: dict[str, Tensor] = {}
        self.batches_seen_without_noise: tuple[int, ...] | None = None
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.num_data = num_data
        self._sites()

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 (whatever nn.Module takes)
        if name == "encoder":
            _name_layers(value)
        if name == "decoder":
            _require_no_layers(value)
        likelihood = resolve_likelihood(value) if name == "likelihood" else None
        super().__setattr__(name, value)
        if likelihood is not None:
            self._likelihood = likelihood

    def __getstate__(self) -> dict[str, Any]:
        # Model and guide are views of this module; they and what is known of it are made again on demand.
        fresh: dict[str, Any] = {"_views": None, "_known": None, "_plates": {}, "_announced": {}}
        return {**super().__getstate__(), **fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._sites()

    @property
    def stochastic_layers(self) -> dict[str, StochasticLayer]:
        """The encoder's stochastic layers by the name of their site, in order."""
        return dict(self._sites().layers)

    def name_of(self, layer: nn.Module) -> str | None:
        """Return the name of a layer's site in this program; None if the encoder does not hold the layer."""
        return self._sites().names.get(layer)

    @property
    def model(self) -> "_Model":
        """The Pyro model, a module called as ``model(x, y)``; without y it samples y. Its ``program`` is this one."""
        return self._model_and_guide()[0]

    @property
    def guide(self) -> "_Guide":
        """The Pyro guide, a module called as ``guide(x, y)``; y is not looked at. Its ``program`` is this one."""
        return self._model_and_guide()[1]

    def forward(self, x: Tensor) -> Any:  # noqa: ANN401  (whatever the decoder returns)
        """Return the decoder's output under one draw ``z ~ p(z|x)``, as any network does.

        Args:
            x: Inputs, ``[batch, ...]``.
        """
        return self._decode(self._encode(x)[0])

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        """Return one draw of every site given x, in order; a later one is given those before it.

        Args:
            x: Inputs, ``[batch, ...]``.

        Returns:
            z of each site, ``[batch, ...]``, with its graph.
        """
        return self._encode(x)[1].values

    def posteriors(self, x: Tensor) -> dict[str, Distribution]:
        """Return ``p(z|x)`` of every site in order, that of a later one given one draw of those before it.

        Args:
            x: Inputs, ``[batch, ...]``.

        Returns:
            The law of each site's elements, of batch shape ``[batch, ...]``: without the wrappers that make it a
            site's, and with the parameters of its class, such as ``.alpha``.
        """
        return {name: unwrap(law) for name, law in self._encode(x)[1].laws.items()}

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
            self._warn_of_statistics()
            with noise_off():
                return self.predictive(x, 1)
        return [self._law(self._encode(x)[0], x) for _ in range(num_samples)]

    @torch.no_grad()
    def predict(self, x: Tensor, num_samples: int = 16) -> Tensor:
        """Return the mean of the posterior predictive ``p(y|x) = E_{p(z|x)} p(y|z)``.

        Batch norm stays in the mode it is in; call ``program.eval()`` to predict with its running statistics.

        Args:
            x: Inputs, ``[batch, ...]``.
            num_samples: Number of draws of the noise; 0 switches the noise off. Batch norm's running statistics, which
                were learned under noise, are wrong then, and it warns of them: see
                :func:`ib_pyro.batch_norm.noise_off_copy`.

        Returns:
            Class probabilities ``[batch, ..., classes]`` under a categorical law, otherwise the mean of y,
            ``[batch, ...]``.

        Raises:
            NotImplementedError: If the likelihood's law has no mean, or none is known; names the law.
            ValueError: If a mean is NaN; names the law.
        """
        draws = [predictive_mean(likelihood) for likelihood in self.predictive(x, num_samples)]
        return torch.stack(draws).mean(0)

    def _warn_of_statistics(self) -> None:
        """Warn if batch norm's running statistics, learned under noise, are about to be used without it."""
        if self.training or not checks_values() or not self.stochastic_layers:
            return
        seen = batches_seen(self)
        if any(seen) and seen != self.batches_seen_without_noise:
            warnings.warn(
                "num_samples=0 switches the noise off, and batch norm's running statistics were learned under it, so "
                "that the prediction is worse than it could be; use ib_pyro.batch_norm.noise_off_copy(program, x, "
                "batch_size=...) with the training inputs, or ib_pyro.evaluate(program, data, train=...)",
                stacklevel=4,
            )

    def extra_repr(self) -> str:
        """Name the likelihood and the sites."""
        return f"likelihood={self.likelihood!r}, sites={list(self._sites().layers)}"

    def _sites(self) -> _Sites:
        """Return what is known of the sites, afresh if a module anywhere in the program was exchanged."""
        tree = _tree_of(self.encoder, self.decoder)
        if self._known is None or not self._known.are_of(tree):
            _require_no_layers(self.decoder)
            layers = _name_layers(self.encoder)
            own_names = tuple(layer.name for layer in layers.values())
            self._known = _Sites(tree, own_names, layers, {layer: name for name, layer in layers.items()})
            for layer in layers.values():
                hold(layer, self)
        return self._known

    def _encode(
        self, x: Tensor, sites: _Sites | None = None, *, once: bool = False
    ) -> tuple[Any, LayerCalls]:
        """Run the encoder, and note what its layers emit under the program's names."""
        with LayerCalls((sites or self._sites()).names, once=once) as calls:
            try:
                encoded = self.encoder(x)
            except ValueError as error:
                raise _naming_nan(error, x) from error
        return tuple(encoded) if isinstance(encoded, list) else encoded, calls

    def _decode(self, encoded: Encoded) -> object:
        return self.decoder(*encoded) if isinstance(encoded, tuple) else self.decoder(encoded)

    def _law(self, encoded: Encoded, x: Tensor) -> TorchDistributionMixin:
        output = self._decode(encoded)
        try:
            return self._likelihood(output)
        except ValueError as error:
            text = str(error)
            where = (
                "" if "site 'y'" in text else "site 'y': the likelihood does not take the decoder's output: "
            )
            raise _naming_nan(ValueError(where + text), x) from error

    def _model_and_guide(self) -> "tuple[_Model, _Guide]":
        # A shallow copy, such as a replica of DataParallel, has views of its own.
        if self._views is None or self._views[0].program is not self:
            object.__setattr__(self, "_views", (_Model(self), _Guide(self)))
        assert self._views is not None
        return self._views

    def _announce_parameters(self) -> None:
        """Tell Pyro's optimisers of the parameters, if one listens."""
        if optimiser_listens():
            modules = {"encoder": self.encoder, "decoder": self.decoder}
            self._announced = announce(modules, self._announced)

    def _entered(self, x: Tensor) -> pyro.plate:
        """Make ready for a pass of either side over a batch, and return the plate to go through it in."""
        self._announce_parameters()
        plate = self._plate(x)
        if particles_are_vectorised():
            self._require_particles_fit(x)
        return plate

    def _plate(self, x: Tensor) -> pyro.plate:
        if not isinstance(x, Tensor) or x.dim() == 0:
            raise TypeError(
                f"x is a {type(x).__name__}; a program takes one tensor [batch, ...] (of several, stack or "
                "concatenate them, and take them apart in the encoder)"
            )
        key = self.num_data, len(x)
        if key not in self._plates:
            self._plates[key] = _make_plate(*key)
        return self._plates[key]

    def _sample_posteriors(self, x: Tensor) -> None:
        """Run a noisy encoder as a guide does, and note the shapes of its sites."""
        sites = self._sites()
        if sites.layers:
            encoded, calls = self._encode(x, sites, once=True)
            sites.structures[_shape_of(x)] = _structure_of(sites, encoded, calls)

    def _sample_priors(self, x: Tensor) -> Encoded:
        """Sample every site as a model does, and return the values of the encoder's output."""
        sites = self._sites()
        if not sites.layers:
            encoded: Encoded = self._encode(x, sites)[0]
            return encoded
        structure = self._structure(x, sites)
        with LayerCalls(sites.names):
            batch_shape = torch.Size((len(x),))
            values = {
                name: sites.layers[name].sample_prior(shape, batch_shape)
                for name, shape in structure.event_shapes.items()
            }
        return tuple(values[name] for name in structure.output_sites)

    def _structure(self, x: Tensor, sites: _Sites | None = None) -> _Structure:
        sites = sites or self._sites()
        if _shape_of(x) not in sites.structures:
            with (
                torch.no_grad(),
                random_state_kept(self),
                buffers_kept([self.encoder]),
                poutine.block(),
                noise_off(),
            ):
                encoded, calls = self._encode(x, sites, once=True)
            sites.structures[_shape_of(x)] = _structure_of(sites, encoded, calls)
        return sites.structures[_shape_of(x)]

    def _require_particles_fit(self, x: Tensor) -> None:
        """Look once whether the modules leave the dimension alone that plates in front of the data's give to z."""
        sites = self._sites()
        if not sites.layers or _shape_of(x) in sites.fit_particles or torch.compiler.is_compiling():
            return

        def evaluate() -> Evaluation:
            encoded, calls = self._encode(x)
            return Evaluation(calls.values, calls.laws, self._decode(encoded))

        require_particles_fit(self, evaluate)
        sites.fit_particles.add(_shape_of(x))


class _View(nn.Module):
    """One side of a program, as a module with the program's parameters.

    Attributes:
        program: The program.
    """

    program: Bottleneck
    side: str

    def __init__(self, program: Bottleneck) -> None:
        super().__init__()
        object.__setattr__(self, "program", program)
        # The program's own mapping: what is exchanged there is exchanged here.
        object.__setattr__(self, "_modules", program._modules)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (self.program, self.side)


class _Model(_View):
    side = "model"

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Sample each z from its prior and y given z; y is observed if given."""
        program = self.program
        with program._entered(x):
            likelihood = program._law(program._sample_priors(x), x)
            if y is None:
                # For whoever finds that the guide lacks the site.
                hint: Any = {"hint": "y was not given, so it is sampled; pass y"}
                y = pyro.sample("y", likelihood, infer=hint)
                # A handler such as poutine.condition may have set it.
                if checks_values():
                    check_values(y, likelihood)
                return y
            if is_validation_enabled():
                check_target(y, likelihood, len(x))
            return pyro.sample("y", likelihood, obs=as_target(y, likelihood))


class _Guide(_View):
    side = "guide"

    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        """Sample each z given x."""
        program = self.program
        with program._entered(x):
            program._sample_posteriors(x)


def _tree_of(*roots: nn.Module) -> tuple[nn.Module | None, ...]:
    """Return all modules, a shared one as often as it is there: a cheap way to see whether one was exchanged."""
    found: list[nn.Module | None] = list(roots)
    for module in found:  # it grows while it is read
        if module is not None:
            found.extend(module._modules.values())
    return tuple(found)


def _shape_of(x: Tensor) -> tuple[int, ...]:
    # The tracer of torch.jit has tensors for sizes, which are no keys.
    return tuple(map(int, x.shape[1:]))


def _name_layers(encoder: nn.Module) -> dict[str, StochasticLayer]:
    """Return the encoder's layers by the name of their site.

    Raises:
        ValueError: If two would have the same.
    """
    layers: dict[str, StochasticLayer] = {}
    found = [(path, m) for path, m in encoder.named_modules() if isinstance(m, StochasticLayer)]
    for position, (path, layer) in enumerate(found, start=1):
        has_path = path and not path.rsplit(".", 1)[-1].isdigit()
        name = layer.name or (path if has_path else f"z{position}")
        if name in layers:
            raise ValueError(f"two layers of the encoder emit the site {name!r}; give one another name=")
        layers[name] = layer
    return layers


def _require_no_layers(decoder: nn.Module) -> None:
    """Raise if a noisy layer is in the decoder, whose sites would be in the model alone; names its path."""
    for path, module in decoder.named_modules():
        if isinstance(module, StochasticLayer):
            raise ValueError(
                f"decoder{'.' * bool(path)}{path}: a noisy layer is in the decoder, which has no guide to sample it "
                "in; move it, and what is before it, into the encoder"
            )


def _structure_of(sites: _Sites, encoded: Encoded, calls: LayerCalls) -> _Structure:
    outputs = encoded if isinstance(encoded, tuple) else (encoded,)
    emitters = [[name for name, value in calls.values.items() if value is output] for output in outputs]
    for name in sites.layers:
        if name not in calls.values:
            raise ValueError(
                f"site {name!r}: its layer is in the encoder, but the encoder does not call it; call it in forward, "
                "or take it out of the encoder"
            )
    if not all(emitters):
        raise ValueError(
            f"the encoder must return the value of its last stochastic layer, or a tuple of layers' values "
            f"(sites {list(sites.layers)}); move what follows the last noise into the decoder"
        )
    # In the order of the layers, which is that of the sites in the model.
    event_shapes = {name: calls.laws[name].event_shape for name in sites.layers}
    return _Structure(event_shapes, tuple(names[0] for names in emitters))


def _make_plate(num_data: int | None, batch_size: int) -> pyro.plate:
    if batch_size == 0:
        raise ValueError("the batch is empty; pass at least one sample")
    if num_data is not None and num_data < batch_size:
        raise ValueError(
            f"num_data={num_data} is the size of the data set, but the batch alone has {batch_size}"
        )
    # Of a subsample only its length matters here: a batch comes already drawn.
    drawn: dict[str, Any] = {} if num_data is None else {"subsample": range(batch_size)}
    # A plate is made once, outside of any handler: making one is an effect, and costs as much as a site.
    with poutine.block():
        return pyro.plate("data", num_data or batch_size, dim=-1, **drawn)


def _naming_nan(error: ValueError, x: object) -> ValueError:
    """Return the error, with x named as its cause if x holds NaN."""
    if isinstance(x, Tensor) and x.is_floating_point() and checks_values() and bool(x.isnan().any()):
        return ValueError(
            f"{error}; x itself has {int(x.isnan().sum())} NaN of {x.numel()} values: mend the data"
        )
    return error

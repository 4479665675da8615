"""A network with noisy layers as a Pyro model and guide."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.utils.rnn import PackedSequence

from ib_pyro.batch_norm import batches_seen
from ib_pyro.buffers import buffers_kept
from ib_pyro.checks import checks_values, is_traced
from ib_pyro.encoding import (
    Sites,
    Structure,
    name_layers,
    require_called,
    require_no_layers,
    require_no_way_around,
    structure_of,
    tree_of,
)
from ib_pyro.handlers import (
    BatchPlate,
    LayerCalls,
    noise_off,
    optimiser_listens,
    particles_are_vectorised,
    unwrap,
)
from ib_pyro.inputs import Input, batch_size_of, call_with, count_nan, shape_of, tensors_of
from ib_pyro.likelihoods import Likelihood, predictive_mean, warn_if_squashed
from ib_pyro.nn.naming import hold
from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.observing import Target, laws_of, observe, part_of, resolve_likelihoods
from ib_pyro.parameters import announce
from ib_pyro.particles import Evaluation, random_state_kept, require_particles_fit
from ib_pyro.pseudo_inputs import posterior_of_pseudo_inputs, vamp_priors

__all__ = ["Bottleneck"]

Encoded = Any
"""What an encoder returns: a value, or a tuple of values, one argument of the decoder each."""


class _Pass(NamedTuple):
    """One pass of the encoder in the guide, for the model that replays its sites' values."""

    x: Input
    encoded: Encoded
    state: tuple[object, ...]


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
        encoder: Network of x that holds the stochastic layers (a tuple x is its arguments). It returns the value of
            its last layer, a tuple of several layers' values, or anything computed of them.
        decoder: Network of the encoder's output (of a tuple, one argument each); None if the encoder's output is the
            likelihood's parameter already.
        likelihood: ``"categorical"`` (decoder gives logits), ``"bernoulli"`` (logits), ``"normal"`` (mean, unit
            variance; or a pair mean, standard deviation); for grey values in [0, 1] ``"continuous-bernoulli"``
            (logits) and ``"discretized-logistic"`` (a pair location, scale); for counts ``"poisson"`` (log mean) and
            ``"negative-binomial"`` (a pair log mean, dispersion); or a function from the decoder's output to a
            distribution with batch shape ``[batch]``. For several heads, a mapping of these: the observed sites have
            its names, the decoder returns a mapping (or a tuple in this order), and y is a mapping.
        num_data: Size of the data set. If given, a batch is taken as a subsample of it, and log densities are
            scaled by ``num_data / batch``, as Pyro does; by default a batch stands for itself.
        conditional: Let the encoder's output depend on x beside the sites' values, as in ``return z, c``: the model
            is ``p(y | z, x)``, and the rate bounds what z tells of x, but not what y is told. By default such an
            encoder is refused when it first runs.
        class_weights: What the distortion of each class is multiplied with, ``[classes]``, as that of
            ``F.cross_entropy``. What is predicted does not change.

    Raises:
        ValueError: If two layers would emit the same site, a noisy layer is in the decoder, or the likelihood is
            unknown.

    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> program.predict(torch.rand(5, 4)).shape
    torch.Size([5, 2])
    """

    class_weights: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module | None = None,
        likelihood: str | Likelihood | Mapping[str, str | Likelihood] = "categorical",
        *,
        num_data: int | None = None,
        conditional: bool = False,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self._known: Sites | None = None
        self._views: tuple[_Model, _Guide] | None = None
        self._plates: dict[tuple[int | None, int], pyro.plate] = {}
        self._announced: dict[str, Tensor] = {}
        self.batches_seen_without_noise: tuple[int, ...] | None = None
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        warn_if_squashed(decoder, likelihood, stacklevel=2)
        self.num_data, self.conditional = num_data, conditional
        # Not part of the state: it says how to fit, not what was fitted.
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._sites()

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 (whatever nn.Module takes)
        if name == "encoder":
            name_layers(value)
        if name == "decoder":
            require_no_layers(value)
        likelihoods = resolve_likelihoods(value) if name == "likelihood" else None
        super().__setattr__(name, value)
        if likelihoods is not None:
            self._likelihoods = likelihoods

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
    def has_heads(self) -> bool:
        """Whether the observed sites have names of their own, instead of ``y``."""
        return isinstance(self.likelihood, Mapping)

    @property
    def model(self) -> "_Model":
        """The Pyro model, a module called as ``model(x, y)``; without y it samples y. Its ``program`` is this one.

        ``model(x, y, labelled=...)`` observes y where the truth value of each sample says so; the other rows have
        rates alone.
        """
        return self._model_and_guide()[0]

    @property
    def guide(self) -> "_Guide":
        """The Pyro guide, a module called as the model; y is not looked at. Its ``program`` is this one."""
        return self._model_and_guide()[1]

    def forward(self, x: Input) -> Any:  # noqa: ANN401  (whatever the decoder returns)
        """Return the decoder's output under one draw ``z ~ p(z|x)``, as any network does.

        Args:
            x: Inputs, ``[batch, ...]``.
        """
        return self._decode(self._encode(x)[0])

    def latents(self, x: Input) -> dict[str, Tensor]:
        """Return one draw of every site given x, in order; a later one is given those before it.

        Args:
            x: Inputs, ``[batch, ...]``.

        Returns:
            z of each site, ``[batch, ...]``, with its graph.
        """
        return self._encode(x)[1].values

    def posteriors(self, x: Input) -> dict[str, Distribution]:
        """Return ``p(z|x)`` of every site in order, that of a later one given one draw of those before it.

        Args:
            x: Inputs, ``[batch, ...]``.

        Returns:
            The law of each site's elements, of batch shape ``[batch, ...]``: without the wrappers that make it a
            site's, and with the parameters of its class, such as ``.alpha``.
        """
        return {name: unwrap(law) for name, law in self._encode(x)[1].laws.items()}

    def predictive(self, x: Input, num_samples: int = 16) -> list[Any]:
        """Return ``p(y | z_s)`` for draws ``z_s ~ p(z | x)``, differentiable in x and the parameters.

        Args:
            x: Inputs, ``[batch, ...]``.
            num_samples: Number of draws; 0 stands for one pass with the noise off.

        Returns:
            A distribution with batch shape ``[batch]`` for each draw; of several heads, one for each by name.

        Raises:
            ValueError: If ``num_samples`` is negative.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must not be negative; got {num_samples}")
        if num_samples == 0:
            self._warn_of_statistics()
            with noise_off():
                return self.predictive(x, 1)
        drawn = [self._laws(self._encode(x)[0], x) for _ in range(num_samples)]
        return drawn if self.has_heads else [laws["y"] for laws in drawn]

    @torch.no_grad()
    def predict(self, x: Input, num_samples: int = 16) -> Any:  # noqa: ANN401  (a tensor, or one a head)
        """Return the mean of the posterior predictive ``p(y|x) = E_{p(z|x)} p(y|z)``.

        Batch norm stays in the mode it is in; call ``program.eval()`` to predict with its running statistics.

        Args:
            x: Inputs, ``[batch, ...]``.
            num_samples: Number of draws of the noise; 0 switches the noise off. Batch norm's running statistics, which
                were learned under noise, are wrong then, and it warns of them: see
                :func:`ib_pyro.batch_norm.noise_off_copy`.

        Returns:
            Class probabilities ``[batch, ..., classes]`` under a categorical law, otherwise the mean of y,
            ``[batch, ...]``; of several heads, this for each by name.

        Raises:
            NotImplementedError: If the likelihood's law has no mean, or none is known; names the law.
            ValueError: If a mean is NaN; names the law.
        """
        draws = self.predictive(x, num_samples)
        if not self.has_heads:
            return torch.stack([predictive_mean(law) for law in draws]).mean(0)
        return {
            name: torch.stack([predictive_mean(laws[name]) for laws in draws]).mean(0)
            for name in self._likelihoods
        }

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

    def _sites(self) -> Sites:
        """Return what is known of the sites, afresh if a module anywhere in the program was exchanged."""
        tree = tree_of(self.encoder, self.decoder)
        if self._known is None or not self._known.are_of(tree):
            require_no_layers(self.decoder)
            layers = name_layers(self.encoder)
            own_names = tuple(layer.name for layer in layers.values())
            names: dict[nn.Module, str] = {layer: name for name, layer in layers.items()}
            self._known = Sites(tree, own_names, layers, names, vamp_priors(layers))
            for layer in layers.values():
                hold(layer, self)
        return self._known

    def _encode(
        self,
        x: Input,
        sites: Sites | None = None,
        *,
        once: bool = False,
        given: dict[str, Tensor] | None = None,
    ) -> tuple[Any, LayerCalls]:
        """Run the encoder, and note what its layers emit under the program's names, or give them values."""
        sites = sites or self._sites()
        with LayerCalls(sites.names, once=once, given=given) as calls:
            try:
                encoded = call_with(self.encoder, x)
            except ValueError as error:
                raise _naming_nan(error, x) from error
            except RuntimeError as error:
                _require_type(error, x, self.encoder)
                raise
        require_called(sites, calls)
        return tuple(encoded) if isinstance(encoded, list) else encoded, calls

    def _decode(self, encoded: Encoded) -> object:
        if self.decoder is None:
            return encoded
        return self.decoder(*encoded) if isinstance(encoded, tuple) else self.decoder(encoded)

    def _laws(self, encoded: Encoded, x: Input) -> dict[str, TorchDistributionMixin]:
        """Return the law of each observed site."""
        output = self._decode(encoded)
        try:
            return laws_of(output, self._likelihoods, has_heads=self.has_heads)
        except ValueError as error:
            raise _naming_nan(error, x) from error

    def _model_and_guide(self) -> "tuple[_Model, _Guide]":
        # A shallow copy, such as a replica of DataParallel, has views of its own.
        if self._views is None or self._views[0].program is not self:
            object.__setattr__(self, "_views", (_Model(self), _Guide(self)))
        assert self._views is not None
        return self._views

    def _announce_parameters(self) -> None:
        """Tell Pyro's optimisers of the parameters, if one listens."""
        if optimiser_listens():
            parts = {"encoder": self.encoder, "decoder": self.decoder}
            modules = {name: part for name, part in parts.items() if part is not None}
            self._announced = announce(modules, self._announced)

    def _entered(self, x: Input) -> pyro.plate:
        """Make ready for a pass of either side over a batch, and return the plate to go through it in."""
        self._announce_parameters()
        plate = self._plate(x)
        if particles_are_vectorised():
            self._require_particles_fit(x)
        return plate

    def _plate(self, x: Input) -> pyro.plate:
        key = self.num_data, batch_size_of(x)
        if key not in self._plates:
            self._plates[key] = _make_plate(*key)
        return self._plates[key]

    def _sample_posteriors(self, x: Input) -> None:
        """Run a noisy encoder as a guide does, and note the shapes of its sites."""
        sites = self._sites()
        if sites.layers:
            encoded, calls = self._encode(x, sites, once=True)
            if self._noted(sites, x, encoded, calls).output_sites is None:
                # The model has no other way to what follows from the values than to run the encoder again.
                calls.kept = _Pass(x, encoded, _state_of(sites, x))

    def _posteriors_of_pseudo_inputs(self, sites: Sites) -> dict[str, TorchDistributionMixin]:
        """Return what the priors of pseudo-inputs are made of, by site; outside of the plate of the data."""
        return {
            name: posterior_of_pseudo_inputs(self.encoder, sites, name, prior)
            for name, prior in sites.vamp_priors.items()
        }

    def _sample_priors(self, x: Input, sites: Sites, pseudo: Mapping[str, TorchDistributionMixin]) -> Encoded:
        """Sample every site as a model does, and return the encoder's output for the values."""
        if not sites.layers:
            encoded: Encoded = self._encode(x, sites)[0]
            return encoded
        structure = self._structure(x, sites)
        with LayerCalls(sites.names) as calls:
            batch_shape = torch.Size((batch_size_of(x),))
            values = {
                name: sites.layers[name].sample_prior(
                    shape, batch_shape, law=_mixture_of(name, sites, pseudo, shape) if pseudo else None
                )
                for name, shape in structure.event_shapes.items()
            }
        if structure.output_sites is None:
            return self._output_of(x, sites, values, calls)
        outputs = tuple(values[name] for name in structure.output_sites)
        return outputs if len(outputs) > 1 or self.decoder is not None else outputs[0]

    def _output_of(self, x: Input, sites: Sites, values: dict[str, Tensor], calls: LayerCalls) -> Encoded:
        """Return what the encoder makes of values of its sites: of a guide's pass, once, what it has made of them."""
        source = next(iter(calls.replayed.values()), None)
        if source is not None and isinstance(source.kept, _Pass):
            is_of_pass = all(
                calls.replayed.get(name) is source and value is source.values[name]
                for name, value in values.items()
            )
            if is_of_pass and source.kept.x is x and source.kept.state == _state_of(sites, x):
                encoded, source.kept = source.kept.encoded, None
                return encoded
        with poutine.block():
            return self._encode(x, sites, given=values)[0]

    def _structure(self, x: Input, sites: Sites | None = None) -> Structure:
        sites = sites or self._sites()
        shape = shape_of(x)
        if shape not in sites.structures:
            with (
                torch.no_grad(),
                random_state_kept(self),
                buffers_kept([self.encoder]),
                poutine.block(),
                noise_off(),
            ):
                encoded, calls = self._encode(x, sites, once=True)
            self._noted(sites, x, encoded, calls)
        return sites.structures[shape]

    def _noted(self, sites: Sites, x: Input, encoded: Encoded, calls: LayerCalls) -> Structure:
        """Note what a pass says of the sites, once it is known that their values are all that it makes of x."""
        structure = structure_of(sites, encoded, calls)
        if structure.output_sites is None and not (self.conditional or sites.ways_looked_for or is_traced()):
            require_no_way_around(self.encoder, sites, x, calls.values)
            sites.ways_looked_for.add("none")
        sites.structures[shape_of(x)] = structure
        return structure

    def _require_particles_fit(self, x: Input) -> None:
        """Look once whether the modules leave the dimension alone that plates in front of the data's give to z."""
        sites = self._sites()
        if not sites.layers or shape_of(x) in sites.fit_particles or torch.compiler.is_compiling():
            return

        def evaluate() -> Evaluation:
            encoded, calls = self._encode(x)
            return Evaluation(calls.values, calls.laws, self._decode(encoded))

        require_particles_fit(self, evaluate)
        sites.fit_particles.add(shape_of(x))


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

    def forward(self, x: Input, y: Target | None = None, *, labelled: Tensor | None = None) -> Target:
        """Sample each z from its prior and y given z; y is observed if given, where it is labelled."""
        program = self.program
        sites = program._sites()
        pseudo = program._posteriors_of_pseudo_inputs(sites) if sites.vamp_priors else {}
        with program._entered(x):
            laws = program._laws(program._sample_priors(x, sites, pseudo), x)
            size, weights = batch_size_of(x), program.class_weights
            observed = {
                name: observe(
                    name, law, part_of(y, name, laws), size, labelled=labelled, class_weights=weights
                )
                for name, law in laws.items()
            }
        return observed if program.has_heads else observed["y"]


class _Guide(_View):
    side = "guide"

    def forward(self, x: Input, y: Target | None = None, *, labelled: Tensor | None = None) -> None:
        """Sample each z given x."""
        program = self.program
        with program._entered(x):
            program._sample_posteriors(x)


def _mixture_of(
    name: str, sites: Sites, pseudo: Mapping[str, TorchDistributionMixin], event_shape: torch.Size
) -> TorchDistributionMixin | None:
    """Return the prior of a site over one sample, if it is made of the posteriors of pseudo-inputs."""
    if name not in pseudo:
        return None
    try:
        return sites.vamp_priors[name].mixture_of(pseudo[name], event_shape)
    except ValueError as error:
        raise ValueError(f"site {name!r}: {error}") from error


def _make_plate(num_data: int | None, batch_size: int) -> pyro.plate:
    if batch_size == 0:
        raise ValueError("the batch is empty; pass at least one sample")
    if num_data is not None and num_data < batch_size:
        raise ValueError(
            f"num_data={num_data} is the size of the data set, but the batch alone has {batch_size}"
        )
    return BatchPlate("data", batch_size, num_data)


def _naming_nan(error: ValueError, x: Input) -> ValueError:
    """Return the error, with x named as its cause if x holds NaN."""
    if not checks_values():
        return error
    count, total = count_nan(x)
    return (
        ValueError(f"{error}; x itself has {count} NaN of {total} values: mend the data") if count else error
    )


def _require_type(error: RuntimeError, x: Input, encoder: nn.Module) -> None:
    """Raise an error that names x if it has another type than the encoder's parameters, which is why that failed."""
    dtype = next((p.dtype for p in encoder.parameters() if p.is_floating_point()), None)
    for name, value in tensors_of(x):
        found = value.data.dtype if isinstance(value, PackedSequence) else value.dtype
        if "dtype" in str(error) and dtype is not None and found != dtype:
            raise TypeError(
                f"{name} is {found}, and the encoder's parameters are {dtype} ({error}); pass {name}.to({dtype}), or "
                "move the program, as program.double() does"
            ) from error


def _state_of(sites: Sites, x: Input) -> tuple[object, ...]:
    """Return what a pass of the encoder depends on beside x and the sites' values, as far as that may change."""
    state: list[object] = [torch.is_grad_enabled()]
    if is_traced():
        return tuple(state)
    tensors = [value.data if isinstance(value, PackedSequence) else value for _, value in tensors_of(x)]
    for module in sites.tree:
        if module is not None:
            state.append(module.training)
            tensors += [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
    for tensor in tensors:
        # A tensor made in inference mode does not count its changes.
        state += [id(tensor), -1 if tensor.is_inference() else tensor._version]
    return tuple(state)

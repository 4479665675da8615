"""The program of a run: its name, and the options that its builder takes."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ib_pyro.choices import require_known
from inference.runs.call_with_options import call_with_options
from inference.runs.own_function import OwnFunction
from inference.runs.settings import Scalar, flag, require, require_finite_options, setting, shown

if TYPE_CHECKING:
    from torch import nn

    from ib_pyro import Bottleneck

__all__ = ["NOISES", "OWN_NOISE", "PROGRAMS", "Builder", "Noise", "ProgramSpec"]


@dataclass(frozen=True)
class Builder:
    """What builds a program, named without being imported.

    Args:
        path: ``"module:function"``; it takes ``image_shape``, and ``num_classes`` if it classifies.
        options: Settings of ``ProgramSpec`` that are arguments of it.
        noise: The option that names the kind of noise; None where it is the program's own affair.
        task: Name of what the program does, a key of ``inference.runs.task.TASKS``.
        fixed: Arguments that are no settings.
    """

    path: str
    options: tuple[str, ...]
    noise: str | None = "dropout"
    task: str = "classification"
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Callable[..., Bottleneck]:
        """Import the function."""
        module, name = self.path.split(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True)
class Noise:
    """A kind of noise.

    Args:
        learns: Whether it learns its strength, which a weight of the rate then sets.
        strength: Otherwise the option that sets it.
        options: Its other options.
    """

    learns: bool = False
    strength: str | None = None
    options: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[str, ...]:
        """All of its options."""
        return (*([self.strength] if self.strength else []), *self.options)


_ALL_CNN = {"options": ("dropout", "fraction", "activation", "variant"), "fixed": {"channels_last": True}}
# All that stands for a program's name: a new program is a line here.
PROGRAMS: dict[str, Builder] = {
    "all-cnn-32": Builder("models.all_cnn:AllCNN32", **_ALL_CNN),
    "all-cnn-96": Builder("models.all_cnn:AllCNN96", **_ALL_CNN),
    "mlp": Builder("models.mlp:MLP", ("dropout", "hidden", "batch_norm", "activation")),
    "vae": Builder(
        "models.vae:VAE",
        ("latent", "k", "link", "prior_per_unit", "likelihood"),
        noise="latent",
        task="reconstruction",
    ),
}
# Every kind of noise, and what it may be told; builders pass it on to their layers.
NOISES: dict[str, Noise] = {
    "information": Noise(learns=True, options=("alpha_max", "atom")),
    "binary": Noise(strength="drop_prob"),
    "gaussian": Noise(learns=True),
    "constant": Noise(strength="alpha"),
    "none": Noise(),
}
OWN_NOISE = "own"
"""What the noise of a program of the user's own is called, of which nothing more is known."""

OWN = "a function of your own, as --model module:function"
_ATOMS = ("exact", "ignore")
_LATENTS = ("gaussian", "information")
_ACTIVATIONS = ("relu", "softplus")
_LINKS = ("softplus", "exponential")
_LIKELIHOODS = ("bernoulli", "continuous-bernoulli", "discretized-logistic")
_VARIANTS = ("ours", "authors")


@dataclass(frozen=True, kw_only=True)
class ProgramSpec:
    """Which Pyro program, and its options.

    Raises:
        ValueError: If a name is unknown, a value out of range, or without effect on the program.
    """

    model: str = setting(
        "mlp",
        f"Pyro program to fit: {', '.join(PROGRAMS)}, or module:function, which returns a Bottleneck, a module with "
        "model and guide, or a pair (model, guide); of its arguments image_shape and num_classes come from the data",
        known=PROGRAMS,
    )
    model_options: dict[str, Scalar] | None = setting(
        None, "other arguments of --model module:function, as width=32,norm=true"
    )
    dropout: str = setting("information", f"noise of the layers: {', '.join(NOISES)}", known=NOISES)
    hidden: int = setting(64, "width of the hidden layers of --model mlp")
    fraction: float = setting(1.0, "share of the filters of --model all-cnn-32 and all-cnn-96")
    batch_norm: bool = setting(True, "batch norm before each activation")
    activation: str = setting(
        "relu", f"activation of the noisy layers: {', '.join(_ACTIVATIONS)}", known=_ACTIVATIONS
    )
    latent: str = setting("information", f"latent of --model vae: {', '.join(_LATENTS)}", known=_LATENTS)
    k: int = setting(1, "size of --model vae: 256 k latents, 512 k hidden units")
    link: str = setting(
        "softplus",
        f"from the encoder to the information latents of --model vae: {', '.join(_LINKS)}",
        known=_LINKS,
    )
    prior_per_unit: bool = setting(False, "a learned prior for each information latent of --model vae")
    likelihood: str = setting(
        "bernoulli",
        f"what --model vae observes, binarised pixels or grey ones: {', '.join(_LIKELIHOODS)}",
        known=_LIKELIHOODS,
    )
    drop_prob: float = setting(0.5, "drop probability of --dropout binary")
    alpha: float = setting(0.7, "standard deviation of the log noise of --dropout constant")
    alpha_max: float = setting(0.7, "largest standard deviation of the log noise that is learned")
    atom: str = setting(
        "exact", f"what a unit that is off costs: {', '.join(_ATOMS)} (as if it were on)", known=_ATOMS
    )

    variant: str = setting(
        "ours",
        f"defaults of the all-convolutional networks, ours or of the authors' code: {', '.join(_VARIANTS)}",
        known=_VARIANTS,
    )

    def __post_init__(self) -> None:
        require_known("variant", self.variant, _VARIANTS)
        if self.own is None:
            require_known("model", self.model, PROGRAMS, otherwise=f"name {OWN}")
        require_known("dropout", self.dropout, NOISES)
        require_known("latent", self.latent, _LATENTS)
        require_known("link", self.link, _LINKS)
        require_known("likelihood", self.likelihood, _LIKELIHOODS)
        require_known("activation", self.activation, _ACTIVATIONS)
        require_known("atom", self.atom, _ATOMS)
        for name in ("hidden", "k"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("fraction", "alpha", "alpha_max"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "positive and finite")
        require(0 <= self.drop_prob < 1, "drop_prob", self.drop_prob, "within [0, 1)")
        require_finite_options("model_options", self.model_options)
        self._check_effects()
        if (
            self.model == "vae"
            and self.latent != "information"
            and (self.link != "softplus" or self.prior_per_unit)
        ):
            raise ValueError(
                f"--link and --prior-per-unit are of --latent information; --latent {self.latent} has neither"
            )

    @property
    def own(self) -> OwnFunction | None:
        """The function of the user's own that builds the program; None of one of ours."""
        return OwnFunction.of("model", self.model)

    @property
    def builder(self) -> Builder:
        """What builds the program."""
        if self.own is not None:
            return Builder(self.model, ("model_options",), noise=None, task="own")
        return PROGRAMS[self.model]

    @property
    def task(self) -> str:
        """Name of what the program does, a key of ``inference.runs.task.TASKS``."""
        is_grey = "likelihood" in self.builder.options and self.likelihood != _LIKELIHOODS[0]
        return f"{self.builder.task}, grey" if is_grey else self.builder.task

    @property
    def noise(self) -> str:
        """Kind of the noise, of whichever option names it."""
        name = self.builder.noise
        return OWN_NOISE if name is None else getattr(self, name)

    @property
    def options(self) -> dict[str, Any]:
        """The settings that this program has, the strength of its kind of noise among them."""
        noise = NOISES.get(self.noise, Noise())
        names = (*self.builder.options, *noise.every)
        # The authors' code has no other atom than its own.
        fixed = {"atom"} if self.variant == "authors" else set()
        return {name: getattr(self, name) for name in names if name not in fixed}

    @property
    def size(self) -> float | None:
        """What sets its size: a width, a share of the filters or a factor; None where nobody knows."""
        return next(
            (self.options[name] for name in ("hidden", "fraction", "k") if name in self.options), None
        )

    def build(self, image_shape: tuple[int, ...], num_classes: int | None) -> nn.Module:
        """Build the program, with fresh parameters from the ambient generator.

        Args:
            image_shape: Channels, height and width of an image; of other inputs their shape.
            num_classes: Number of classes of the task; None if there are none.

        Returns:
            A ``Bottleneck``, or another module with a model and a guide, as a function of the user's own may return.

        Raises:
            ValueError: If the builder refuses the value of an option, or does not take the option, or returns no
                program, or a function of the user's own one that it has returned before; if it is one of ours, and
                the data are no labelled images.
        """
        if self.own is not None:
            return self._build_own(self.own, image_shape, num_classes)
        if len(image_shape) != 3 or num_classes is None:
            raise ValueError(
                f"--model {self.model} takes images [N, C, H, W] with whole numbers as labels, and these are inputs "
                f"of shape {list(image_shape)}{' without labels' * (num_classes is None)}; name {OWN}"
            )
        build = self.builder.load()
        parameters = inspect.signature(build).parameters
        open_ended = any(entry.kind is entry.VAR_KEYWORD for entry in parameters.values())
        shapes = {"image_shape": image_shape, "num_classes": num_classes}
        arguments = {**self.options, **self.builder.fixed}
        unknown = [name for name in arguments if name not in parameters and not open_ended]
        if unknown:
            raise ValueError(
                f"{self.builder.path} has no {', '.join(unknown)}; its options are {[*parameters]}"
            )
        return build(**arguments, **{name: value for name, value in shapes.items() if name in parameters})

    def _build_own(
        self, own: OwnFunction, image_shape: tuple[int, ...], num_classes: int | None
    ) -> nn.Module:
        from ib_pyro.training.programs import as_program
        from ib_pyro.training.randomness import seeded

        offered: dict[str, Any] = {"image_shape": image_shape}
        if num_classes is not None:
            offered["num_classes"] = num_classes

        def build() -> nn.Module:
            found = call_with_options(
                own.load(), offered, self.model_options or {}, called=str(own), option="--model-options"
            )
            try:
                return as_program(found)
            except TypeError as error:
                told = str(error).removeprefix("program: ")
                raise ValueError(f"{own}: {told.replace('pass', 'return')}") from error

        program = build()
        with seeded(0):
            _require_new(build(), program, own)
        return program

    def _check_effects(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if entry.name == "model" or value == entry.default or entry.name in self.options:
                continue
            if entry.name == "atom" and self.variant == "authors":
                raise ValueError(f"--atom {value} is what --variant authors does anyway; leave it out")
            kinds = [kind for kind, noise in NOISES.items() if entry.name in noise.every]
            if self.own is not None:
                raise ValueError(
                    f"{flag(entry.name)} {value} has no effect with {self.own}, which is given its arguments by "
                    f"--model-options, as in --model-options {entry.name}={value}"
                )
            if entry.name == "model_options":
                raise ValueError(
                    f"--model-options {shown(value)} has no effect with --model {self.model}, whose options are "
                    f"{', '.join(flag(name) for name in self.options)}; it goes with {OWN}"
                )
            if kinds:
                here, other = f"{flag(self.builder.noise or 'dropout')} {self.noise}", "dropout"
            else:
                here, other = f"--model {self.model}", "model"
                kinds = [name for name, builder in PROGRAMS.items() if entry.name in builder.options]
            raise ValueError(
                f"{flag(entry.name)} {value} has no effect with {here}; it goes with {flag(other)} "
                f"{' or '.join(kinds)}"
            )


def _require_new(again: nn.Module, program: nn.Module, own: OwnFunction) -> None:
    """Raise if a function returns what it has returned before: the second run would begin with what the first learned.

    What does not learn may be the same: parameters of a network that was trained before, and constants. Buffers of a
    module that is itself the same are not, since batch norm, for one, writes to them.
    """
    parameters, modules = set(map(id, program.parameters())), set(map(id, program.modules()))
    shared = [name for name, p in again.named_parameters() if p.requires_grad and id(p) in parameters]
    for path, module in again.named_modules():
        if id(module) in modules:
            shared += [f"{path}.{name}" for name, _ in module.named_buffers(recurse=False)]
    if shared:
        raise ValueError(
            f"{own} returns the same {shared[0]} each time it is called, and each run needs one of its own, drawn "
            "under its seed; make it within the function"
        )

"""Whether a program can be evaluated for many particles at once, which gives z dimensions in front of the batch's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _NormBase

from ib_pyro.handlers import noise_off, unwrap

__all__ = ["Evaluation", "evaluation_mode", "random_state_kept", "require_particles_fit"]

# What takes dimensions counted from the left for its own, whatever numbers come out.
COUNTS_FROM_THE_LEFT = (_NormBase, nn.GroupNorm, nn.RNNBase)
PARTICLES = 2


class Evaluation(NamedTuple):
    """One evaluation of a program: the value of each layer, the law it is drawn from, and the decoder's output."""

    values: Mapping[str, Tensor]
    laws: Mapping[str, Distribution]
    output: object


def require_particles_fit(program: nn.Module, evaluate: Callable[[], Evaluation]) -> None:
    """Raise unless every particle of a vectorised evaluation is what it would be on its own.

    A module that takes the second dimension from the left for the channels, or averages over the first, is right for
    ``[batch, ...]`` and wrong for ``[particles, batch, ...]``, sometimes without an error. The program is evaluated
    twice in evaluation mode, as it is and with the same values for two particles; nothing of it changes.

    Args:
        program: The program, for its modules and their names.
        evaluate: Runs encoder and decoder.

    Raises:
        ValueError: If a part is given the dimension of the particles and does not leave it alone; names the part.
    """
    with torch.no_grad(), random_state_kept(program), evaluation_mode(program), poutine.block():
        # Checks of shapes would take the plates outside into account, which do not matter here.
        with pyro.validation_enabled(False):
            with noise_off(), _dimensions_of_inputs(program) as alone:
                one = evaluate()
            with _values_for_particles(one.values), _dimensions_of_inputs(program) as together:
                try:
                    several = evaluate()
                except Exception as error:  # whatever a module makes of a shape that it was not made for
                    raise ValueError(_describe(_path_of(program, list(together)[-1]), error)) from error
    for module, dims in together.items():
        if isinstance(module, COUNTS_FROM_THE_LEFT) and dims > alone.get(module, dims):
            raise ValueError(_describe(_path_of(program, module)))
    for name, law in one.laws.items():
        if not _are_repeated(_parameters_of(law), _parameters_of(several.laws[name])):
            raise ValueError(_describe(f"site {name!r}, through its layer or what is before it"))
    if not _is_repeated(one.output, several.output):
        raise ValueError(_describe("decoder"))


def _describe(where: str, error: Exception | None = None) -> str:
    reason = f" ({(str(error).splitlines() or [type(error).__name__])[0]})" if error is not None else ""
    return (
        f"{where}: vectorised particles give z a dimension in front of the batch's, which this part of the program "
        f"does not leave alone{reason}; evaluate particles one by one, with vectorize_particles=False (for "
        "pyro.infer.Predictive, parallel=False)"
    )


class _values_for_particles(Messenger):  # noqa: N801  (handlers read as verbs, as Pyro's do)
    """Give every layer's site the same value for all particles. A layer's site is the next of the values in order."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._remaining = list(values.values())

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if "layer" in msg["infer"] and self._remaining:
            value = self._remaining.pop(0)
            msg["value"], msg["done"] = value.expand(PARTICLES, *value.shape), True


@contextmanager
def _dimensions_of_inputs(program: nn.Module) -> Iterator[dict[nn.Module, int]]:
    """Note how many dimensions the first input of each module has, in the order of the calls."""
    found: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[object, ...]) -> None:
        dims = next((value.dim() for value in inputs if isinstance(value, Tensor)), 0)
        found[module] = max(dims, found.pop(module, 0))

    hooks = [module.register_forward_pre_hook(note) for module in program.modules()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluation_mode(program: nn.Module) -> Iterator[None]:
    """Switch off what changes buffers or draws masks, and put every module's own mode back afterwards."""
    training = [module for module in program.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def random_state_kept(program: nn.Module) -> Iterator[None]:
    """Put the random generators of a program's devices back afterwards."""
    devices = {p.device for p in program.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices):
        yield


def _path_of(program: nn.Module, module: nn.Module) -> str:
    return next((path for path, other in program.named_modules() if other is module), "") or "the program"


def _parameters_of(law: Distribution) -> list[Tensor]:
    law = unwrap(law)
    found = (law.__dict__.get(name) for name in law.arg_constraints)
    return [value for value in found if isinstance(value, Tensor)]


def _are_repeated(one: list[Tensor], several: list[Tensor]) -> bool:
    return len(one) == len(several) and all(map(_is_repeated, one, several))


def _is_repeated(one: object, several: object) -> bool:
    """Whether a value is the other one for each particle, or does not depend on the particles."""
    if isinstance(one, tuple | list) and isinstance(several, tuple | list):
        return len(one) == len(several) and all(map(_is_repeated, one, several))
    if not isinstance(one, Tensor) or not isinstance(several, Tensor):
        return True
    if several.shape not in (one.shape, (PARTICLES, *one.shape)):
        return False
    if not one.is_floating_point():
        return bool((several == one).all())
    size = one.detach().abs().max().item() if one.numel() else 0.0
    tolerance = 50 * torch.finfo(one.dtype).eps ** 0.75
    return torch.allclose(several, one.expand(several.shape), tolerance, tolerance * size, equal_nan=True)

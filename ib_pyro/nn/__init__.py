"""Stochastic layers: each emits one latent site."""

from typing import TYPE_CHECKING, Any

from ib_pyro.nn.additive_normal import AdditiveNormal
from ib_pyro.nn.binary_dropout import BinaryDropout
from ib_pyro.nn.concrete_dropout import ConcreteDropout
from ib_pyro.nn.constant_dropout import ConstantDropout
from ib_pyro.nn.gaussian_dropout import GaussianDropout
from ib_pyro.nn.information_dropout import InformationDropout
from ib_pyro.nn.insertion import Insertion
from ib_pyro.nn.places import Place
from ib_pyro.nn.stochastic import StochasticLayer

if TYPE_CHECKING:
    from ib_pyro.inserted import insert

__all__ = [
    "AdditiveNormal",
    "BinaryDropout",
    "ConcreteDropout",
    "ConstantDropout",
    "GaussianDropout",
    "InformationDropout",
    "Insertion",
    "Place",
    "StochasticLayer",
    "insert",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (what the module has)
    """Import the maker of programs when it first is looked at: programs are built on layers."""
    if name == "insert":
        from ib_pyro.inserted import insert

        return insert
    raise AttributeError(f"module 'ib_pyro.nn' has no attribute {name!r}; it has {sorted(__all__)}")

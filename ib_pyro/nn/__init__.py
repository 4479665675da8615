"""Stochastic layers: each emits one latent site."""

from ib_pyro.nn.additive_normal import AdditiveNormal
from ib_pyro.nn.binary_dropout import BinaryDropout
from ib_pyro.nn.constant_dropout import ConstantDropout
from ib_pyro.nn.gaussian_dropout import GaussianDropout
from ib_pyro.nn.information_dropout import InformationDropout
from ib_pyro.nn.insertion import Insertion, insert
from ib_pyro.nn.places import Place
from ib_pyro.nn.stochastic import StochasticLayer

__all__ = [
    "AdditiveNormal",
    "BinaryDropout",
    "ConstantDropout",
    "GaussianDropout",
    "InformationDropout",
    "Insertion",
    "Place",
    "StochasticLayer",
    "insert",
]

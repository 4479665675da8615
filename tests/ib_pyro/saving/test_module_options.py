"""Options of a program's modules that a file must agree with: mappings and numbers of NumPy too."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn

import ib_pyro
from ib_pyro import Bottleneck, likelihoods
from ib_pyro.nn import InformationDropout
from ib_pyro.saving.module_options import options_of


def heads(likelihood):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 1)

        def forward(self, z):
            return {"a": self.a(z), "b": self.b(z).squeeze(-1)}

    return Bottleneck(InformationDropout.linear(4, 3), Two(), likelihood=likelihood)


def test_likelihoods_of_several_heads_are_compared(tmp_path):
    path = tmp_path / "program.safetensors"
    ib_pyro.save(heads({"a": "categorical", "b": "normal"}), path)
    ib_pyro.load(path, into=heads({"a": "categorical", "b": "normal"}))
    with pytest.raises(
        ValueError, match=r"likelihood is .*'b': 'normal'} in the file and .*'b': 'poisson'} in the"
    ):
        ib_pyro.load(path, into=heads({"a": "categorical", "b": "poisson"}))
    # A function is none that a file could hold; the names beside it are.
    ib_pyro.save(heads({"a": likelihoods.categorical, "b": "normal"}), path)
    ib_pyro.load(path, into=heads({"a": likelihoods.categorical, "b": "normal"}))
    with pytest.raises(ValueError, match=r"likelihood is {'b': 'normal'} in the file"):
        ib_pyro.load(path, into=heads({"a": likelihoods.categorical, "b": "poisson"}))


def test_options_that_are_numbers_of_numpy_or_mappings_are_compared(tmp_path):
    def build(**options):
        program = heads({"a": "categorical", "b": "normal"})
        for name, value in options.items():
            setattr(program.decoder, name, value)
        return program

    path = tmp_path / "program.safetensors"
    cache = {"cache": {"calls": torch.ones(1)}, "parts": [{"f": len}]}
    ib_pyro.save(build(scale=np.float32(0.5), how={"depth": 2, "sizes": (1, 2)}, **cache), path)
    ib_pyro.load(path, into=build(scale=0.5, how={"depth": 2, "sizes": [1, 2]}, cache={}))
    with pytest.raises(ValueError, match=r"decoder\.scale is 0\.5 in the file and 0\.25"):
        ib_pyro.load(path, into=build(scale=np.float32(0.25)))
    with pytest.raises(ValueError, match=r"decoder\.how is {'depth': 2"):
        ib_pyro.load(path, into=build(scale=0.5, how={"depth": 3, "sizes": [1, 2]}))


class Counting(dict):
    """A mapping that counts how often what it holds is read."""

    reads = 0

    def __getitem__(self, key):
        self.reads += 1
        return super().__getitem__(key)

    def items(self):
        self.reads += 1
        return super().items()


def test_what_is_data_is_no_option():
    module = nn.Linear(2, 2)
    module.vocabulary = Counting({f"token {i}": i for i in range(1000)})
    module.file = MappingProxyType({"a": 1})
    module.few = {"a": 1}
    assert options_of({"": module})[""]["options"].keys() >= {"few"}
    assert not options_of({"": module})[""]["options"].keys() & {"vocabulary", "file"}
    assert module.vocabulary.reads == 0

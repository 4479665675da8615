"""Lightning is an extra: what needs one device needs none of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ib_pyro import fit
from ib_pyro.training import OneDevice

ROOT = Path(__file__).parents[3]

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"lightning", "pytorch_lightning", "lightning_fabric", "tensorboard", "yaml"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import torch
from torch import nn
import ib_pyro
from ib_pyro.nn import InformationDropout

program = ib_pyro.Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
x, y = torch.rand(30, 4), torch.randint(2, (30,))
found = ib_pyro.fit(program, (x, y), epochs=3, beta=0.1, validation=(x, y), patience=2, progress=False)
assert found.epochs == 3 and len(found.history) == 3
assert ib_pyro.evaluate(program, (x, y)).error_deterministic is not None
assert not [name for name in sys.modules if name.startswith("lightning")]
"""


def test_fit_and_evaluate_do_without():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_one_device_gives_the_numbers_of_fabric(stripes, build):
    fabrics = pytest.importorskip("lightning.fabric")
    states = []
    for devices in (OneDevice("cpu"), fabrics.Fabric(accelerator="cpu", devices=1)):
        program = build()
        torch.manual_seed(5)
        order = torch.Generator().manual_seed(1)
        fit(program, stripes, epochs=2, beta=0.1, order=order, fabric=devices, progress=False)
        states.append(program.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

"""The memory of a large export, on real images."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
from collections import OrderedDict
from torch import nn
from ib_pyro import Bottleneck, to_arviz
from ib_pyro.data import load
from ib_pyro.nn import InformationDropout

test = load("mnist", "test", root=sys.argv[1])
layers = OrderedDict(input=nn.Flatten(), z1=InformationDropout.linear(784, 64, batch_norm=True))
program = Bottleneck(nn.Sequential(layers), nn.Linear(64, 10)).eval()
result = to_arviz(program, test.x, test.y, num_samples=100, sites=["z1"], path=sys.argv[2])
assert result["posterior"]["z1"].shape == (1, 100, 10_000, 64)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux alone")
def test_ten_thousand_images_by_a_hundred_draws_stay_under_a_gigabyte_and_a_half(
    mnist_root: Path, tmp_path: Path
):
    command = [sys.executable, "-c", PROGRAM, str(mnist_root), str(tmp_path / "z1.zarr")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) * 1024 < 1.5e9

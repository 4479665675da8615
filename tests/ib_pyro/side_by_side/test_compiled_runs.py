"""Runs side by side whose recording is compiled have the numbers that each has alone, or are refused."""

import pyro
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, sweep
from ib_pyro.nn import BinaryDropout, InformationDropout
from ib_pyro.side_by_side import Run, VectorizationError, train_side_by_side

RUNS = [Run(beta=b, seed=s) for b, s in ((0.01, 0), (0.1, 0), (0.5, 3))]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["own", "shared"])
def test_compiled_runs_have_the_numbers_of_single_ones(order, make, data, same):
    found = train_side_by_side(make, data, RUNS, epochs=3, batch_size=8, order=order, compile=True)
    assert found.not_replayed is None
    assert not found.diverged
    same(found, make, data, **({"order_seed": 0} if order == "shared" else {}))


def test_what_is_drawn_from_what_is_computed_is_not_compiled(make, data):
    def noisy():
        return Bottleneck(
            nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.3), BinaryDropout.linear(5, 4)), nn.Linear(4, 3)
        ).double()

    with pytest.raises(VectorizationError, match=r"compile=True: the program draws by .*do without compile"):
        train_side_by_side(noisy, data, RUNS, epochs=1, batch_size=8, compile=True)


def test_without_a_compiler_it_is_refused_by_name(make, data):
    import torch._inductor.config as inductor

    state = torch.get_rng_state()
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}),
        pytest.raises(VectorizationError, match=r"needs a compiler for C\+\+"),
    ):
        train_side_by_side(make, data, RUNS, epochs=1, batch_size=8, compile=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_compile_goes_with_a_recording(make, data):
    with pytest.raises(ValueError, match="compile=True compiles a recording, and replay='off' makes none"):
        train_side_by_side(make, data, RUNS, epochs=1, batch_size=8, compile=True, replay="off")


def test_runs_that_are_trained_one_by_one_are_not_compiled(data):
    """A sweep that may choose leaves it out where the runs cannot be one computation."""

    class Asks(Bottleneck):
        def model(self, x, y=None):
            return super().model(x if float(x.sum()) > -1e9 else -x, y)

    def asking():
        return Asks(InformationDropout.linear(6, 5), nn.Linear(5, 3)).double()

    pyro.clear_param_store()
    frame = sweep(asking, data, betas=(0.1,), epochs=1, batch_size=8, compile=True)
    assert not frame["vectorized"].any()

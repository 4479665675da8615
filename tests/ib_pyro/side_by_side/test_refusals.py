"""What cannot be trained side by side is refused before the first step, with the reason and the way out."""

import random
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.elbo import CriticTotalCorrelation, MinibatchTotalCorrelation
from ib_pyro.information import DensityRatioCritic
from ib_pyro.nn import BinaryDropout, InformationDropout
from ib_pyro.side_by_side import (
    OptimizerSettings,
    Run,
    SideBySideTraining,
    Streams,
    VectorizationError,
    evaluate_side_by_side,
    train_side_by_side,
)

RUNS = [Run(beta=b) for b in (0.1, 0.2)]
train = partial(train_side_by_side, epochs=1, batch_size=8)


def around(encoder, decoder=None):
    """A program in float64 whose encoder ends in a noisy layer of 5 units."""
    layers = nn.Sequential(encoder, InformationDropout.linear(6, 5, batch_norm=True))
    return Bottleneck(layers, decoder or nn.Linear(5, 3)).double()


class Applies(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


OUTSIDE = nn.Linear(6, 6).double()
GENERATOR = torch.Generator().manual_seed(0)
PROGRAMS = {
    "values": (lambda x: x * 2 if x.sum() > 0 else x, r"looks at a value of a tensor.*torch.where"),
    "a parameter of nobody": (OUTSIDE, "depends on a parameter of shape .* not in the program's modules"),
    "the parameter store": (
        lambda x: x * pyro.param("scale", torch.ones((), dtype=x.dtype)),
        r"pyro.param 'scale': .* share .*nn.Parameter",
    ),
    "a generator of its own": (
        lambda x: x + torch.randn(6, dtype=x.dtype, generator=GENERATOR),
        "from a generator of its own",
    ),
    "a law without a rule": (
        lambda x: x + dist.Gamma(x.exp(), 1.0).rsample(),
        "cannot be run for several at once|not known to come apart",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_do_not_go_side_by_side(name, data):
    function, message = PROGRAMS[name]
    holder = function if name != "a parameter of nobody" else lambda x: OUTSIDE(x)
    with pytest.raises(VectorizationError, match=f"(?s){message}"):
        train(lambda: around(Applies(holder)), data, RUNS)


def test_state_that_differs_elsewhere_than_in_tensors_and_numbers(data):
    count = iter(range(10))

    def make_program():
        shift = [float(next(count))]
        return around(Applies(lambda x: x + shift[0]))

    with pytest.raises(
        VectorizationError, match=r"run beta=0.2, seed=0: .* first loss is another alone than side by side"
    ):
        train(make_program, data, RUNS)


STRUCTURES = {
    "width": (
        {"width": 5},
        {"width": 4},
        r"encoder.features.weight: .* is float64\[5, 6\].* float64\[4, 6\]",
    ),
    "kind": ({"kind": BinaryDropout}, {}, "encoder: the module is BinaryDropout .* InformationDropout"),
    "text": ({"atom": "exact"}, {"atom": "ignore"}, r"encoder.atom is 'exact' in .* and 'ignore' in"),
    "whole numbers": ({"event_dim": 1}, {"event_dim": 2}, "encoder.event_dim is 1 in .* and 2 in"),
    "truth": ({"unit_mean": True}, {}, "encoder.unit_mean is True in .* and False in"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_that_differ(name, data):
    def make_program(width=5, kind=InformationDropout, **options):
        return Bottleneck(kind.linear(6, width, **options), nn.Linear(width, 3)).double()

    *options, message = STRUCTURES[name]
    with pytest.raises(VectorizationError, match=message):
        train(make_program, data, [Run(beta=0.1, seed=s, options=o) for s, o in enumerate(options)])


def test_programs_that_share_a_module(data, make):
    program = make()
    with pytest.raises(VectorizationError, match=r"encoder.0.*weight: two of the programs share it"):
        train(lambda: program, data, RUNS)


def test_a_critic_that_is_trained_alongside(data, make):
    elbo = InformationBottleneckELBO(total_correlation=CriticTotalCorrelation(DensityRatioCritic(5)))
    with pytest.raises(VectorizationError, match="CriticTotalCorrelation has a .*steps of its own"):
        train(make, data, [Run(gamma=0.1), Run(gamma=0.2)], elbo=elbo)


def test_a_space_that_depends_on_values_is_to_be_said(data, make):
    with pytest.raises(VectorizationError, match=r"GaussianTotalCorrelation\(space='identity'\)"):
        train(make, data, [Run(gamma=0.1), Run(gamma=0.2)])


def test_objectives_that_differ_in_more_than_weights(data, make):
    def training(elbos, optimizer):
        return SideBySideTraining(
            [make(), make()],
            elbos,
            data,
            names=["one", "two"],
            streams=Streams.seeded([0, 1]),
            orders=[torch.Generator(), torch.Generator()],
            optimizer=optimizer,
        )

    alike = [InformationBottleneckELBO(b) for b in (0.1, 0.2)]
    for other, what in (
        (InformationBottleneckELBO(0.1, num_particles=2), "num_particles"),
        (InformationBottleneckELBO(0.1, total_correlation=MinibatchTotalCorrelation()), "total_correlation"),
        (InformationBottleneckELBO({"z1": 0.1}), "the sites that beta"),
    ):
        with pytest.raises(VectorizationError, match=f"one and two differ in {what}"):
            training([alike[0], other], [OptimizerSettings()] * 2)
    with pytest.raises(VectorizationError, match=r"beta has shape \(4,\), a weight for each sample"):
        training([InformationBottleneckELBO(torch.ones(4))] * 2, [OptimizerSettings()] * 2)
    with pytest.raises(VectorizationError, match="optimizer: momentum is 0.9 in one run and 0.5 in another"):
        training(alike, [OptimizerSettings(), OptimizerSettings(momentum=0.5)])


def test_arguments(data, make):
    with pytest.raises(ValueError, match="runs is empty"):
        train(make, data, [])
    with pytest.raises(ValueError, match="beta=0.1, seed=0 is there twice; give one another seed"):
        train(make, data, [RUNS[0], RUNS[0]])
    with pytest.raises(ValueError, match="epochs must be at least 1; got 0"):
        train(make, data, RUNS, epochs=0)
    with pytest.raises(ValueError, match="order='owm' is unknown; did you mean 'own'"):
        train(make, data, RUNS, order="owm")
    with pytest.raises(ValueError, match="clip_norm must be positive; got 0"):
        train(make, data, RUNS, clip_norm=0.0)
    with pytest.raises(ValueError, match="lr must be positive and finite; got -1"):
        Run(lr=-1.0)
    with pytest.raises(ValueError, match="beta must be at least 0; got -0.1"):
        train(make, data, [Run(beta=-0.1)])
    with pytest.raises(
        VectorizationError, match="optimizer is a function, and some runs have a learning rate"
    ):
        train(make, data, [Run(lr=0.1)], optimizer=torch.optim.Adam)
    with pytest.raises(ValueError, match="num_samples must be at least 1; got 0"):
        evaluate_side_by_side([make()], data, num_samples=0)


def test_labels_out_of_range_are_refused_in_the_usual_words(data, make):
    with pytest.raises(ValueError, match="site 'y': labels reach from .* relabel"):
        train(make, (data[0], data[1] + 1), RUNS)


def test_what_programs_keep_for_themselves_may_differ(data, make):
    programs = [make(), make()]
    programs[1].predict(data[0])
    programs[1].guide(*data)
    assert len(evaluate_side_by_side(programs, data, num_samples=1)) == 2


class GradientTimes(nn.Module):
    """Has a factor that no comparison of attributes sees, and that is 1 but for the gradient."""

    def __init__(self, factor):
        super().__init__()
        self.linear, self._factor = nn.Linear(6, 6), [factor]

    def forward(self, x):
        h = self.linear(x)
        return h + (self._factor[0] - 1) * (h - h.detach())


def test_a_gradient_alone_that_is_another(data):
    runs = [Run(beta=0.1, options={"factor": factor}) for factor in (1.0, 3.0)]
    with pytest.raises(VectorizationError, match="factor=3.0: .* first gradient of encoder.0.linear.weight"):
        train(lambda factor: around(GradientTimes(factor)), data, runs)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x


KEPT = {
    "calls": (Counts, r"each call changes Counts.calls \(2 to 3\), and the runs share the calls"),
    "python": (lambda: Applies(lambda x: x * (1 + random.random())), "draws from Python's random numbers"),
    "numpy": (lambda: Applies(lambda x: x * np.random.rand()), "draws from NumPy's random numbers"),  # noqa: NPY002
}


@pytest.mark.parametrize("name", KEPT)
def test_programs_that_keep_something_else_than_buffers(name, data):
    first, message = KEPT[name]
    with pytest.raises(VectorizationError, match=f"{message}.*train the runs one by one"):
        train(lambda: around(first()), data, RUNS)


def test_particles_at_once_need_to_know_how_plates_are_nested(data, make):
    elbo = InformationBottleneckELBO(num_particles=2, vectorize_particles=True)
    with pytest.raises(
        VectorizationError, match="vectorize_particles=True with 2 particles .*max_plate_nesting="
    ):
        train(make, data, RUNS, elbo=elbo)

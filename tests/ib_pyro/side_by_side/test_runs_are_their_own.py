"""No run of a sweep begins with what another has learned, nor with weights that nobody gave it."""

from copy import deepcopy
from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn

import ib_pyro
from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.elbo import CriticTotalCorrelation
from ib_pyro.information import DensityRatioCritic
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import Run, VectorizationError, train_side_by_side

sweep = partial(ib_pyro.sweep, betas=(0.1,), seeds=(0, 1), epochs=2, batch_size=8)
EITHER_WAY = pytest.mark.parametrize("vectorize", ["auto", False])


def around(first):
    return Bottleneck(nn.Sequential(first, InformationDropout.linear(6, 5)), nn.Linear(5, 3)).double()


def numbers_of(frame):
    return frame.select_dtypes("number")


@EITHER_WAY
def test_a_program_that_is_built_once_is_refused(vectorize, data, make):
    program = make()
    with pytest.raises(ValueError, match=r"weight: the programs of the runs .*seed=0 and .*seed=1 share it"):
        sweep(lambda: program, data, vectorize=vectorize)
    with pytest.raises(VectorizationError, match="two of the programs share it"):
        sweep(lambda: program, data, vectorize=True)


@EITHER_WAY
@pytest.mark.parametrize(
    "learns",
    [nn.Linear(6, 6), nn.BatchNorm1d(6, affine=False)],
    ids=["parameters", "running statistics"],
)
def test_a_part_that_is_built_once_and_changes_is_refused(learns, vectorize, data):
    with pytest.raises(ValueError, match=r"encoder\.0\..*share it, and the first has changed it"):
        sweep(lambda: around(learns), data, vectorize=vectorize)


@EITHER_WAY
def test_a_part_that_stays_as_it_is_may_be_shared(vectorize, data):
    """Each row is that of a sweep of this run alone, to the last digit."""
    torch.manual_seed(0)
    learned = nn.Linear(6, 6).requires_grad_(False)
    rows = numbers_of(sweep(lambda: around(learned), data, vectorize=vectorize))
    alone = [sweep(lambda: around(learned), data, seeds=[s], vectorize=False) for s in (0, 1)]
    pd.testing.assert_frame_equal(rows, numbers_of(pd.concat(alone, ignore_index=True)), rtol=0, atol=0)


@EITHER_WAY
def test_runs_may_begin_with_copies_of_a_program(vectorize, data, make):
    program = make()
    before = deepcopy(program.state_dict())
    frame = sweep(lambda: deepcopy(program), data, seeds=(0, 0x5EED), vectorize=vectorize)
    assert frame["rate"].nunique() == 2
    assert all(torch.equal(before[name], value) for name, value in program.state_dict().items())


@pytest.mark.parametrize("vectorize", [True, False])
def test_a_model_and_a_guide_are_a_program(vectorize, data, make):
    def pair():
        program = make()
        return program.model, program.guide

    frame = sweep(pair, data, vectorize=vectorize, validation=data)
    same = sweep(make, data, vectorize=vectorize, validation=data)
    pd.testing.assert_frame_equal(numbers_of(frame), numbers_of(same), rtol=1e-12)


@pytest.mark.parametrize(
    ("makes", "message"),
    [
        (lambda make: make(), "make_program: a Bottleneck builds no programs.*lambda"),
        (lambda _: "mlp", "make_program: a str builds no programs"),
        (lambda _: lambda: None, r"make_program\(\): a NoneType is no program; pass an ib_pyro.Bottleneck"),
        (lambda _: lambda: nn.Linear(6, 3), r"make_program\(\): a Linear has no model and guide"),
    ],
    ids=["program", "name", "nothing", "network"],
)
@EITHER_WAY
def test_what_makes_no_programs(makes, message, vectorize, data, make):
    with pytest.raises(TypeError, match=message):
        sweep(makes(make), data, vectorize=vectorize)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"betas": 0.1}, r"betas: expected several, as in \[0\.1\]; got 0\.1"),
        ({"betas": torch.tensor(0.1)}, "betas: expected several"),
        ({"betas": {"z1": 0.1}}, "betas: expected several.*z1"),
        ({"seeds": 3}, r"seeds: expected several, as in \[0\]; got 3"),
        ({"ephocs": 3}, r"sweep\(\) got an unexpected keyword argument 'ephocs'; did you mean epochs"),
        ({"optimiser": "sgd"}, r"unexpected keyword argument 'optimiser'; did you mean optimizer"),
    ],
)
@EITHER_WAY
def test_what_is_no_grid(how, message, vectorize, data, make):
    with pytest.raises(TypeError, match=message):
        sweep(make, data, vectorize=vectorize, **how)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"epochs": 1.5}, ValueError, "epochs must be a whole number, at least 1; got 1.5"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
        ({"elbo": "iwae"}, TypeError, "elbo: expected an InformationBottleneckELBO.*got 'iwae'"),
    ],
)
@EITHER_WAY
def test_what_is_no_length_or_objective(how, error, message, vectorize, data, make):
    with pytest.raises(error, match=message):
        sweep(make, data, vectorize=vectorize, **how)


@pytest.mark.parametrize("betas", [iter([0.1, 0.2]), torch.tensor([0.1, 0.2]), pd.Series([0.1, 0.2])])
def test_what_is_a_grid(betas, data, make):
    assert sweep(make, data, betas=betas)["beta"].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2])


class TestWeights:
    @pytest.mark.parametrize("vectorize", [True, False])
    def test_a_sweep_keeps_the_gamma_of_its_objective(self, vectorize, data, make):
        elbo = InformationBottleneckELBO(gamma=0.3, total_correlation="minibatch-stratified")
        frame = sweep(make, data, elbo=elbo, vectorize=vectorize)
        runs = [Run(beta=0.1, gamma=0.3, seed=seed) for seed in (0, 1)]
        same = train_side_by_side(make, data, runs, epochs=2, batch_size=8, elbo=elbo).table
        assert (frame["gamma"] == 0.3).all()
        pd.testing.assert_frame_equal(numbers_of(frame), numbers_of(same)[list(numbers_of(frame))], rtol=1e-9)
        without = sweep(make, data, vectorize=vectorize)
        assert not (frame["rate"] == without["rate"]).any()

    @pytest.mark.parametrize(
        ("weights", "run"),
        [
            ({"beta": 0.2}, Run(beta=0.1)),
            ({"beta": {"z1": 0.2}}, Run(beta={"z1": 0.1})),
            ({"beta": torch.tensor([0.1, 0.2])}, Run(beta=0.1)),
            ({"gamma": 0.2}, Run(beta=0.1)),
            ({"gamma": {"z1": 0.2}}, Run(beta=0.1, gamma=0.2)),
        ],
    )
    def test_weights_that_no_run_has_are_refused(self, weights, run, data, make):
        [name] = weights
        elbo = InformationBottleneckELBO(**weights)
        with pytest.raises(ValueError, match=f"elbo: {name}=.* stands in it, and {name}=.* in the run beta"):
            train_side_by_side(make, data, [run], epochs=1, batch_size=8, elbo=elbo)

    def test_weights_that_the_runs_have_as_well_are_no_others(self, data, make):
        elbo = InformationBottleneckELBO({"z1": torch.tensor(0.5)})
        runs = [Run(beta={"z1": 0.5}), Run(beta={"z1": 0.5}, seed=1)]
        assert len(train_side_by_side(make, data, runs, epochs=1, batch_size=8, elbo=elbo).table) == 2
        with pytest.raises(ValueError, match=r"elbo: beta=0\.2 stands in it"):
            sweep(make, data, elbo=InformationBottleneckELBO(0.2), vectorize=False)

    @EITHER_WAY
    def test_a_critic_is_of_one_run(self, vectorize, data, make):
        critic = CriticTotalCorrelation(DensityRatioCritic(5))
        elbo = InformationBottleneckELBO(gamma=0.1, total_correlation=critic)
        with pytest.raises(ValueError, match=r"steps of its own.*fit each run alone, by ib_pyro\.fit"):
            sweep(make, data, elbo=elbo, vectorize=vectorize)

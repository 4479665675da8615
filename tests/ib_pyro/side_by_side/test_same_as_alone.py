"""Runs side by side have the numbers that each has alone: parameters, statistics, means, noise and order."""

from functools import partial
from types import SimpleNamespace

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.distributions.transforms import affine_coupling
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.capture.recording import record
from ib_pyro.elbo import (
    Capacity,
    CapacityELBO,
    FreeBitsELBO,
    GaussianTotalCorrelation,
    ImportanceWeightedELBO,
)
from ib_pyro.elbo.schedules import linear_warm_up
from ib_pyro.nn import (
    AdditiveNormal,
    BinaryDropout,
    ConcreteDropout,
    ConstantDropout,
    GaussianDropout,
    InformationDropout,
)
from ib_pyro.priors import FlowPrior, MixturePrior, VampPrior
from ib_pyro.side_by_side import (
    Run,
    VectorizationError,
    evaluate_side_by_side,
    lagrangians,
    train_side_by_side,
)
from ib_pyro.side_by_side.run_objectives import Objectives

RUNS = [Run(beta=b, seed=s) for b, s in ((0.0, 0), (0.1, 0), (0.5, 3))]
SOFTPLUS = {"activation": "softplus", "prior": "log-normal"}
KINDS = {
    "information": partial(InformationDropout.linear, batch_norm=True),
    "softplus": partial(InformationDropout.linear, batch_norm=True, **SOFTPLUS),
    "binary": partial(BinaryDropout.linear, batch_norm=True),
    "gaussian": partial(GaussianDropout.linear, batch_norm=True),
    "constant": partial(ConstantDropout.linear, batch_norm=True),
    "additive": AdditiveNormal.linear,
}
train = partial(train_side_by_side, epochs=3, batch_size=8)


@pytest.mark.parametrize("replay", ["off", "on"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_noise(kind, replay, data, same):
    def make_program():
        layers = nn.Sequential(KINDS[kind](6, 5), KINDS[kind](5, 4))
        return Bottleneck(layers, nn.Linear(4, 3)).double()

    found = train(make_program, data, RUNS, replay=replay)
    assert not found.diverged
    assert (found.not_replayed is None) == (replay == "on")
    same(found, make_program, data)


PRIORS = {
    "mixture": lambda: MixturePrior(5, 3),
    "flow": lambda: FlowPrior(5, [affine_coupling(5, [4])]),
    "pseudo-inputs": lambda: VampPrior(torch.randn(4, 6)),
}


@pytest.mark.parametrize("replay", ["off", "on"])
@pytest.mark.parametrize("name", PRIORS)
def test_priors_whose_rate_is_taken_at_the_draw(name, replay, data, same):
    def make_program():
        layer = AdditiveNormal.linear(6, 5, prior=PRIORS[name]())
        return Bottleneck(nn.Sequential(layer), nn.Linear(5, 3)).double()

    elbo = InformationBottleneckELBO(on_no_closed_form="monte-carlo")
    runs = [Run(beta=b, seed=s, lr=0.01) for b, s in ((0.1, 0), (0.5, 3))]
    found = train(make_program, data, runs, replay=replay, elbo=elbo)
    assert (found.not_replayed is None) == (replay == "on")
    same(found, make_program, data, elbo=elbo)


def test_the_importance_weighted_bound_with_one_of_its_gradients(data, same):
    def make_program():
        return Bottleneck(AdditiveNormal.linear(6, 5), nn.Linear(5, 3)).double()

    runs = [Run(beta=1.0, seed=s, lr=0.01) for s in (0, 3)]
    elbo = ImportanceWeightedELBO(3)
    same(train(make_program, data, runs, elbo=elbo, replay="on"), make_program, data, elbo=elbo)
    with pytest.raises(VectorizationError, match='gradient="dreg" differentiates within the loss'):
        train(make_program, data, runs, elbo=ImportanceWeightedELBO(3, gradient="dreg"))
    with pytest.raises(ValueError, match="beta is 0.5"):
        train(make_program, data, [Run(beta=0.5)], elbo=elbo)


@pytest.mark.parametrize("per", ["unit", "sample"])
def test_gates_and_nats_that_are_free_for_a_part(per, data, same):
    def make_program():
        return Bottleneck(ConcreteDropout.linear(6, 5), nn.Linear(5, 3), conditional=True).double()

    elbo = FreeBitsELBO(0.1 if per == "unit" else 0.6, per=per)
    runs = [Run(beta=b, seed=s) for b, s in ((0.1, 0), (0.5, 3))]
    same(train(make_program, data, runs, elbo=elbo), make_program, data, elbo=elbo)
    with pytest.raises(VectorizationError, match="what has the nats of a penalty for free"):
        Objectives([elbo, FreeBitsELBO(0.1)], ["a", "b"], torch.zeros(()))


@pytest.mark.parametrize("replay", ["off", "on"])
def test_a_convolutional_network_with_masks_of_dropout(replay, same):
    def make_program():
        encoder = nn.Sequential(
            nn.Dropout(0.2),
            InformationDropout.conv2d(2, 4, 3, 2, padding=1, batch_norm=True),
            nn.Dropout(0.5),
        )[:2]
        decoder = nn.Sequential(
            nn.Conv2d(4, 5, 3),
            nn.BatchNorm2d(5, affine=False),
            nn.ReLU(),
            nn.Dropout2d(0.3),
            nn.Flatten(),
            nn.Linear(20, 3),
        )
        return Bottleneck(encoder, decoder).double()

    data = torch.rand(20, 2, 8, 8, dtype=torch.float64), torch.arange(20) % 3
    found = train(make_program, data, RUNS, replay=replay, optimizer="adam", lr=0.01)
    same(found, make_program, data, optimizer=lambda p, run: torch.optim.Adam(p, lr=0.01))


def test_an_autoencoder_of_images_that_are_drawn_anew(same):
    def make_program():
        encoder = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), AdditiveNormal.linear(5, 2))
        decoder = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 6))
        return Bottleneck(encoder, decoder, likelihood="bernoulli").double()

    def binarised(x, _y):
        drawn = torch.bernoulli(x)
        return drawn, drawn

    def alone(x, y):
        drawn = binarised(x, y)[0].double()
        return drawn, drawn

    # In single precision, in which the draws are others than in double.
    x = torch.rand(28, 6)
    found = train(make_program, (x, x), RUNS, replay="on", transform=binarised, optimizer="adam")
    same(
        found,
        make_program,
        (x, x),
        transform=alone,
        optimizer=lambda p, run: torch.optim.Adam(p, lr=1e-3),
    )


STRENGTHS = {
    "drop_prob": (BinaryDropout, [0.1, 0.5]),
    "alpha": (ConstantDropout, [0.3, 0.7]),
    "alpha_of_gaussian": (GaussianDropout, [0.3, 0.7]),
    "alpha_max": (InformationDropout, [0.4, 0.9]),
    "gate": (InformationDropout, [0.5, 0.9]),
}


@pytest.mark.parametrize("replay", ["off", "on"])
@pytest.mark.parametrize("name", STRENGTHS)
def test_strengths_of_the_noise(name, replay, data, make, same):
    kind, values = STRENGTHS[name]
    option = name.removesuffix("_of_gaussian")
    runs = [Run(beta=0.1, options={option: value}) for value in values]
    make_program = partial(make, kind)
    same(train(make_program, data, runs, replay=replay), make_program, data)


OPTIMISERS = {
    "sgd": ({"momentum": 0.0}, lambda p, run: torch.optim.SGD(p, lr=run.lr or 0.07)),
    "nesterov": (
        {"nesterov": True, "weight_decay": 0.01, "lr": 0.02},
        lambda p, run: torch.optim.SGD(p, lr=run.lr or 0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adam": (
        {"optimizer": "adam", "weight_decay": 0.01, "lr": 0.02},
        lambda p, run: torch.optim.Adam(p, lr=run.lr or 0.02, weight_decay=0.01),
    ),
}


@pytest.mark.parametrize("own", [False, True], ids=["one rate", "own rates"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers(name, own, data, make, same):
    options, optimizer = OPTIMISERS[name]
    runs = [Run(beta=0.1, seed=s, lr=lr if own else None) for s, lr in ((0, 0.01), (1, 0.05), (2, None))]
    same(train(make, data, runs, **options), make, data, optimizer=optimizer)


def test_an_optimiser_that_is_made_by_a_function(data, make, same):
    def rprop(parameters, run=None):
        return torch.optim.Rprop(parameters, lr=0.01)

    same(train(make, data, RUNS, optimizer=rprop), make, data, optimizer=rprop)


def test_gradients_are_clipped_run_by_run(data, make, same):
    def clip(epoch, elbo, optimizer, program):
        norms.append(float(nn.utils.clip_grad_norm_(program.parameters(), 0.8)))

    norms = []
    same(train(make, data, RUNS, clip_norm=0.8), make, data, before_step=clip)
    assert min(norms) < 0.8 < max(norms)


def test_schedules_of_beta_and_of_the_learning_rate(data, make, same):
    def share(epoch):
        return linear_warm_up(epoch, target=1.0, warm_up=2)

    def factor(epoch):
        return 0.1 if epoch >= 2 else 1.0

    runs = [Run(beta=b, seed=s) for b, s in ((0.2, 0), (0.5, 1))]
    found = train(make, data, runs, beta_schedule=share, lr_schedule=factor, replay="on")
    assert found.history["lr"][::2].tolist() == pytest.approx([0.07, 0.07, 0.007])
    for run in runs:

        def moved(epoch, elbo, optimizer, beta=run.beta):
            elbo.beta = share(epoch) * beta
            optimizer.param_groups[0]["lr"] = 0.07 * factor(int(epoch))

        part = SimpleNamespace(runs=[run], programs=found.programs, history=found.history)
        same(part, make, data, before_batch=moved)


def test_weights_of_single_sites_total_correlation_and_a_capacity(data, same):
    def make_program():
        layers = nn.Sequential(KINDS["softplus"](6, 3), KINDS["softplus"](3, 2))
        return Bottleneck(layers, nn.Linear(2, 3)).double()

    options = {
        "total_correlation": GaussianTotalCorrelation(space="log", shrinkage=0.1),
        "penalty": Capacity(2.0),
    }
    elbo = InformationBottleneckELBO(**options)
    runs = [Run(beta={"z1": b, "z2": 0.3}, gamma=g) for b, g in ((0.1, 0.2), (0.7, 0.5))]
    same(train(make_program, data, runs, elbo=elbo, replay="on"), make_program, data, elbo=elbo)


def test_a_program_of_pyros_own_laws(data, same):
    class Program(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)

        def model(self, x, y=None):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=y)

        def guide(self, x, y=None):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    def make_program():
        return Program().double()

    # Alone, its model and guide are methods: nothing is learned of what they are made of but their parameters.
    x = data[0]
    runs = [Run(beta=b, seed=s, lr=1e-3) for b, s in ((0.5, 0), (1.0, 1))]
    same(train(make_program, (x, x), runs, replay="on"), make_program, (x, x))


def test_single_precision_to_its_own_rounding(data, same):
    def make_program():
        return Bottleneck(
            nn.Sequential(KINDS["information"](6, 5), KINDS["information"](5, 4)), nn.Linear(4, 3)
        )

    data = data[0].float(), data[1]
    same(train(make_program, data, RUNS, replay="on"), make_program, data, 2e-5)


def test_a_common_order_is_that_of_the_first_run(data, make, same):
    runs = [Run(beta=0.1, seed=s) for s in (4, 1)]
    same(train(make, data, runs, order="shared"), make, data, order_seed=4)


def test_parameters_that_are_not_learned_stay(data, same):
    def make_program():
        program = Bottleneck(KINDS["information"](6, 5), nn.Linear(5, 3)).double()
        program.encoder.features[0].weight.requires_grad_(False)
        return program

    same(train(make_program, data, RUNS), make_program, data)


def test_draws_into_new_tensors(data, same):
    class Shifted(nn.Module):
        def forward(self, x):
            normal, uniform = (torch.empty(x.shape, dtype=x.dtype) for _ in range(2))
            return x + normal.normal_(1.0, std=0.5) + uniform.uniform_(-1.0, 2.0)

    def make_program():
        encoder = nn.Sequential(Shifted(), KINDS["information"](6, 5))
        return Bottleneck(encoder, nn.Linear(5, 3)).double()

    same(train(make_program, data, RUNS), make_program, data)


def test_evaluation_leaves_the_mode_of_training(data, make):
    programs = list(train(make, data, RUNS).programs.values())
    rows = evaluate_side_by_side(programs, data)
    assert evaluate_side_by_side([program.train() for program in programs], data) == rows


@pytest.mark.parametrize("num_samples", [1, 3])
def test_evaluation_has_the_numbers_of_a_program_alone(num_samples, data, make):
    found = train(make, data, RUNS)
    for program in found.programs.values():
        # Far logits, whose mean says something else than that of the probabilities.
        program.decoder.weight.data *= 20
    rows = evaluate_side_by_side(found.programs, data, num_samples=num_samples, batch_size=10, seed=7)
    for row, program in zip(rows, found.programs.values(), strict=True):
        torch.manual_seed(7)
        sums = {}
        for x, y in zip(data[0].split(10), data[1].split(10), strict=True):
            draws = [
                InformationBottleneckELBO(1.0).terms(program.model, program.guide, x, y)
                for _ in range(num_samples)
            ]
            scores = [draw.likelihood["y"].logits for draw in draws]
            wrong = torch.stack([s.softmax(-1) for s in scores]).mean(0).argmax(-1) != y
            parts = {"distortion": draws[0].distortion, "rate": draws[0].rate["z1"]}
            parts |= {"error": scores[0].argmax(-1) != y}
            parts |= {"error_predictive": wrong} if num_samples > 1 else {}
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.sum().item() / 28
        assert {name: row[name] for name in sums} == pytest.approx(sums, rel=1e-9)
        assert ("error_predictive" in row) == (num_samples > 1)


def test_a_weight_that_moves_alike_in_all_runs_is_not_recorded_at_each_step(data, make, monkeypatch):
    recorded = []
    monkeypatch.setattr(lagrangians, "record", lambda *args: recorded.append(args) or record(*args))
    runs = [Run(beta=0.1, seed=s) for s in (0, 1)]
    train(make, data, runs, beta_schedule=lambda epoch: 1.0 + epoch, replay="on")
    # Of whole and of partial batches, with beta as a number in the first step and as a tensor in all others.
    assert len(recorded) == 3


def test_targets_of_a_penalty_may_differ():
    elbos = [CapacityELBO(capacity, 0.1) for capacity in (2.0, 5.0)]
    objectives = Objectives(elbos, ["one", "two"], torch.zeros((), dtype=torch.float64))
    [targets] = objectives.numbers
    assert targets.tolist() == [2.0, 5.0]
    one = objectives.with_numbers([targets[1]])
    assert (float(one.penalty.target), one.beta, elbos[0].penalty.target) == (5.0, 0.1, 2.0)
    elbos[0].capacity = 3.0
    objectives.refresh()
    assert objectives.numbers[0].tolist() == [3.0, 5.0]


DECAYS = {
    "sgd": (
        {"weight_decay": 0.1, "lr": 0.05},
        lambda p, run: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.1),
    ),
    "adam": (
        {"optimizer": "adam", "weight_decay": 0.1, "lr": 0.01},
        lambda p, run: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    ),
    "own": ({"optimizer": lambda p: torch.optim.AdamW(p, 0.01)}, lambda p, run: torch.optim.AdamW(p, 0.01)),
}


@pytest.mark.parametrize("cycles", [False, True])
@pytest.mark.parametrize("name", DECAYS)
def test_what_a_weight_of_zero_leaves_out_takes_no_step(name, cycles, data, same):
    def make_program():
        return Bottleneck(KINDS["softplus"](6, 3), nn.Linear(3, 3)).double()

    def share(epoch):
        return min(1.0, epoch % 2)

    options, optimizer = DECAYS[name]
    runs = [Run(beta=b, seed=s) for b, s in ((0.3, 0), (0.0, 1), (0.5, 2))]
    found = train(make_program, data, runs, beta_schedule=share if cycles else None, **options)
    for run in runs:

        def moved(epoch, elbo, optimizer, beta=run.beta):
            elbo.beta = share(epoch) * beta if cycles else beta

        part = SimpleNamespace(runs=[run], programs=found.programs, history=found.history)
        same(part, make_program, data, optimizer=optimizer, before_batch=moved)


def test_tied_modules_and_particles_at_once(data, same):
    def make_program():
        tied = nn.Linear(6, 6)
        layers = nn.Sequential(tied, nn.Tanh(), tied, InformationDropout.linear(6, 5))
        return Bottleneck(layers, nn.Linear(5, 3)).double()

    def with_tied_weights():
        program = Bottleneck(KINDS["information"](6, 6), nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3)))
        program.decoder[0].weight = program.encoder.noise.weight
        return program.double()

    for make in (make_program, with_tied_weights):
        same(train(make, data, RUNS, replay="on"), make, data)
    elbo = InformationBottleneckELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1)
    same(train(make_program, data, RUNS, replay="on", elbo=elbo), make_program, data, elbo=elbo)

"""The paper's fully connected network with each kind of noise."""

import copy
import pickle
from contextlib import nullcontext

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO, noise_off
from models.mlp import MLP

DROPOUTS = ["information", "binary", "gaussian", "constant", "none"]
SHAPE = (1, 6, 6)


@pytest.fixture
def batch():
    return torch.rand(8, *SHAPE), torch.arange(8) % 10


def make(dropout="information", **options):
    return MLP(16, dropout, SHAPE, **options)


@pytest.mark.parametrize("dropout", DROPOUTS)
def test_the_sites_are_z1_z2_z3_and_y(batch, dropout):
    program = make(dropout)
    latent = [] if dropout == "none" else ["z1", "z2", "z3"]
    assert list(program.stochastic_layers) == latent
    guide = poutine.trace(program.guide).get_trace(*batch)
    assert guide.stochastic_nodes == latent
    model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(*batch)
    assert model.observation_nodes == ["y"]


@pytest.mark.parametrize("dropout", DROPOUTS)
def test_trains_evaluates_and_predicts(batch, dropout):
    program, elbo = make(dropout), InformationBottleneckELBO(beta=0.01)
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    losses = [svi.step(*batch) for _ in range(25)]
    assert losses[-1] < losses[0]
    program.eval()
    for num_samples in (0, 3):
        warns = num_samples == 0 and dropout != "none"
        with pytest.warns(UserWarning, match="learned under it") if warns else nullcontext():
            probabilities = program.predict(batch[0], num_samples=num_samples)
        assert probabilities.shape == (8, 10)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(8))
    assert set(elbo.terms(program.model, program.guide, *batch).rate) == set(program.stochastic_layers)


def test_without_noise_and_rates_it_is_a_network_under_cross_entropy(batch):
    program, twin = make("information"), make("none")
    twin.load_state_dict({k: v for k, v in zip(twin.state_dict(), features_of(program), strict=True)})
    elbo = InformationBottleneckELBO(beta=0.0)
    with noise_off():
        loss = elbo(program.model, program.guide)(*batch)
    logits = twin.decoder(twin.encoder(batch[0]))
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch[1], reduction="sum"))


def features_of(program):
    return [value for name, value in program.state_dict().items() if ".noise." not in name]


@pytest.mark.parametrize(("hidden", "widths"), [(16, [16, 16, 16]), ((8, 12), [8, 12]), ([5], [5])])
def test_widths(batch, hidden, widths):
    program = MLP(hidden, image_shape=SHAPE)
    trace = poutine.trace(program.guide).get_trace(*batch)
    assert [trace.nodes[name]["value"].shape[-1] for name in trace.stochastic_nodes] == widths


def test_softplus_takes_the_log_normal_prior():
    program = make(activation="softplus")
    assert {layer.prior for layer in program.stochastic_layers.values()} == {"log-normal"}
    assert {layer.prior for layer in make().stochastic_layers.values()} == {"log-uniform"}
    chosen = make(activation="softplus", prior="log-uniform")
    assert {layer.prior for layer in chosen.stochastic_layers.values()} == {"log-uniform"}


def test_options_reach_every_layer():
    assert {layer.alpha_max for layer in make(alpha_max=0.3).stochastic_layers.values()} == {0.3}
    assert {layer.drop_prob for layer in make("binary", drop_prob=0.2).stochastic_layers.values()} == {0.2}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_predict_alike(batch, duplicate):
    program = make().eval()
    torch.testing.assert_close(
        duplicate(program).predict(batch[0], num_samples=0), program.predict(batch[0], num_samples=0)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLP(0), "hidden widths must be positive; got 0"),
        (lambda: MLP([]), "hidden widths must be positive"),
        (lambda: MLP([4, -1]), "hidden widths must be positive"),
        (lambda: MLP(dropout="bernoulli"), "dropout='bernoulli' is unknown"),
        (
            lambda: MLP(dropout="binary", prior="log-normal"),
            "prior='log-normal' is an option of information dropout",
        ),
        (lambda: MLP(dropout="none", alpha_max=0.3), "no noise to set"),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_images_of_a_wrong_shape(batch):
    x, y = batch
    with pytest.raises(ValueError, match=r"images have shape \(1, 8, 8\).*image_shape=\(1, 6, 6\)"):
        make().model(F.pad(x, (1, 1, 1, 1)), y)

"""The mixture of the encoder's posteriors at pseudo-inputs: its density, its place in a program, what it refuses."""

import copy
import math
from collections import OrderedDict

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.diagnostics import elementwise_rates
from ib_pyro.nn import AdditiveNormal, InformationDropout, insert
from ib_pyro.priors import VampPrior

ELBO = InformationBottleneckELBO(on_no_closed_form="monte-carlo")
X = torch.rand(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def program(prior, *before, width=2, **options):
    torch.manual_seed(1)
    layer = AdditiveNormal.linear(4, width, prior=prior)
    return Bottleneck(nn.Sequential(*before, layer), nn.Linear(width, 4), "normal", **options).double()


def prior_of(network, x=X):
    trace = poutine.trace(network.model).get_trace(x, x)
    return trace.nodes[next(iter(network.stochastic_layers))]["fn"]


def test_its_density_is_the_mean_of_the_posteriors():
    network = program(VampPrior(X[:3]), nn.Linear(4, 4), nn.Tanh())
    law = network.posteriors(X[:3])["z1"]
    prior, z = prior_of(network), torch.randn(7, 2, dtype=torch.float64)
    assert (prior.batch_shape, prior.event_shape) == ((7,), (2,))
    each = dist.Normal(law.loc, law.scale).log_prob(z[:, None]).sum(-1)
    torch.testing.assert_close(prior.log_prob(z), each.logsumexp(1) - math.log(3))


def test_weights_and_bounds():
    vamp = VampPrior(3 * X[:3] - 1, weighted=True, bounds=(0.0, 1.0)).double()
    network = program(vamp)
    with torch.no_grad():
        vamp.logits.copy_(torch.tensor([0.5, 0.2, 0.3]).log())
    law, z = network.posteriors((3 * X[:3] - 1).clamp(0, 1))["z1"], torch.randn(7, 2, dtype=torch.float64)
    each = dist.Normal(law.loc, law.scale).log_prob(z[:, None]).sum(-1)
    torch.testing.assert_close(prior_of(network).log_prob(z), (each + vamp.logits).logsumexp(1))


def test_the_rate_is_the_integral():
    network = program(VampPrior(X[:3]), width=1)
    with torch.no_grad():
        grid = torch.linspace(-12, 12, 6001, dtype=torch.float64)
        law = network.posteriors(X)["z1"]
        log_p = dist.Normal(law.loc, law.scale).log_prob(grid)
        log_q = log_p[:3].logsumexp(0) - math.log(3)
        expected = (log_p.exp() * (log_p - log_q)).sum(1) * (grid[1] - grid[0])
        many = X.repeat(8000, 1)
        found = ELBO.terms(network.model, network.guide, many, many).rate["z1"].unflatten(0, (8000, 7))
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - expected).abs() < 4.5 * error).all()
    assert (error < 0.01).all()


def test_with_all_data_as_pseudo_inputs_no_rate_exceeds_log_n():
    """A mixture has at least 1/N of each of its components: what z can tell is which of N samples it came from."""
    network = program(VampPrior(X, learned=False))
    with torch.no_grad():
        network.encoder[0].features.weight.mul_(50)
    rate = ELBO.terms(network.model, network.guide, X, X).rate["z1"]
    assert (rate < math.log(7) + 1e-9).all()
    assert rate.max() > 1


def test_gradients_reach_pseudo_inputs_and_encoder_as_by_hand():
    network = program(VampPrior(X[:3]))
    parameters = [*network.parameters()]
    torch.manual_seed(5)
    loss = ELBO.differentiable_loss(network.model, network.guide, X, X)
    found = torch.autograd.grad(loss, parameters)
    law = network.posteriors(X)["z1"]
    torch.manual_seed(5)
    z = law.rsample()
    at = network.posteriors(network.encoder[0].prior.pseudo_inputs)["z1"]
    each = dist.Normal(at.loc, at.scale).log_prob(z[:, None]).sum(-1).logsumexp(1) - math.log(3)
    rate = dist.Normal(law.loc, law.scale).log_prob(z).sum(-1) - each
    by_hand = (rate - dist.Normal(network.decoder(z), 1.0).log_prob(X).sum(-1)).sum()
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(found, torch.autograd.grad(by_hand, parameters))


def test_it_is_saved_and_copied_with_the_program():
    network = program(VampPrior(X[:3]))
    assert "encoder.0.prior.pseudo_inputs" in network.state_dict()
    twin = copy.deepcopy(network)
    z = torch.randn(7, 2, dtype=torch.float64)
    torch.testing.assert_close(prior_of(twin).log_prob(z), prior_of(network).log_prob(z))
    with torch.no_grad():
        twin.encoder[0].prior.pseudo_inputs.add_(1.0)
    assert not torch.allclose(prior_of(twin).log_prob(z), prior_of(network).log_prob(z))
    assert not torch.equal(X[:3], twin.encoder[0].prior.pseudo_inputs)


def test_nothing_of_the_encoder_changes_and_nothing_is_drawn():
    norm = nn.BatchNorm1d(4)
    network = program(VampPrior(X[:3]), nn.Linear(4, 4), norm, nn.Dropout(0.5))
    seen = norm.num_batches_tracked.clone()
    prior_of(network)
    state, mean = torch.get_rng_state(), norm.running_mean.clone()
    network._posteriors_of_pseudo_inputs(network._sites())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(norm.running_mean, mean)
    assert norm.training
    trace = poutine.trace(network.guide).get_trace(X, X)
    before = norm.num_batches_tracked.clone()
    poutine.trace(poutine.replay(network.model, trace=trace)).get_trace(X, X)
    assert norm.num_batches_tracked == before >= seen


def test_the_model_can_be_sampled():
    network = program(VampPrior(X[:3]))
    assert network.model(X).shape == (7, 4)
    draws = Predictive(network.model, num_samples=3)(X)
    assert draws["z1"].shape == (3, 7, 2)


@pytest.mark.parametrize("vectorize", [False, True])
def test_particles(vectorize):
    network = program(VampPrior(X[:3]))
    options = {"num_particles": 300, "vectorize_particles": vectorize, "max_plate_nesting": 1}
    elbo = InformationBottleneckELBO(on_no_closed_form="monte-carlo", **options)
    one = InformationBottleneckELBO(on_no_closed_form="monte-carlo")
    many = X.repeat(300, 1)
    expected = one.terms(network.model, network.guide, many, many).rate["z1"].unflatten(0, (300, 7)).mean(0)
    found = elbo.terms(network.model, network.guide, X, X).rate["z1"]
    torch.testing.assert_close(found, expected, atol=0.15, rtol=0)


def test_the_loss_is_that_of_pyro():
    network, losses = program(VampPrior(X[:3])), []
    for elbo in (ELBO, Trace_ELBO()):
        torch.manual_seed(5)
        losses.append(elbo.differentiable_loss(network.model, network.guide, X, X))
    torch.testing.assert_close(*losses)


def test_captured():
    network = program(VampPrior(X[:3]), nn.Linear(4, 4), nn.BatchNorm1d(4))
    captured = ELBO.capture(network.model, network.guide)
    for seed in (3, 4):
        state = copy.deepcopy(network.state_dict())
        torch.manual_seed(seed)
        expected = ELBO.differentiable_loss(network.model, network.guide, X, X)
        gradients = torch.autograd.grad(expected, [*network.parameters()])
        network.load_state_dict(state)
        network.zero_grad()
        torch.manual_seed(seed)
        assert captured.loss_and_grads(X, X) == pytest.approx(expected.item(), rel=1e-10)
        for p, g in zip(network.parameters(), gradients, strict=True):
            torch.testing.assert_close(p.grad, g)


def test_under_vmap():
    network = program(VampPrior(X[:3]))
    pairs = [dict(program(VampPrior(X[:3] + 0.1 * i)).named_parameters()) for i in range(2)]
    stacked = {
        name: torch.stack([p[name].detach() + 0.1 * i for i, p in enumerate(pairs)]) for name in pairs[0]
    }
    loss = ELBO(network.model, network.guide)
    names = {name: f"model.{name}" for name in stacked}

    def one(values):
        return torch.func.functional_call(loss, {names[n]: v for n, v in values.items()}, (X, X))

    found = torch.vmap(one, randomness="same")
    torch.manual_seed(0)
    together = found(stacked)
    torch.manual_seed(0)
    alone = one({n: v[0] for n, v in stacked.items()})
    torch.testing.assert_close(together[0], alone)


def test_in_a_network_that_exists():
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4)).double()
    layer = AdditiveNormal.after(3, prior=VampPrior(X[:3])).double()
    inserted = insert(network, {"1": layer}, "normal")
    assert ELBO.loss(inserted.model, inserted.guide, X, X) > 0


def test_positive_noise():
    layer = InformationDropout.linear(4, 2, activation="softplus", prior=VampPrior(X[:3])).double()
    network = Bottleneck(layer, nn.Linear(2, 4).double(), "normal")
    assert ELBO.terms(network.model, network.guide, X, X).rate["z1"].isfinite().all()


def test_in_a_site_of_its_own_shape():
    layer = AdditiveNormal.conv2d(1, 2, 3, prior=VampPrior(torch.rand(3, 1, 5, 5)))
    network = Bottleneck(layer, nn.Sequential(nn.Flatten(), nn.Linear(18, 2)))
    x = torch.rand(4, 1, 5, 5)
    assert ELBO.terms(network.model, network.guide, x, torch.tensor([0, 1, 0, 1])).rate["z1"].shape == (4,)
    layer.prior = VampPrior(torch.rand(3, 1, 6, 6))
    with pytest.raises(ValueError, match=r"site 'z1': the 3 pseudo-inputs.*\(2, 4, 4\).*\(2, 3, 3\)"):
        ELBO.loss(network.model, network.guide, x, torch.tensor([0, 1, 0, 1]))


def test_behind_another_site_it_is_refused():
    encoder = nn.Sequential(
        OrderedDict(
            low=AdditiveNormal.linear(4, 3),
            high=AdditiveNormal.linear(3, 2, prior=VampPrior(torch.rand(3, 4))),
        )
    )
    network = Bottleneck(encoder, nn.Linear(2, 4), "normal")
    with pytest.raises(ValueError, match=r"site 'high': it comes after \['low'\].*MixturePrior"):
        ELBO.loss(network.model, network.guide, X.float(), X.float())


def test_pseudo_inputs_that_the_encoder_does_not_take():
    network = program(VampPrior(torch.rand(3, 5)))
    with pytest.raises(ValueError, match=r"site 'z1': the encoder does not take the pseudo-inputs.*\(3, 5\)"):
        ELBO.loss(network.model, network.guide, X, X)


def test_the_layer_alone_does_not_know_it():
    with pytest.raises(NotImplementedError, match="site 'z': .*which the layer alone does not know"):
        AdditiveNormal.linear(4, 2, prior=VampPrior(torch.rand(3, 4))).sample_prior(torch.Size([2]))
    with pytest.raises(NotImplementedError, match="site 'z1': .*whole rate.*monte-carlo"):
        elementwise_rates(program(VampPrior(X[:3])), X)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VampPrior(torch.zeros(4)), r"pseudo_inputs must be a tensor \[K, ...\].*got shape \(4,\)"),
        (lambda: VampPrior(torch.zeros(0, 4)), r"got shape \(0, 4\)"),
        (lambda: VampPrior([[1.0]]), "pseudo_inputs must be a tensor"),
        (lambda: VampPrior(torch.zeros(2, 4).long()), "torch.int64, which cannot be learned"),
        (lambda: VampPrior(torch.zeros(2, 4), bounds=(1.0, 0.0)), r"bounds must be a range.*\(1.0, 0.0\)"),
    ],
    ids=["one", "none", "list", "numbers", "range"],
)
def test_what_is_no_vamp_prior(make, message):
    with pytest.raises(ValueError, match=message):
        make()

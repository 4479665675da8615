"""Dropout with a learned probability: its gates, its rate, and the program that they belong to."""

import copy
import math
import pickle

import mpmath
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import nn
from torch.distributions import kl_divergence

import ib_pyro
from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.diagnostics import elementwise_rates
from ib_pyro.distributions import GateLogit
from ib_pyro.elbo import MissingKLError
from ib_pyro.nn import ConcreteDropout, insert
from ib_pyro.rates import relaxed_gate_rate

X = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
Y = torch.tensor([0, 1, 1, 0, 1, 0])


def program(**options):
    torch.manual_seed(1)
    layer = ConcreteDropout.linear(4, 3, **options)
    return Bottleneck(layer, nn.Linear(3, 2), conditional=True).double()


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def logit(p):
    return math.log(p) - math.log1p(-p)


@pytest.mark.parametrize("d", [0.0, 1e-8, 1e-3, 0.1, 0.599, 0.601, 2.0, 20.0, 700.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_rate_is_exact_for_every_difference(d, sign):
    expected = 0.0
    if d:
        with mpmath.workdps(60):
            expected = float(mpmath.mpf(d) * mpmath.coth(mpmath.mpf(d) / 2) - 2)
    assert relaxed_gate_rate(t(sign * d)).item() == pytest.approx(expected, rel=1e-14, abs=4e-16)
    assert relaxed_gate_rate(torch.tensor(sign * d)).dtype == torch.float32


def test_its_gradient_is_that_of_differences():
    d = t(-3.0, -0.61, -0.2, 0.0, 0.3, 0.59, 5.0).requires_grad_()
    assert torch.autograd.gradcheck(relaxed_gate_rate, d)
    (found,) = torch.autograd.grad(relaxed_gate_rate(d)[3], d)
    assert not found.any()


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_the_rate_does_not_depend_on_the_temperature_nor_is_that_of_bernoulli_gates(temperature):
    p, q = GateLogit(t(2.0), temperature), GateLogit(t(0.0), temperature)
    rate = kl_divergence(p, q)
    draws = p.sample((200000,))
    difference = p.log_prob(draws) - q.log_prob(draws)
    assert (difference.mean(0) - rate).abs() < 4 * difference.std(0) / 200000**0.5
    bernoulli = kl_divergence(dist.Bernoulli(logits=t(2.0)), dist.Bernoulli(logits=t(0.0)))
    assert rate > bernoulli + 0.2


def test_gates_of_different_temperatures_have_no_closed_form():
    network = program()
    layer = network.encoder
    layer.prior_distribution = lambda shape: GateLogit(torch.zeros(shape), 0.3).to_event(1)
    with pytest.raises(MissingKLError, match=r"site 'z1': no closed-form KL.*temperatures 0.1 and 0.3"):
        InformationBottleneckELBO().loss(network.model, network.guide, X, Y)


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_a_gate_is_on_with_its_probability_at_every_temperature(temperature):
    law = GateLogit(t(-logit(0.3)).expand(40000), temperature)
    gates = torch.sigmoid(law.sample())
    assert (gates > 0.5).double().mean().item() == pytest.approx(0.7, abs=0.01)
    if temperature == 0.02:
        assert ((gates < 1e-3) | (gates > 1 - 1e-3)).double().mean() > 0.9


def test_what_it_returns_is_what_the_gates_let_through():
    network = program(drop_prob=0.25)
    layer = network.encoder
    torch.manual_seed(3)
    found = layer(X)
    torch.manual_seed(3)
    logits = layer.posterior(X).rsample()
    torch.testing.assert_close(found, layer.activation_of(X) * torch.sigmoid(logits) / 0.75)
    torch.manual_seed(3)
    torch.testing.assert_close(network.latents(X)["z1"], logits)
    with noise_off():
        assert torch.equal(layer(X), layer.activation_of(X))
    assert layer.drop_prob.item() == pytest.approx(0.25)


def test_dropout_of_the_same_probability_has_the_same_distortion():
    """At a low temperature it is dropout, whose expectation is the mean over all masks."""
    network = program(drop_prob=0.25, temperature=0.001, activation="identity")
    f = network.encoder.activation_of(X).detach()
    expected = 0.0
    for mask in torch.cartesian_prod(*[t(0.0, 1.0)] * 3):
        weight = (0.75 ** mask.sum() * 0.25 ** (3 - mask.sum())).item()
        nll = nn.functional.cross_entropy(network.decoder(f * mask / 0.75), Y, reduction="none")
        expected = expected + weight * nll.detach()
    copies = 4000
    with torch.no_grad():
        terms = InformationBottleneckELBO().terms(
            network.model, network.guide, X.repeat(copies, 1), Y.repeat(copies)
        )
    found = terms.distortion.unflatten(0, (copies, 6))
    assert ((found.mean(0) - expected).abs() < 4.5 * found.std(0) / copies**0.5 + 0.005).all()


@pytest.mark.parametrize("options", [{}, {"units": 3}, {"prior_drop_prob": 0.2, "temperature": 0.5}])
def test_the_lagrangian_is_pyros(options):
    network = program(**options)
    losses = []
    for elbo in (InformationBottleneckELBO(), TraceMeanField_ELBO()):
        torch.manual_seed(3)
        losses.append(elbo.differentiable_loss(network.model, network.guide, X, Y))
    assert losses[0] == losses[1]
    for elbo in (InformationBottleneckELBO(sampled_rates=["z1"]), Trace_ELBO()):
        torch.manual_seed(3)
        losses.append(elbo.differentiable_loss(network.model, network.guide, X, Y))
    torch.testing.assert_close(losses[2], losses[3])
    layer = network.encoder
    d = layer.keep_logit - logit(1 - layer.prior_drop_prob)
    rate = (relaxed_gate_rate(d) * torch.ones(6, 3)).sum(1)
    terms = InformationBottleneckELBO().terms(network.model, network.guide, X, Y)
    torch.testing.assert_close(terms.rate["z1"], rate.to(terms.rate["z1"]))
    assert terms.estimator == {"z1": "analytic"}
    torch.testing.assert_close(elementwise_rates(network, X)["z1"].sum(1), terms.rate["z1"])


@pytest.mark.parametrize(("beta", "low", "high"), [(0.0, 0.0, 0.05), (100.0, 0.45, 0.55)])
def test_the_probability_is_learned(beta, low, high):
    """Free, noise is no help where labels follow from x; charged for, it comes to that of the prior."""
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    y = (x[:, 0] > 0).long()
    network = Bottleneck(ConcreteDropout.linear(4, 8, drop_prob=0.2), nn.Linear(8, 2), conditional=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(200):
        optimizer.zero_grad()
        (InformationBottleneckELBO(beta)(network.model, network.guide)(x, y) / 200).backward()
        optimizer.step()
    assert low <= network.encoder.drop_prob.item() <= high


def test_it_may_be_in_many_places():
    layer = ConcreteDropout.conv2d(1, 2, 3, units=2)
    images = torch.rand(4, 1, 5, 5)
    assert layer(images).shape == (4, 2, 3, 3)
    assert layer.posterior(images).logits.shape == (4, 2, 3, 3)
    assert ConcreteDropout.conv3d(1, 2, 3)(torch.rand(4, 1, 5, 5, 5)).shape == (4, 2, 3, 3, 3)
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    placed = insert(network, {"1": ConcreteDropout.after(3).double()}, conditional=True)
    terms = InformationBottleneckELBO().terms(placed.model, placed.guide, X, Y)
    assert terms.rate["1"].shape == (6,)
    assert nn.Sequential(ConcreteDropout.linear(4, 3), nn.Linear(3, 2))(X.float()).shape == (6, 2)


def test_without_conditional_the_program_is_refused_by_name():
    network = Bottleneck(ConcreteDropout.linear(4, 3), nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"sites \['z1'\].*depends on x beside.*conditional=True"):
        InformationBottleneckELBO().loss(network.model, network.guide, X.float(), Y)


def test_captured_copied_saved_and_exported(tmp_path):
    network = program(units=3)
    elbo = InformationBottleneckELBO(0.3)
    captured = elbo.capture(network.model, network.guide)
    for seed in (3, 4):
        torch.manual_seed(seed)
        expected = elbo.differentiable_loss(network.model, network.guide, X, Y)
        gradients = torch.autograd.grad(expected, [*network.parameters()])
        network.zero_grad()
        torch.manual_seed(seed)
        assert captured.loss_and_grads(X, Y) == pytest.approx(expected.item(), rel=1e-12)
        for p, g in zip(network.parameters(), gradients, strict=True):
            torch.testing.assert_close(p.grad, g)
    ib_pyro.save(network, tmp_path / "program.pt")
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.manual_seed(3)
        expected = network(X)
        torch.manual_seed(3)
        assert torch.equal(twin(X), expected)
    exported = ib_pyro.to_arviz(network.eval(), X, Y, num_samples=3)["posterior"]
    gate = torch.from_numpy(exported["z1_gate"].values)
    torch.testing.assert_close(gate, torch.sigmoid(torch.from_numpy(exported["z1"].values)))


def test_runs_side_by_side():
    network = program()
    values = {
        f"model.{n}": torch.stack([p.detach(), 1.1 * p.detach()]) for n, p in network.named_parameters()
    }
    loss = InformationBottleneckELBO()(network.model, network.guide)

    def one(own):
        return torch.func.functional_call(loss, own, (X, Y))

    torch.manual_seed(0)
    together = torch.vmap(one, randomness="same")(values)
    torch.manual_seed(0)
    torch.testing.assert_close(together[1], one({n: v[1] for n, v in values.items()}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConcreteDropout.linear(4, 3, drop_prob=0.0), r"drop_prob must be within \(0, 1\); got 0.0"),
        (lambda: ConcreteDropout.linear(4, 3, drop_prob=1.0), r"drop_prob must be within \(0, 1\); got 1.0"),
        (lambda: ConcreteDropout.linear(4, 3, prior_drop_prob=1.5), "prior_drop_prob must be within"),
        (lambda: ConcreteDropout.linear(4, 3, temperature=0.0), "temperature must be positive; got 0.0"),
        (lambda: GateLogit(torch.zeros(3), -1.0), "temperature must be positive; got -1.0"),
        (
            lambda: ConcreteDropout.linear(4, 3, units=2)(X.float()),
            r"site 'z': units=2, but features give 3 units",
        ),
        (lambda: setattr(ConcreteDropout.linear(4, 3), "drop_prob", 0.5), "set that in place"),
        (lambda: setattr(ConcreteDropout.linear(4, 3), "prior", dist.Normal(0.0, 1.0)), "prior_drop_prob"),
        (
            lambda: ConcreteDropout.linear(4, 3, name="hidden")(X.float() * math.nan),
            "site 'hidden': activation has 18 NaN of 18",
        ),
    ],
    ids=["zero", "one", "prior", "cold", "negative", "units", "set", "law", "nan"],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

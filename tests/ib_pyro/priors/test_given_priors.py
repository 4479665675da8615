"""Rates under priors without a closed form: their mean is the integral, and what they learn is the layer's."""

import copy
import math
import pickle

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import transforms
from pyro.infer import Trace_ELBO
from scipy import integrate
from torch import nn

import ib_pyro
from ib_pyro import Bottleneck, InformationBottleneckELBO, evaluate, fit, to_arviz
from ib_pyro.capture import CaptureError
from ib_pyro.elbo import MissingKLError
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout
from ib_pyro.priors import FlowPrior, MixturePrior, prior_over

AT_THE_DRAW = {"on_no_closed_form": "monte-carlo"}
X = torch.linspace(-1.5, 2.0, 5, dtype=torch.float64)[:, None]


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def gaussian_mixture():
    return dist.MixtureSameFamily(
        dist.Categorical(t(0.2, 0.5, 0.3)), dist.Normal(t(-2.0, 0.5, 1.0), t(0.5, 1.0, 0.2))
    )


def learned_mixture():
    prior = MixturePrior(1, 3).double()
    with torch.no_grad():
        prior.logits.copy_(t(0.2, 0.5, 0.3).log())
        prior.loc.copy_(t(-2.0, 0.5, 1.0)[:, None])
        prior.log_scale.copy_(t(0.5, 1.0, 0.2).log()[:, None])
    return prior


def mixture_density(z):
    parts = [(0.2, -2.0, 0.5), (0.5, 0.5, 1.0), (0.3, 1.0, 0.2)]
    return sum(w * math.exp(-0.5 * ((z - m) / s) ** 2) / (s * math.sqrt(2 * math.pi)) for w, m, s in parts)


def flow():
    """``z = sinh-like``: an affine map of a normal value, and the inverse of softplus behind it."""
    steps = [transforms.AffineTransform(t(0.3), t(1.7)), transforms.SoftplusTransform().inv]
    return dist.TransformedDistribution(dist.LogNormal(t(0.0), t(0.8)), steps)


def flow_density(z):
    # u = log y, y = (softplus(z) - 0.3) / 1.7, dy/dz = sigmoid(z) / 1.7
    y = (math.log1p(math.exp(z)) - 0.3) / 1.7
    if y <= 0:
        return 0.0
    density = math.exp(-0.5 * (math.log(y) / 0.8) ** 2) / (y * 0.8 * math.sqrt(2 * math.pi))
    return density / (1 + math.exp(-z)) / 1.7


def elementwise_flow():
    return FlowPrior(1, [transforms.ExpTransform(), transforms.AffineTransform(-1.0, 2.0)]).double()


def elementwise_flow_density(z):
    y = (z + 1) / 2
    return 0.0 if y <= 0 else math.exp(-0.5 * math.log(y) ** 2) / (y * math.sqrt(2 * math.pi)) / 2


PRIORS = {
    "mixture": (gaussian_mixture, mixture_density, -6.0, 6.0),
    "learned mixture": (learned_mixture, mixture_density, -6.0, 6.0),
}
# Priors on a half line, for a posterior that stays on it.
POSITIVE = {
    "flow": (flow, flow_density),
    "flow, a module": (elementwise_flow, elementwise_flow_density),
}


def additive(prior, **options):
    torch.manual_seed(2)
    return AdditiveNormal.linear(1, 1, prior=prior, **options).double()


def rates(layer, x, copies):
    """Rates at many draws for each of x, ``[copies, len(x)]``."""
    program = Bottleneck(layer, nn.Linear(1, 2).double())
    many, y = x.repeat(copies, 1), torch.zeros(copies * len(x)).long()
    terms = InformationBottleneckELBO(**AT_THE_DRAW).terms(program.model, program.guide, many, y)
    assert terms.estimator == {"z1": "monte-carlo"}
    return terms.rate["z1"].unflatten(0, (copies, len(x)))


def require_mean(found, expected):
    error = found.std(0) / len(found) ** 0.5
    assert (error < 0.05).all()
    assert ((found.mean(0) - torch.as_tensor(expected)).abs() < 4.5 * error).all()


@pytest.mark.parametrize("kind", PRIORS)
def test_the_mean_of_the_rate_is_the_integral(kind):
    make, density, low, high = PRIORS[kind]
    layer = additive(make())
    law = layer.posterior(X)

    def rate(mean, scale):
        def integrand(z):
            p = math.exp(-0.5 * ((z - mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
            return p * (math.log(p) - math.log(density(z))) if p > 0 else 0.0

        return integrate.quad(integrand, mean - 9 * scale, mean + 9 * scale, limit=200)[0]

    expected = [rate(m.item(), s.item()) for m, s in zip(law.loc, law.scale, strict=True)]
    require_mean(rates(layer, X, 20000).detach(), expected)


@pytest.mark.parametrize("kind", POSITIVE)
def test_the_mean_of_the_rate_under_a_flow_is_the_integral(kind):
    make, density = POSITIVE[kind]
    torch.manual_seed(2)
    layer = InformationDropout.linear(1, 1, activation=nn.Softplus(), prior=make()).double()
    nn.init.constant_(layer.features.bias, 2.0)
    law = layer.posterior(X)

    def rate(f, alpha):
        def integrand(s):
            z = f * math.exp(alpha * s)
            log_p = -0.5 * s**2 - math.log(alpha * z * math.sqrt(2 * math.pi))
            return math.exp(-0.5 * s**2) / math.sqrt(2 * math.pi) * (log_p - math.log(density(z)))

        return integrate.quad(integrand, -9, 9, limit=200)[0]

    expected = [rate(f.item(), a.item()) for f, a in zip(law.activation, law.alpha, strict=True)]
    require_mean(rates(layer, X, 20000).detach(), expected)


def test_a_coupling_flow_is_normalised_and_its_rate_the_integral():
    torch.manual_seed(4)
    prior = FlowPrior(2, [transforms.affine_coupling(2, [6]), transforms.permute(2)])
    layer = AdditiveNormal.linear(1, 2, prior=prior).double()
    side = torch.linspace(-8, 8, 801, dtype=torch.float64)
    grid, area = torch.cartesian_prod(side, side), (side[1] - side[0]) ** 2
    with torch.no_grad():
        log_q = layer.prior_distribution(torch.Size([2])).log_prob(grid)
        assert (log_q.exp().sum() * area).item() == pytest.approx(1, abs=1e-4)
        law = layer.posterior(X[:1])
        log_p = dist.Normal(law.loc, law.scale).to_event(1).log_prob(grid)
        expected = (log_p.exp() * (log_p - log_q)).sum() * area
    program = Bottleneck(layer, nn.Linear(2, 2).double())
    elbo = InformationBottleneckELBO(**AT_THE_DRAW)
    many = X[:1].repeat(20000, 1)
    found = elbo.terms(program.model, program.guide, many, torch.zeros(20000).long()).rate["z1"].detach()
    require_mean(found[:, None], expected[None])


def test_the_gradient_of_the_rate_is_that_of_the_integral():
    layer = additive(learned_mixture())
    parameters = [*layer.noise.parameters(), *layer.features.parameters(), *layer.prior.parameters()]
    x = X[1:2]
    law, grid = layer.posterior(x), torch.linspace(-12, 12, 8001, dtype=torch.float64)[:, None]
    log_p = dist.Normal(law.loc[0], law.scale[0]).log_prob(grid).sum(-1)
    log_q = layer.prior_distribution(torch.Size([1])).log_prob(grid)
    integral = (log_p.exp() * (log_p - log_q)).sum() * (grid[1] - grid[0])
    expected = torch.autograd.grad(integral, parameters)
    found = []
    for seed in range(60):
        torch.manual_seed(seed)
        gradients = torch.autograd.grad(rates(layer, x, 200).mean(), parameters)
        found.append(torch.cat([g.flatten() for g in gradients]))
    found = torch.stack(found)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - torch.cat([g.flatten() for g in expected])).abs() < 4.5 * error + 1e-9).all()
    assert (error < 0.05).all()


LAYERS = {
    "additive": lambda: AdditiveNormal.linear(4, 3, prior=MixturePrior(3, 4)),
    "gaussian": lambda: GaussianDropout.linear(4, 3, prior=MixturePrior(3, 4), activation="softplus"),
    "constant": lambda: ConstantDropout.linear(
        4, 3, prior=MixturePrior(3, 4, family="log-normal"), activation="softplus"
    ),
    "information": lambda: InformationDropout.linear(
        4, 3, activation="softplus", prior=MixturePrior(3, 4, family="log-normal")
    ),
    "coupling": lambda: AdditiveNormal.linear(4, 3, prior=FlowPrior(3, [transforms.affine_coupling(3, [5])])),
    "autoregressive": lambda: AdditiveNormal.linear(
        4, 3, prior=FlowPrior(3, [transforms.affine_autoregressive(3, [6]).inv])
    ),
    "spline": lambda: AdditiveNormal.linear(
        4, 3, prior=dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0), [transforms.spline(3)])
    ),
    "whole": lambda: AdditiveNormal.linear(
        4, 3, prior=dist.MultivariateStudentT(3.0, torch.zeros(3), 0.5 * torch.eye(3))
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
class TestAnyLayer:
    def program(self, kind):
        torch.manual_seed(1)
        return Bottleneck(LAYERS[kind](), nn.Linear(3, 2))

    data = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1, 0])

    def test_without_a_closed_form_the_site_is_named(self, kind):
        program = self.program(kind)
        with pytest.raises(MissingKLError, match=r"site 'z1': no closed-form KL.*monte-carlo"):
            InformationBottleneckELBO().loss(program.model, program.guide, *self.data)

    def test_the_loss_is_that_of_pyro(self, kind):
        program, losses = self.program(kind), []
        for elbo in (InformationBottleneckELBO(**AT_THE_DRAW), Trace_ELBO()):
            torch.manual_seed(5)
            losses.append(elbo.differentiable_loss(program.model, program.guide, *self.data))
        torch.testing.assert_close(*losses)

    def test_all_that_it_has_is_learned_and_copied(self, kind):
        program = self.program(kind)
        elbo = InformationBottleneckELBO(**AT_THE_DRAW)
        optimizer = torch.optim.Adam(program.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            elbo.differentiable_loss(program.model, program.guide, *self.data).backward()
            optimizer.step()
        assert all(p.grad is not None for p in program.parameters())
        held = {id(p) for p in program.parameters()}
        prior = program.encoder.prior_distribution(torch.Size([3]))
        learned = [] if kind == "whole" else tensors_with_graphs(prior)
        assert all(id(leaf) in held for leaf in learned)
        for twin in (copy.deepcopy(program), pickle.loads(pickle.dumps(program))):
            losses = []
            for one in (program, twin):
                torch.manual_seed(5)
                losses.append(elbo.loss(one.model, one.guide, *self.data))
            assert losses[0] == losses[1]
            assert not held & {id(p) for p in twin.parameters()}

    def test_it_is_saved_and_loaded(self, kind, tmp_path):
        program, other = self.program(kind), self.program(kind)
        with torch.no_grad():
            for parameter in program.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        elbo = InformationBottleneckELBO(**AT_THE_DRAW)
        elbo.differentiable_loss(program.model, program.guide, *self.data)
        ib_pyro.save(program, tmp_path / "program.safetensors")
        ib_pyro.load(tmp_path / "program.safetensors", into=other)
        losses = []
        for one in (program, other):
            torch.manual_seed(5)
            losses.append(elbo.loss(one.model, one.guide, *self.data))
        assert losses[0] == losses[1]

    def test_fit_and_evaluation_take_it(self, kind):
        program, (x, y) = self.program(kind), self.data
        with pytest.raises(MissingKLError, match=r"site 'z1'.*monte-carlo"):
            fit(program, (x, y), beta=0.1, epochs=1, progress=False)
        elbo = InformationBottleneckELBO(0.1, **AT_THE_DRAW)
        found = fit(program, (x, y), elbo=elbo, epochs=2, progress=False)
        assert len(found.history) == 2
        assert math.isfinite(evaluate(program, (x, y), elbo=elbo, num_samples=2).total_rate)
        assert {"z1"} <= set(to_arviz(program, x, y, num_samples=2)["posterior"])

    def test_particles_are_averaged(self, kind):
        program, found = self.program(kind), []
        options = {"num_particles": 400, "max_plate_nesting": 1, **AT_THE_DRAW}
        for vectorize in (False, True):
            elbo = InformationBottleneckELBO(vectorize_particles=vectorize, **options)
            terms = elbo.terms(program.model, program.guide, *self.data)
            found.append(terms.rate["z1"].detach())
        torch.testing.assert_close(found[0], found[1], atol=0.6, rtol=0.1)
        assert found[0].shape == (6,)

    def test_in_double_precision(self, kind):
        program = self.program(kind).double()
        x, y = self.data
        terms = InformationBottleneckELBO(**AT_THE_DRAW).terms(program.model, program.guide, x.double(), y)
        assert terms.rate["z1"].dtype == terms.loss.dtype == torch.float64

    def test_captured(self, kind):
        program = self.program(kind)
        elbo = InformationBottleneckELBO(0.7, **AT_THE_DRAW)
        captured = elbo.capture(program.model, program.guide)
        if kind == "spline":
            with pytest.raises(CaptureError, match="shape depends on values"):
                captured(*self.data)
            return
        for seed in (3, 4):
            torch.manual_seed(seed)
            expected = elbo.differentiable_loss(program.model, program.guide, *self.data)
            gradients = torch.autograd.grad(expected, [*program.parameters()])
            program.zero_grad()
            torch.manual_seed(seed)
            assert captured.loss_and_grads(*self.data) == pytest.approx(expected.item(), rel=1e-5)
            for p, g in zip(program.parameters(), gradients, strict=True):
                torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=1e-5)


def tensors_with_graphs(law):
    """Leaves that the density of a law depends on."""
    found, todo, seen = [], [law.log_prob(torch.full((3,), 0.4)).grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        todo += [following for following, _ in node.next_functions]
    return found


def test_a_closed_form_stays_the_default():
    program = Bottleneck(AdditiveNormal.linear(4, 3, prior=dist.Normal(1.0, 2.0)), nn.Linear(3, 2))
    x, y = TestAnyLayer.data
    terms = InformationBottleneckELBO(**AT_THE_DRAW).terms(program.model, program.guide, x, y)
    assert terms.estimator == {"z1": "analytic"}
    law = program.encoder.posterior(x)
    expected = torch.distributions.kl_divergence(dist.Normal(law.loc, law.scale), dist.Normal(1.0, 2.0)).sum(
        -1
    )
    torch.testing.assert_close(terms.rate["z1"], expected)


def test_what_a_flow_given_as_it_is_learns_leaves_with_it():
    layer = AdditiveNormal.linear(4, 3)
    before = set(layer.state_dict())
    layer.prior = dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0), [transforms.spline(3)])
    assert set(layer.state_dict()) > before
    layer.prior = None
    assert set(layer.state_dict()) == before
    layer.prior = MixturePrior(3)
    layer.prior = dist.Normal(0.0, 1.0)
    assert set(layer.state_dict()) == before


@pytest.mark.parametrize(
    ("law", "shape"),
    [
        (dist.Normal(0.0, 1.0), (2, 3)),
        (dist.Normal(torch.zeros(3), 1.0), (2, 3)),
        (dist.Normal(torch.zeros(3), 1.0).to_event(1), (2, 3)),
        (dist.Normal(torch.zeros(2, 3), 1.0).to_event(2), (2, 3)),
        (lambda shape: dist.Normal(0.0, 1.0).expand(shape).to_event(2), (2, 3)),
        (dist.Normal(0.0, 1.0), ()),
    ],
    ids=["unit", "units", "positions", "sample", "function", "scalar"],
)
def test_the_law_of_one_sample(law, shape):
    found = prior_over(law, torch.Size(shape))
    assert (found.batch_shape, found.event_shape) == ((), shape)


@pytest.mark.parametrize(
    ("prior", "error", "message"),
    [
        (3, TypeError, "prior is a int; pass a distribution of pyro.distributions"),
        (torch.distributions.Normal(0.0, 1.0), TypeError, "prior is a Normal; pass a distribution of pyro"),
        (
            dist.Normal(torch.zeros(2, 3), 1.0).to_event(1),
            ValueError,
            r"prior has batch shape \(2,\) beside event shape \(3,\)",
        ),
    ],
    ids=["number", "torch", "batch"],
)
def test_priors_of_a_wrong_kind(prior, error, message):
    for layer in (AdditiveNormal.linear(4, 3), GaussianDropout.linear(4, 3), ConstantDropout.linear(4, 3)):
        with pytest.raises(error, match=message):
            layer.prior = prior


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (
            dist.Normal(torch.zeros(2), 1.0),
            r"site 'z': prior has batch shape \(2,\).*one sample of z has shape \(3,\)",
        ),
        (
            dist.Normal(torch.zeros(2), 1.0).to_event(1),
            r"site 'z': prior has batch shape \(\) and event shape \(2,\)",
        ),
        (MixturePrior(2), r"site 'z': the MixturePrior is of shape \(2,\).*\(3,\)"),
        (FlowPrior(2, []), r"site 'z': the FlowPrior is of shape \(2,\).*\(3,\)"),
        (abs, "bad operand"),
        (len, "site 'z': prior.* returns a int"),
    ],
    ids=["units", "event", "mixture", "flow", "raises", "number"],
)
def test_priors_of_another_shape_name_the_site(prior, message):
    layer = AdditiveNormal.linear(4, 3, prior=prior)
    with pytest.raises((ValueError, TypeError), match=message):
        layer.sample_prior(torch.Size([3]))


def test_dropout_has_no_prior():
    with pytest.raises(ValueError, match="two atoms of dropout.*GaussianDropout"):
        BinaryDropout.linear(4, 3).prior = dist.Normal(0.0, 1.0)


def test_a_mixture_over_images():
    layer = AdditiveNormal.conv2d(1, 2, 3, prior=MixturePrior((2, 3, 3), 4))
    program = Bottleneck(layer, nn.Sequential(nn.Flatten(), nn.Linear(18, 2)))
    x, y = torch.rand(4, 1, 5, 5), torch.tensor([0, 1, 0, 1])
    terms = InformationBottleneckELBO(**AT_THE_DRAW).terms(program.model, program.guide, x, y)
    assert terms.rate["z1"].shape == (4,)
    flow = FlowPrior((2, 3, 3), [transforms.affine_coupling(18, [8])])
    assert flow(torch.Size([2, 3, 3])).sample((5,)).shape == (5, 2, 3, 3)
    layer.prior = flow
    assert InformationBottleneckELBO(**AT_THE_DRAW).terms(program.model, program.guide, x, y).loss.isfinite()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixturePrior(3, 0), "num_components must be at least 1; got 0"),
        (lambda: MixturePrior(3, family="gamma"), "family='gamma' is unknown"),
    ],
    ids=["none", "family"],
)
def test_mixtures_that_are_none(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="transforms: int is no transform"):
        FlowPrior(3, [3])


def test_a_flow_that_only_samples_says_so():
    """Planar flows cannot invert a z that they have not made; given the other way round they score and do not "
    "sample."""
    layer = AdditiveNormal.linear(4, 3, prior=FlowPrior(3, [transforms.planar(3).inv]))
    program = Bottleneck(layer, nn.Linear(3, 2))
    assert InformationBottleneckELBO(**AT_THE_DRAW).loss(program.model, program.guide, *TestAnyLayer.data)
    layer.prior = FlowPrior(3, [transforms.planar(3)])
    with pytest.raises(ValueError, match=r"site 'z1': .*inverts only what it has drawn.*\.inv"):
        InformationBottleneckELBO(**AT_THE_DRAW).loss(program.model, program.guide, *TestAnyLayer.data)


@pytest.mark.parametrize(
    "prior",
    [lambda: MixturePrior(3, 2, family="log-normal"), lambda: dist.LogNormal(0.0, 1.0)],
    ids=["ours", "Pyro's"],
)
def test_an_atom_under_a_density_is_named(prior):
    """A ReLU that is off is at zero, where no density has mass."""
    layer = InformationDropout.linear(4, 3, prior=prior())
    program = Bottleneck(layer, nn.Linear(3, 2))
    nn.init.constant_(layer.features.bias, -9.0)
    elbo = InformationBottleneckELBO(sampled_rates=["z1"])
    with pytest.raises(ValueError, match="site 'z1': .*(its rate is infinite for 6 of 6|support)"):
        elbo.loss(program.model, program.guide, *TestAnyLayer.data)


def test_a_log_normal_mixture_has_pyros_density():
    prior, z = MixturePrior(3, 4, family="log-normal").double(), torch.rand(5, 3).double() + 0.1
    units = dist.LogNormal(prior.loc, prior.log_scale.exp()).to_event(1)
    expected = dist.MixtureSameFamily(dist.Categorical(logits=prior.logits), units)
    torch.testing.assert_close(prior(torch.Size([3])).log_prob(z), expected.log_prob(z))
    assert (prior(torch.Size([3])).sample((100,)) > 0).all()


def test_a_sum_over_components_is_by_weight():
    prior = learned_mixture()
    assert prior.weights.detach().numpy() == pytest.approx(np.array([0.2, 0.5, 0.3]))


def test_the_constants_of_a_flow_go_along():
    affine = transforms.AffineTransform(torch.tensor(0.3), torch.tensor(2.0))
    flow = FlowPrior(3, [transforms.affine_coupling(3, [4]), affine])
    flow(torch.Size([3])).log_prob(torch.rand(5, 3))
    z = torch.rand(5, 3).double()
    expected = flow(torch.Size([3])).log_prob(z.float())
    flow.double()
    assert flow.transforms[1].loc.dtype == torch.float64
    assert flow.transforms[0] is flow.parts[0]
    assert affine.loc.dtype == torch.float32
    found = flow(torch.Size([3])).log_prob(z)
    torch.testing.assert_close(found.float(), expected)
    twin = copy.deepcopy(flow)
    assert twin.transforms[0] is twin.parts[0] is not flow.parts[0]

"""The bound with K weighted draws against an evidence that is known, and its two gradients against each other."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, fit
from ib_pyro.diagnostics import importance_weighted_log_likelihood
from ib_pyro.elbo import FreeBits, ImportanceWeightedELBO
from ib_pyro.nn import AdditiveNormal, InformationDropout
from ib_pyro.priors import MixturePrior, VampPrior

NOISE = 0.7
W = torch.tensor([[1.2, -0.5], [0.3, 0.8], [-0.7, 0.4]], dtype=torch.float64)
Y = torch.tensor([[-1.3, 0.2, 0.4], [0.9, 1.5, -0.6], [0.1, -0.4, 2.0], [1.0, 0.0, 0.3]], dtype=torch.float64)


class LinearGaussian(nn.Module):
    """``z ~ N(0, 1)``, ``y ~ N(W z + b, NOISE²)``; the guide is linear in y, and may be the posterior."""

    def __init__(self, *, exact=False, num_data=None):
        super().__init__()
        self.num_data = num_data
        self.b = nn.Parameter(torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64))
        precision = torch.eye(2, dtype=torch.float64) + W.T @ W / NOISE**2
        self.covariance = torch.linalg.inv(precision)
        gain = self.covariance @ W.T / NOISE**2
        self.gain = nn.Parameter(gain.clone() if exact else 0.6 * gain + 0.1)
        self.log_scale = nn.Parameter(torch.tensor([-0.3, -0.6], dtype=torch.float64))
        self.exact = exact

    def plate(self, y):
        return pyro.plate("data", self.num_data or len(y), subsample=torch.arange(len(y)))

    def model(self, y):
        with self.plate(y):
            z = pyro.sample("z", dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(z @ W.T + self.b, NOISE).to_event(1), obs=y)

    def guide(self, y):
        with self.plate(y):
            if self.exact:
                law = dist.MultivariateNormal((y - self.b.detach()) @ self.gain.T, self.covariance)
            else:
                law = dist.Normal((y - self.b.detach()) @ self.gain.T, self.log_scale.exp()).to_event(1)
            pyro.sample("z", law)

    @property
    def theta(self):
        return [self.b]

    @property
    def phi(self):
        return [self.gain, self.log_scale]

    def evidence(self, y=Y):
        covariance = W @ W.T + NOISE**2 * torch.eye(3, dtype=torch.float64)
        return dist.MultivariateNormal(self.b, covariance).log_prob(y)


def elbo(k, gradient="iwae", **options):
    return ImportanceWeightedELBO(k, gradient=gradient, **options)


def vectorized(k, gradient="iwae"):
    return elbo(k, gradient, vectorize_particles=True, max_plate_nesting=1)


def gradients_of(objective, program, parameters, y=Y, *, seed):
    torch.manual_seed(seed)
    loss = objective.differentiable_loss(program.model, program.guide, y)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters, strict=True)]
    )


def test_one_draw_is_the_elbo_at_the_draw():
    program, losses = LinearGaussian(), []
    for objective in (elbo(1), elbo(1, "dreg"), Trace_ELBO()):
        torch.manual_seed(1)
        losses.append(objective.differentiable_loss(program.model, program.guide, Y))
    torch.testing.assert_close(losses[0], losses[2])
    torch.testing.assert_close(losses[1], losses[2])


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_it_is_the_bound_of_the_diagnostics(gradient):
    program = LinearGaussian()
    torch.manual_seed(2)
    expected = importance_weighted_log_likelihood(program.model, program.guide, Y, num_samples=7)
    torch.manual_seed(2)
    terms = elbo(7, gradient).terms(program.model, program.guide, Y)
    torch.testing.assert_close(terms.loss, -expected.sum())


@pytest.mark.parametrize("make", [elbo, vectorized], ids=["in turn", "at once"])
@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_with_the_posterior_as_guide_every_draw_is_the_evidence(make, gradient):
    program = LinearGaussian(exact=True)
    objective = make(5, gradient)
    loss = objective.differentiable_loss(program.model, program.guide, Y)
    torch.testing.assert_close(loss, -program.evidence().sum())
    # The model's gradient is that of the evidence, without noise where the guide's is the doubly reparameterised.
    found = gradients_of(objective, program, [program.b, program.gain], seed=3)
    (expected,) = torch.autograd.grad(-program.evidence().sum(), program.b)
    if gradient == "dreg":
        torch.testing.assert_close(found[3:], torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
        more = [gradients_of(make(10, gradient), program, program.theta, seed=s) for s in range(60)]
        mean, error = torch.stack(more).mean(0), torch.stack(more).std(0) / 60**0.5
        assert ((mean - expected).abs() < 4.5 * error).all()
    else:
        assert found[3:].abs().max() > 1e-3


def test_it_rises_to_the_evidence_from_below():
    program, copies = LinearGaussian(), 3000
    many, means, errors = Y.repeat(copies, 1), [], []
    for k in (1, 4, 16, 64):
        with torch.no_grad():
            torch.manual_seed(k)
            weights = importance_weighted_log_likelihood(program.model, program.guide, many, num_samples=k)
            torch.manual_seed(k)
            loss = elbo(k).loss(program.model, program.guide, many)
        assert loss == pytest.approx(-weights.sum().item())
        values = weights.unflatten(0, (copies, len(Y)))
        means.append(values.mean(0))
        errors.append(values.std(0) / copies**0.5)
    for (low, high), error in zip(zip(means, means[1:], strict=False), errors, strict=False):
        assert (high - low > 2 * error).all()
    assert (means[-1] < program.evidence() + 5 * errors[-1]).all()
    torch.testing.assert_close(means[-1], program.evidence(), atol=0.05, rtol=0)
    assert (program.evidence() - means[0] > 0.1).all()


def one_latent(parameters, y):
    """``z ~ N(0, 1)``, ``y ~ N(b + 1.5 z, 0.6²)`` and ``q = N(a y, e^2s)``: few enough numbers for an integral."""
    b, a, s = parameters

    def model():
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(y), 1.0))
            pyro.sample("y", dist.Normal(b + 1.5 * z, 0.6), obs=y)

    def guide():
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(a * y, s.exp()))

    return model, guide


def leaf(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
@pytest.mark.parametrize("make", [elbo, vectorized], ids=["in turn", "at once"])
def test_value_and_gradient_of_two_draws_are_the_integral(make, gradient):
    """``E log (w_1 + w_2) / 2`` over both draws, on a grid of noise."""
    parameters, y = [leaf(0.2), leaf(0.25), leaf(-0.5)], torch.tensor([1.3], dtype=torch.float64)
    b, a, s = parameters
    noise = torch.linspace(-8, 8, 801, dtype=torch.float64)
    mass = dist.Normal(0.0, 1.0).log_prob(noise).exp() * (noise[1] - noise[0])
    z = a * y + s.exp() * noise
    log_w = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(b + 1.5 * z, 0.6).log_prob(y)
    log_w = log_w - dist.Normal(a * y, s.exp()).log_prob(z)
    both = torch.logaddexp(log_w[:, None], log_w) - math.log(2)
    integral = -(both * mass[:, None] * mass).sum()
    expected = torch.stack(torch.autograd.grad(integral, parameters))
    copies = 40000
    many = y.repeat(copies)
    torch.manual_seed(0)
    model, guide = one_latent(parameters, many)
    found = []
    for seed in range(12):
        torch.manual_seed(seed)
        loss = make(2, gradient).differentiable_loss(model, guide) / copies
        found.append(torch.stack([loss.detach(), *torch.autograd.grad(loss, parameters)]))
    found = torch.stack(found)
    error = found.std(0) / len(found) ** 0.5
    assert (error < 0.01).all()
    assert ((found.mean(0) - torch.cat([integral.detach()[None], expected])).abs() < 5 * error).all()


@pytest.mark.parametrize("make", [elbo, vectorized], ids=["in turn", "at once"])
def test_the_doubly_reparameterised_gradient_by_its_formula(make):
    program, k = LinearGaussian(), 6
    torch.manual_seed(4)
    model, guide = program.model, program.guide
    found = gradients_of(make(k, "dreg"), program, [program.b, program.gain, program.log_scale], seed=4)
    torch.manual_seed(4)
    noise = torch.stack([torch.randn(4, 2, dtype=torch.float64) for _ in range(k)])
    if make is vectorized:
        torch.manual_seed(4)
        noise = torch.randn(k, 4, 2, dtype=torch.float64)
    mean, scale = (Y - program.b.detach()) @ program.gain.T, program.log_scale.exp()
    z = mean + scale * noise
    at = z.detach().requires_grad_()
    log_joint = dist.Normal(0.0, 1.0).log_prob(at).sum(-1)
    log_joint = log_joint + dist.Normal(at @ W.T + program.b, NOISE).log_prob(Y).sum(-1)
    log_w = log_joint - dist.Normal(mean.detach(), scale.detach()).log_prob(at).sum(-1)
    share = log_w.softmax(0).detach()
    (slope,) = torch.autograd.grad(log_w.sum(), at, retain_graph=True)
    of_phi = torch.autograd.grad(-(share.square()[..., None] * slope * z).sum(), program.phi)
    of_theta = torch.autograd.grad(-(share * log_joint).sum(), program.theta)
    expected = torch.cat([g.flatten() for g in (*of_theta, *of_phi)])
    torch.testing.assert_close(found, expected)
    assert model is not guide


def signal(gradient, k, count=150):
    program = LinearGaussian()
    draws = torch.stack(
        [gradients_of(vectorized(k, gradient), program, program.phi, seed=s) for s in range(count)]
    )
    return draws.mean(0), draws.std(0), count


@pytest.mark.parametrize("k", [4, 64])
def test_both_gradients_have_one_mean_and_the_doubly_reparameterised_less_noise(k):
    (plain, noise, n), (double, less, _) = signal("iwae", k), signal("dreg", k)
    error = (noise.square() + less.square()).sqrt() / n**0.5
    assert ((plain - double).abs() < 4.5 * error).all()
    assert (less < noise).all()


def test_signal_to_noise_falls_with_k_for_one_and_rises_for_the_other():
    """As ``1 / sqrt(K)`` and ``sqrt(K)`` (Rainforth et al. 2018, Tucker et al. 2019): between 4 and 64, by 4 each."""
    # The mean is that of the quieter estimate, which the other's noise would bury.
    means = {k: signal("dreg", k)[0] for k in (4, 64)}
    ratio = {
        (g, k): (means[k].abs() / signal(g, k)[1]).mean().item() for g in ("iwae", "dreg") for k in (4, 64)
    }
    assert ratio["iwae", 64] < 0.6 * ratio["iwae", 4]
    assert ratio["dreg", 64] > 1.8 * ratio["dreg", 4]


class Ladder(nn.Module):
    """Two latents, the later one drawn given the earlier, in model and guide."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor([0.4, 0.3, -0.2], dtype=torch.float64))
        self.s = nn.Parameter(torch.tensor([-0.4, -0.2], dtype=torch.float64))
        self.m = nn.Parameter(torch.tensor([0.9, 0.5], dtype=torch.float64))

    def model(self, y):
        with pyro.plate("data", len(y)):
            low = pyro.sample("low", dist.Normal(torch.zeros_like(y), 1.0))
            high = pyro.sample("high", dist.Normal(self.m[0] * low, 0.8))
            pyro.sample("y", dist.Normal(high + self.m[1] * low.square(), 0.5), obs=y)

    def guide(self, y):
        with pyro.plate("data", len(y)):
            low = pyro.sample("low", dist.Normal(self.a[0] * y, self.s[0].exp()))
            scale = (self.s[1] + 0.3 * low).exp()
            pyro.sample("high", dist.Normal(self.a[1] * y + self.a[2] * low.square(), scale))


@pytest.mark.parametrize("k", [1, 3])
def test_latents_that_depend_on_each_other_have_one_mean_too(k):
    program, y = Ladder(), Y[:, 0].repeat(300)
    parameters, means, errors = [program.a, program.s, program.m], [], []
    for gradient in ("iwae", "dreg"):
        draws = torch.stack(
            [gradients_of(vectorized(k, gradient), program, parameters, y, seed=s) for s in range(200)]
        )
        means.append(draws.mean(0))
        errors.append(draws.std(0) / 200**0.5)
    assert ((means[0] - means[1]).abs() < 4.5 * (errors[0].square() + errors[1].square()).sqrt()).all()
    assert (errors[1] < 0.2 * means[1].abs() + 3).all()


def programs():
    torch.manual_seed(1)
    layers = {
        "additive": lambda: nn.Sequential(AdditiveNormal.linear(3, 2)),
        "two layers": lambda: nn.Sequential(AdditiveNormal.linear(3, 4), AdditiveNormal.linear(4, 2)),
        "log-normal": lambda: nn.Sequential(
            InformationDropout.linear(3, 2, activation="softplus", prior="log-normal")
        ),
        # Of which the encoder is part of the model too.
        "pseudo-inputs": lambda: nn.Sequential(AdditiveNormal.linear(3, 2, prior=VampPrior(Y[:3].float()))),
        "batch norm before": lambda: nn.Sequential(
            nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), AdditiveNormal.linear(3, 2)
        ),
    }
    return {
        name: Bottleneck(
            make(), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)), "normal"
        ).double()
        for name, make in layers.items()
    }


@pytest.mark.parametrize("name", list(programs()))
@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_captured_it_has_the_same_numbers(name, gradient):
    program = programs()[name]
    objective = vectorized(3, gradient)
    captured = objective.capture(program.model, program.guide)
    for seed in (3, 4):
        torch.manual_seed(seed)
        loss = objective.differentiable_loss(program.model, program.guide, Y, Y)
        expected = torch.autograd.grad(loss, [*program.parameters()])
        program.zero_grad()
        torch.manual_seed(seed)
        assert captured.loss_and_grads(Y, Y) == pytest.approx(loss.item(), rel=1e-10)
        for parameter, gradients in zip(program.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradients)


@pytest.mark.parametrize("name", list(programs()))
def test_a_bottlenecks_gradients_have_one_mean(name):
    program = programs()[name]
    parameters = [*program.parameters()]

    def mean(gradient):
        draws = []
        for seed in range(150):
            torch.manual_seed(seed)
            loss = vectorized(8, gradient).differentiable_loss(program.model, program.guide, Y, Y)
            found = torch.autograd.grad(loss, parameters)
            draws.append(torch.cat([g.flatten() for g in found]))
        return torch.stack(draws).mean(0), torch.stack(draws).std(0) / 150**0.5

    (one, error), (other, less) = mean("iwae"), mean("dreg")
    assert ((one - other).abs() < 5 * (error.square() + less.square()).sqrt() + 1e-9).all()


def test_fit_takes_it():
    program = programs()["additive"]
    found = fit(
        program, (Y.repeat(20, 1), Y.repeat(20, 1)), elbo=vectorized(4, "dreg"), epochs=60, progress=False
    )
    losses = list(found.history["loss"])
    assert losses[-1] < losses[0] - 0.2


def test_subsamples_are_scaled_as_elbos_are():
    whole, part = LinearGaussian(), LinearGaussian(num_data=40)
    for objective in (elbo(3), elbo(3, "dreg")):
        found = [gradients_of(objective, p, p.phi, seed=5) for p in (whole, part)]
        torch.testing.assert_close(10 * found[0], found[1])
        torch.manual_seed(5)
        loss = objective.differentiable_loss(whole.model, whole.guide, Y)
        torch.manual_seed(5)
        torch.testing.assert_close(objective.differentiable_loss(part.model, part.guide, Y), 10 * loss)


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_masked_samples_have_no_share(gradient):
    program, mask = LinearGaussian(), torch.tensor([True, False, True, True])
    torch.manual_seed(3)
    sides = [poutine.mask(side, mask=mask) for side in (program.model, program.guide)]
    found = elbo(3, gradient).terms(*sides, Y)
    torch.manual_seed(3)
    expected = importance_weighted_log_likelihood(program.model, program.guide, Y, num_samples=3)
    torch.testing.assert_close(found.loss, -expected[mask].sum())
    assert found.distortion[1] == found.rate["z"][1] == 0


@pytest.mark.parametrize("make", [elbo, vectorized], ids=["in turn", "at once"])
def test_terms_are_those_of_the_draws(make):
    program = LinearGaussian()
    terms = make(400, "dreg").terms(program.model, program.guide, Y)
    assert terms.estimator == {"z": "monte-carlo"}
    many = InformationBottleneckELBO(num_particles=400).terms(program.model, program.guide, Y)
    torch.testing.assert_close(terms.rate["z"], many.rate["z"].detach(), atol=0.3, rtol=0)
    torch.testing.assert_close(terms.distortion, many.distortion.detach(), atol=0.9, rtol=0)
    assert terms.loss < (terms.distortion + terms.rate["z"]).sum()
    assert terms.loss.requires_grad
    assert not terms.distortion.requires_grad


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_automatic_guides_and_global_latents(gradient):
    def model():
        scale = pyro.sample("scale", dist.LogNormal(torch.zeros((), dtype=torch.float64), 1.0))
        with pyro.plate("data", len(Y)):
            pyro.sample("y", dist.Normal(torch.zeros(4, dtype=torch.float64), scale), obs=Y[:, 0])

    guide = AutoNormal(model)
    guide()
    guide.double()
    torch.manual_seed(2)
    expected = importance_weighted_log_likelihood(model, guide, num_samples=5)
    torch.manual_seed(2)
    loss = elbo(5, gradient).differentiable_loss(model, guide)
    torch.testing.assert_close(loss, -expected)
    draws = {}
    for kind in ("iwae", "dreg"):
        draws[kind] = []
        for seed in range(150):
            torch.manual_seed(seed)
            found = torch.autograd.grad(
                elbo(3, kind).differentiable_loss(model, guide), [*guide.parameters()]
            )
            draws[kind].append(torch.stack(found))
    one, other = (torch.stack(d) for d in draws.values())
    error = ((one.var(0) + other.var(0)) / 150).sqrt()
    assert ((one.mean(0) - other.mean(0)).abs() < 4.5 * error).all()


def test_without_a_gradient_it_is_a_number():
    program = LinearGaussian()
    with torch.no_grad():
        assert not elbo(3, "dreg").terms(program.model, program.guide, Y).loss.requires_grad
    assert elbo(3, "dreg").loss(program.model, program.guide, Y) > 0


def in_two_plates():
    def model(y):
        with pyro.plate("data", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(4).double(), 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y[:, 0])
        with pyro.plate("groups", 3, dim=-2):
            pyro.sample("g", dist.Normal(torch.zeros(3, 1).double(), 1.0))

    def guide(y):
        with pyro.plate("data", 4, dim=-1):
            pyro.sample("z", dist.Normal(y[:, 0], 1.0))
        with pyro.plate("groups", 3, dim=-2):
            pyro.sample("g", dist.Normal(torch.zeros(3, 1).double(), 1.0))

    return model, guide


def with_a_global_latent():
    def model(y):
        mean = pyro.sample("mean", dist.Normal(torch.zeros(()).double(), 1.0))
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y[:, 0])

    def guide(y):
        pyro.sample("mean", dist.Normal(torch.zeros(()).double(), 1.0))
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(y[:, 0], 1.0))

    return model, guide


def scaled():
    program = LinearGaussian()
    return poutine.scale(program.model, 0.5), poutine.scale(program.guide, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            in_two_plates,
            r"site 'z': it is in the plates \['data'\].*shares only \[\].*InformationBottleneckELBO",
        ),
        (with_a_global_latent, r"site 'z': it is in the plates \['data'\].*'mean'.*shares only \[\]"),
        (scaled, "site 'z': its scale is 0.5, where its plates account for 1"),
    ],
    ids=["plates", "global", "scale"],
)
@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_programs_without_a_weight_for_each_sample_are_refused(make, message, gradient):
    with pytest.raises(ValueError, match=message):
        elbo(3, gradient).differentiable_loss(*make(), Y)


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_a_sample_of_which_no_draw_has_a_weight_names_the_site(gradient):
    """Behind a ReLU, under a prior without an atom."""
    layer = InformationDropout.linear(3, 2, prior=MixturePrior(2, 3, family="log-normal"))
    nn.init.constant_(layer.features.bias, -9.0)
    program = Bottleneck(layer, nn.Linear(2, 3), "normal").double()
    with pytest.raises(ValueError, match="site 'z1': its rate is infinite for 4 of 4 samples"):
        elbo(3, gradient).differentiable_loss(program.model, program.guide, Y, Y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: elbo(3, beta=0.5), "beta is 0.5, .*InformationBottleneckELBO"),
        (lambda: elbo(3, beta={"z": 1.0}), "beta is {'z': 1.0}"),
        (lambda: setattr(elbo(3), "beta", torch.tensor(2.0)), "beta is 2.0"),
        (lambda: elbo(3, gamma=0.1), "gamma is 0.1"),
        (lambda: elbo(0), "num_particles must be at least 1; got 0"),
        (lambda: elbo(3, "vimco"), "gradient='vimco' is unknown; choose 'iwae' or 'dreg'"),
        (
            lambda: elbo(3, penalty=FreeBits(1.0)).loss(LinearGaussian().model, LinearGaussian().guide, Y),
            "penalty is FreeBits",
        ),
        (
            lambda: fit(programs()["additive"], (Y, Y), elbo=elbo(3), warm_up=1, epochs=2, progress=False),
            "beta is 0",
        ),
    ],
    ids=["beta", "sites", "later", "gamma", "none", "gradient", "penalty", "warm-up"],
)
def test_what_the_bound_does_not_have_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [elbo, vectorized], ids=["in turn", "at once"])
def test_batch_norm_behind_the_noise_is_refused_where_it_couples_samples(make):
    encoder = AdditiveNormal.linear(3, 2)
    program = Bottleneck(
        encoder, nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)), "normal"
    )
    program.double()
    if make is vectorized:
        pytest.skip("a program refuses vectorised particles behind batch norm itself")
    with pytest.raises(ValueError, match=r"site 'z1': the weight of a sample depends.*gradient=\"iwae\""):
        make(3, "dreg").differentiable_loss(program.model, program.guide, Y, Y)
    make(3, "iwae").differentiable_loss(program.model, program.guide, Y, Y)
    program.eval()
    make(3, "dreg").differentiable_loss(program.model, program.guide, Y, Y)


def test_under_vmap_one_gradient_works_and_the_other_is_refused():
    program = programs()["additive"]
    values = {
        f"model.{n}": torch.stack([p.detach(), 1.1 * p.detach()]) for n, p in program.named_parameters()
    }

    def losses(gradient):
        loss = elbo(3, gradient)(program.model, program.guide)

        def one(own):
            return torch.func.functional_call(loss, own, (Y, Y))

        torch.manual_seed(0)
        together = torch.vmap(one, randomness="same")(values)
        torch.manual_seed(0)
        return together, one({n: v[1] for n, v in values.items()})

    together, alone = losses("iwae")
    torch.testing.assert_close(together[1], alone)
    with pytest.raises(
        NotImplementedError, match='gradient="dreg" differentiates within the loss.*vmap.*iwae'
    ):
        losses("dreg")

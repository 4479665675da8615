"""Gamma weights the total correlation of a site over the samples of its plate."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.distributions import FactorizedLogNormal, MultiplicativeLogNormal
from ib_pyro.elbo import CriticTotalCorrelation, GaussianTotalCorrelation, MinibatchTotalCorrelation
from ib_pyro.information import DensityRatioCritic, gaussian_total_correlation
from ib_pyro.nn import AdditiveNormal, InformationDropout

BATCH, DATASET = 40, 400
ESTIMATORS = ["gaussian", "minibatch-stratified", "minibatch-weighted", "critic"]


def estimator(name):
    if name != "critic":
        return name
    critic = DensityRatioCritic(3, hidden=(8,)).double()
    return CriticTotalCorrelation(critic)


def seeded(function, *args, seed=0):
    torch.manual_seed(seed)
    return function(*args)


@pytest.fixture
def batch():
    return torch.randn(BATCH, 4, dtype=torch.float64), torch.arange(BATCH) % 2


def make(first=None, num_data=DATASET):
    encoder = nn.Sequential(
        InformationDropout.linear(4, 3, activation="softplus") if first is None else first,
        AdditiveNormal.linear(3, 3),
    )
    return Bottleneck(encoder, nn.Linear(3, 2), num_data=num_data).double()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_loss_gains_gamma_times_tc_for_every_sample(batch, name):
    program, correlation = make(), estimator(name)
    sides = program.model, program.guide, *batch
    plain = seeded(InformationBottleneckELBO(0.3).terms, *sides)
    terms = seeded(InformationBottleneckELBO(0.3, 0.7, total_correlation=correlation).terms, *sides)
    assert set(terms.total_correlation) == {"z1", "z2"}
    total = sum(terms.total_correlation.values())
    assert total.shape == ()
    torch.testing.assert_close(terms.loss - plain.loss, 0.7 * total * DATASET)
    torch.testing.assert_close(terms.distortion, plain.distortion)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_batch_that_stands_for_itself(batch, name):
    program, correlation = make(num_data=None), estimator(name)
    sides = program.model, program.guide, *batch
    terms = seeded(InformationBottleneckELBO(0.0, 1.0, total_correlation=correlation).terms, *sides)
    torch.testing.assert_close(
        terms.loss, terms.distortion.sum() + BATCH * sum(terms.total_correlation.values())
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_gradient_against_finite_differences(batch, name):
    program = make()
    elbo = InformationBottleneckELBO(0.0, 1.0, total_correlation=estimator(name))
    parameters = list(program.encoder[0].features.parameters())
    loss = seeded(elbo.differentiable_loss, program.model, program.guide, *batch)
    correlation = seeded(elbo.terms, program.model, program.guide, *batch).total_correlation["z1"]
    gradients = torch.autograd.grad(correlation, parameters)
    assert all(g.isfinite().all() and g.any() for g in gradients)
    gradients = torch.autograd.grad(loss, parameters)
    direction, step = [torch.randn_like(p) for p in parameters], 1e-5
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)).item()
    values = []
    for by in (step, -2 * step):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(by * d)
        values.append(seeded(elbo.loss, program.model, program.guide, *batch))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("gamma", [{"z2": 0.5}, {"z1": 0.2, "z2": torch.tensor(0.5)}, {"z1": 0.0}, 0.0, {}])
def test_one_gamma_for_each_site(batch, gamma):
    """A site that the mapping leaves out has weight 0, and its total correlation is not even estimated."""
    program = make()
    sides = program.model, program.guide, *batch
    plain = seeded(InformationBottleneckELBO().terms, *sides)
    terms = seeded(InformationBottleneckELBO(1.0, gamma).terms, *sides)
    weighted = {site: float(g) for site, g in gamma.items() if g} if gamma else {}
    assert set(terms.total_correlation) == set(weighted)
    extra = sum(g * terms.total_correlation[site] for site, g in weighted.items())
    torch.testing.assert_close(terms.loss - plain.loss, torch.as_tensor(extra * DATASET).double())


def test_several_particles_are_averaged(batch):
    program = make()
    sides = program.model, program.guide, *batch
    terms = seeded(InformationBottleneckELBO(1.0, 0.5, num_particles=3).terms, *sides)
    torch.manual_seed(0)
    each = [InformationBottleneckELBO(1.0, 0.5).terms(*sides) for _ in range(3)]
    for site in ("z1", "z2"):
        mean = sum(one.total_correlation[site] for one in each) / 3
        torch.testing.assert_close(terms.total_correlation[site], mean)
    torch.testing.assert_close(terms.loss, sum(one.loss for one in each) / 3)


def samples(loc, scale, *, positive=False):
    """A program whose only site has the given posterior, one row a sample."""

    def run(side):
        with pyro.plate("data", len(loc)):
            if positive:
                zeros, ones = torch.zeros_like(loc[0]), torch.ones_like(loc[0])
                p, q = MultiplicativeLogNormal(loc.exp(), scale).to_event(1), FactorizedLogNormal(zeros, ones)
            else:
                p, q = (
                    dist.Normal(loc, scale).to_event(1),
                    dist.Normal(torch.zeros_like(loc), 1.0).to_event(1),
                )
            pyro.sample("z", p if side == "guide" else q)

    return lambda: run("model"), lambda: run("guide")


def tc_of(sides, **options):
    return InformationBottleneckELBO(0.0, 1.0, **options).terms(*sides).total_correlation["z"].item()


class TestValue:
    """Means correlated by rho plus independent noise: a Gaussian whose total correlation is known."""

    N = 1000

    def loc(self, rho):
        a, b = torch.randn(2, self.N, dtype=torch.float64)
        return torch.stack([a, rho * a + math.sqrt(1 - rho**2) * b], 1)

    @pytest.mark.parametrize("positive", [False, True])
    @pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
    def test_gaussian(self, rho, positive):
        r = rho / 1.25  # noise of variance ¼ beside means of variance 1
        expected = -0.5 * math.log(1 - r**2)
        assert tc_of(samples(self.loc(rho), 0.5, positive=positive)) == pytest.approx(expected, abs=0.03)

    @pytest.mark.parametrize("positive", [False, True])
    @pytest.mark.parametrize("name", ["minibatch-stratified", "minibatch-weighted"])
    @pytest.mark.parametrize("rho", [0.0, 0.9])
    def test_minibatch(self, rho, name, positive):
        r = rho / 1.25
        expected = -0.5 * math.log(1 - r**2)
        if name == "minibatch-weighted":  # its constant, (d - 1) log N
            expected += math.log(self.N)
        tc = tc_of(samples(self.loc(rho), 0.5, positive=positive), total_correlation=name)
        assert tc == pytest.approx(expected, abs=0.1)

    def test_a_critic_is_averaged_over_the_samples(self):
        critic = DensityRatioCritic(2, hidden=(4,)).double()
        elbo = InformationBottleneckELBO(0.0, 1.0, total_correlation=CriticTotalCorrelation(critic))
        loc = self.loc(0.5)
        model, guide = samples(loc, 1e-9)
        terms = elbo.terms(model, guide)
        expected = critic(loc).mean()
        assert abs(expected) > 1e-3
        torch.testing.assert_close(terms.total_correlation["z"], expected, rtol=1e-6, atol=0)
        terms.loss.backward() if terms.loss.requires_grad else None
        assert all(p.grad is None for p in critic.parameters())

    def test_is_that_of_the_logarithm_for_positive_z(self, batch):
        program = make()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            z = program.encoder[0](batch[0])
        sides = program.model, program.guide, *batch
        for space, expected in (("auto", z.log()), ("log", z.log()), ("identity", z)):
            elbo = InformationBottleneckELBO(
                gamma={"z1": 1.0}, total_correlation=GaussianTotalCorrelation(space=space)
            )
            value = seeded(elbo.terms, *sides).total_correlation["z1"]
            torch.testing.assert_close(value, gaussian_total_correlation(expected))

    def test_log_normal_posteriors_of_any_name_agree(self):
        """Scored by their own density of z, not by that of log z."""
        loc = torch.randn(30, 2, dtype=torch.float64)

        def sides(make):
            def model():
                with pyro.plate("data", 30):
                    pyro.sample("z", FactorizedLogNormal(loc[0], torch.ones(2).double()))

            def guide():
                with pyro.plate("data", 30):
                    pyro.sample("z", make().to_event(1))

            return model, guide

        own = sides(lambda: MultiplicativeLogNormal(loc.exp(), 0.5))
        pyros = sides(lambda: dist.LogNormal(loc, 0.5))
        values = [seeded(lambda s=s: tc_of(s, total_correlation="minibatch-weighted")) for s in (own, pyros)]
        assert values[0] == pytest.approx(values[1], rel=1e-9)

    @pytest.mark.parametrize("name", ESTIMATORS[1:3])
    def test_units_that_are_off_are_atoms(self, batch, name):
        program = make(InformationDropout.linear(4, 3))
        elbo = InformationBottleneckELBO(0.0, {"z1": 1.0}, total_correlation=name)
        terms = elbo.terms(program.model, program.guide, *batch)
        assert terms.total_correlation["z1"].isfinite()
        for gradient in torch.autograd.grad(terms.loss, program.parameters(), allow_unused=True):
            assert gradient is None or gradient.isfinite().all()


class TestRefusals:
    def test_nested_plates(self, build):
        program = build("nested plates, subsampled")
        with pytest.raises(
            ValueError, match=r"site 'z': gamma weights.*one plate, but the site is in 2.*gamma=\{site"
        ):
            InformationBottleneckELBO(gamma={"z": 1.0}).loss(*program.call)

    def test_no_plate(self, build):
        program = build("nested plates, subsampled")
        with pytest.raises(ValueError, match="site 'mean': gamma weights.*but the site is in 0"):
            InformationBottleneckELBO(gamma=1.0).loss(*program.call)

    @pytest.mark.parametrize("gamma", [torch.rand(BATCH), {"z1": torch.rand(1)}])
    def test_one_gamma_for_each_sample(self, gamma):
        with pytest.raises(ValueError, match="gamma must be one number for a site"):
            InformationBottleneckELBO(gamma=gamma)

    def test_a_batch_smaller_than_the_representation(self, batch):
        program = make()
        x, y = batch[0][:3], batch[1][:3]
        with pytest.raises(ValueError, match="shrinkage"):
            InformationBottleneckELBO(gamma=1.0).loss(program.model, program.guide, x, y)
        shrunk = InformationBottleneckELBO(
            gamma=1.0, total_correlation=GaussianTotalCorrelation(shrinkage=0.1)
        )
        assert math.isfinite(shrunk.loss(program.model, program.guide, x, y))

    def test_the_logarithm_of_units_that_are_off(self, batch):
        program = make(InformationDropout.linear(4, 3))
        elbo = InformationBottleneckELBO(
            gamma={"z1": 1.0}, total_correlation=GaussianTotalCorrelation(space="log")
        )
        with pytest.raises(ValueError, match="space='log' needs z > 0"):
            elbo.loss(program.model, program.guide, *batch)

    def test_dependent_units(self):
        loc = torch.randn(10, 2)

        def program(mean):
            with pyro.plate("data", 10):
                pyro.sample("z", dist.MultivariateNormal(mean, torch.eye(2)))

        elbo = InformationBottleneckELBO(0.0, 1.0, total_correlation="minibatch-stratified")
        with pytest.raises(ValueError, match="MultivariateNormal has dependent units"):
            elbo.loss(lambda: program(0 * loc), lambda: program(loc))

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (
                lambda: InformationBottleneckELBO(total_correlation="gauss"),
                "total_correlation='gauss' is unknown",
            ),
            (lambda: GaussianTotalCorrelation(space="z"), "space='z' is unknown"),
            (lambda: MinibatchTotalCorrelation(method="mss"), "method='mss' is unknown"),
        ],
    )
    def test_unknown_names(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("method", ["stratified", "weighted"])
def test_a_minibatch_estimate_may_be_told_the_size_of_the_data_set(batch, method):
    """A plate that knows only its batch and an estimator that knows N give what a plate of N gives."""
    whole, part = make(), make(num_data=None)
    part.load_state_dict(whole.state_dict())
    values = {}
    for name, program, num_data in (("plate", whole, None), ("told", part, DATASET), ("batch", part, None)):
        estimate = MinibatchTotalCorrelation(method=method, num_data=num_data)
        elbo = InformationBottleneckELBO(gamma=1.0, total_correlation=estimate)
        values[name] = seeded(elbo.terms, program.model, program.guide, *batch).total_correlation["z2"]
    torch.testing.assert_close(values["told"], values["plate"])
    assert abs(values["batch"] / values["plate"] - 1) > 0.1


def test_a_size_of_no_data_set_is_refused():
    with pytest.raises(ValueError, match="num_data must be at least 1; got 0"):
        MinibatchTotalCorrelation(num_data=0)


def test_masked_samples_are_refused_rather_than_counted(batch):
    program, mask = make(), torch.arange(BATCH) < 30
    elbo = InformationBottleneckELBO(gamma={"z1": 1.0})
    sides = [pyro.poutine.mask(side, mask=mask) for side in (program.model, program.guide)]
    with pytest.raises(ValueError, match="site 'z1': some of its samples are masked"):
        elbo.terms(*sides, *batch)

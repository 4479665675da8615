"""What would give wrong numbers without a word is refused, with the site's name and the way out."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions.testing.fakes import NonreparameterizedNormal
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal

from ib_pyro import InformationBottleneckELBO
from ib_pyro.distributions import FactorizedLogNormal, MultiplicativeBernoulli, MultiplicativeLogNormal
from ib_pyro.elbo import MissingKLError

ZERO, ONES = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
ELBO = InformationBottleneckELBO()


def program(make, *, observe=False, handlers=()):
    """Sample z in a plate of four, inside of handlers; the model then looks at it."""

    def run():
        with pyro.plate("data", 4):
            stack = [make_handler() for make_handler in handlers]
            for handler in stack:
                handler.__enter__()
            z = pyro.sample("z", make())
            for handler in reversed(stack):
                handler.__exit__(None, None, None)
            if observe:
                pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(4, dtype=torch.float64))

    return run


def prior():
    return dist.Normal(ZERO, 1.0).to_event(1)


def posterior():
    return dist.Normal(ONES, 0.5).to_event(1)


class TestMissingKL:
    MODEL = staticmethod(program(lambda: dist.Gamma(ONES, 1.0).to_event(1), observe=True))
    GUIDE = staticmethod(program(lambda: dist.LogNormal(ZERO, 0.5).to_event(1)))

    def test_names_the_site_both_distributions_and_the_ways_out(self):
        message = r"site 'z': no closed-form KL is known from LogNormal \(guide\) to Gamma \(model\)"
        with pytest.raises(
            MissingKLError, match=message + r".*register_kl.*on_no_closed_form=\"monte-carlo\""
        ):
            ELBO.loss(self.MODEL, self.GUIDE)
        assert issubclass(MissingKLError, NotImplementedError)

    def test_monte_carlo_is_what_pyro_does_silently(self):
        elbo = InformationBottleneckELBO(on_missing_kl="monte-carlo")
        for seed in range(3):
            torch.manual_seed(seed)
            ours = elbo.loss(self.MODEL, self.GUIDE)
            torch.manual_seed(seed)
            assert ours == pytest.approx(TraceMeanField_ELBO().loss(self.MODEL, self.GUIDE), rel=1e-12)

    def test_monte_carlo_has_the_expectation_of_a_sampled_rate(self):
        options = {"num_particles": 2000, "vectorize_particles": True, "max_plate_nesting": 1}
        ours = InformationBottleneckELBO(on_missing_kl="monte-carlo", **options)
        values = torch.tensor([ours.loss(self.MODEL, self.GUIDE) for _ in range(10)])
        sampled = torch.tensor([Trace_ELBO(**options).loss(self.MODEL, self.GUIDE) for _ in range(10)])
        assert abs(values.mean() - sampled.mean()) < 5 * math.hypot(values.std(), sampled.std()) / math.sqrt(
            10
        )

    def test_a_weight_of_zero_does_not_ask_for_it(self):
        assert math.isfinite(InformationBottleneckELBO(0.0).loss(self.MODEL, self.GUIDE))

    @pytest.mark.parametrize(
        ("model", "guide", "hint"),
        [
            (
                prior,
                lambda: dist.Normal(ONES, 0.5).expand((4, 3)).to_event(1).mask(True),
                "MaskedDistribution",
            ),
            (lambda: prior().mask(True), posterior, "MaskedDistribution"),
            (lambda: dist.Dirichlet(ONES), posterior, "Dirichlet"),
            (
                lambda: FactorizedLogNormal(ZERO, ONES),
                lambda: MultiplicativeLogNormal(ONES, 0.5).mask(True).to_event(1),
                "FactorizedLogNormal",
            ),
        ],
    )
    def test_wrappers_on_one_side_only_are_pointed_out(self, model, guide, hint):
        with pytest.raises(MissingKLError, match=rf"site 'z'.*{hint}.*alike on both sides"):
            ELBO.loss(program(model), program(guide))

    def test_an_unknown_choice(self):
        with pytest.raises(
            ValueError, match="on_missing_kl='sample' is unknown; choose 'error' or 'monte-carlo'"
        ):
            InformationBottleneckELBO(on_missing_kl="sample")


MASK = torch.tensor([True, False, True, True])
HANDLERS = {
    "a scale": lambda: poutine.scale(scale=0.5),
    "a scale of tensors": lambda: poutine.scale(
        scale=torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    ),
    "a mask": lambda: poutine.mask(mask=MASK.clone()),
    "a mask of everything": lambda: poutine.mask(mask=False),
}


class TestScaleAndMask:
    @pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
    @pytest.mark.parametrize("side", ["guide", "model"])
    def test_on_one_side_is_refused(self, handler, side):
        model = program(prior, handlers=[handler] * (side == "model"))
        guide = program(posterior, handlers=[handler] * (side == "guide"))
        for elbo in (
            ELBO,
            InformationBottleneckELBO(0.5),
            InformationBottleneckELBO(on_missing_kl="monte-carlo"),
        ):
            with pytest.raises(
                ValueError, match=r"site 'z': its (scale|mask) is .* in the guide but .* in the model"
            ):
                elbo.loss(model, guide)

    @pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
    def test_on_both_sides_is_pyros(self, handler):
        model, guide = (
            program(prior, observe=True, handlers=[handler]),
            program(posterior, handlers=[handler]),
        )
        for seed in range(2):
            torch.manual_seed(seed)
            ours = ELBO.loss(model, guide)
            torch.manual_seed(seed)
            assert ours == TraceMeanField_ELBO().loss(model, guide)

    def test_different_ones_are_refused(self):
        half, more = (lambda: poutine.scale(scale=0.5)), (lambda: poutine.scale(scale=0.6))
        sides = program(prior, handlers=[half]), program(posterior, handlers=[more])
        with pytest.raises(ValueError, match=r"its scale is 0.6 in the guide but 0.5 in the model.*\{site"):
            ELBO.loss(*sides)
        some, others = (lambda: poutine.mask(mask=MASK)), (lambda: poutine.mask(mask=~MASK))
        sides = program(prior, handlers=[some]), program(posterior, handlers=[others])
        with pytest.raises(ValueError, match="its mask is a tensor of shape"):
            ELBO.loss(*sides)

    def test_plates_may_nest_in_another_order(self):
        """Their scales then multiply to numbers that differ in the last digit."""

        def run(order, loc):
            sizes = (7, 17, 9), (3, 3, 2)
            plates = [
                pyro.plate(f"p{i}", size, subsample_size=subsample, dim=-1 - i)
                for i, (size, subsample) in enumerate(zip(*sizes, strict=True))
            ]
            with plates[order[0]], plates[order[1]], plates[order[2]]:
                pyro.sample("z", dist.Normal(loc, torch.ones((), dtype=torch.float64)))

        terms = ELBO.terms(lambda: run((0, 1, 2), 0.0), lambda: run((2, 1, 0), 1.0))
        assert terms.loss.item() == pytest.approx(7 * 17 * 9 / 2)

    def test_a_subsampled_model_with_a_whole_guide_is_refused(self):
        def model():
            with pyro.plate("data", 8, subsample_size=4):
                pyro.sample("z", prior())

        with pytest.raises(ValueError, match=r"site 'z': its scale is 1.0 in the guide but 2.0 in the model"):
            ELBO.loss(model, program(posterior))


class TestSites:
    def test_only_in_one_of_them(self):
        def empty():
            pass

        with pytest.raises(
            ValueError, match=r"sites of model and guide differ: \['z'\] only in the model, none only"
        ):
            ELBO.loss(program(prior), empty)
        with pytest.raises(
            ValueError, match=r"none only in the model, \['z'\] only in the guide.*is_auxiliary"
        ):
            ELBO.loss(empty, program(posterior))

    def test_observed_in_the_guide(self):
        def guide():
            with pyro.plate("data", 4):
                pyro.sample("z", posterior(), obs=torch.zeros(4, 3).double())

        with pytest.raises(ValueError, match="site 'z'.*latent in the model but observed in the guide"):
            ELBO.loss(program(prior), guide)

    def test_sampled_twice(self):
        def twice():
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("z", dist.Normal(0.0, 1.0))

        with pytest.raises(ValueError, match="site 'z'.*twice"):
            ELBO.loss(twice, twice)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: dist.Bernoulli(0.5 * ONES).to_event(1),
            lambda: NonreparameterizedNormal(ONES, 0.5 * ONES).to_event(1),
            lambda: MultiplicativeBernoulli(ONES, torch.tensor(0.5).double().requires_grad_()).to_event(1),
        ],
    )
    def test_a_guide_that_is_not_reparameterised(self, make):
        with pytest.raises(
            NotImplementedError, match="site 'z': .* in the guide is not reparameterised.*Trace_ELBO"
        ):
            ELBO.loss(program(prior), program(make))

    def test_a_dimension_without_a_plate(self):
        def model():
            pyro.sample("z", dist.Normal(ZERO, 1.0))

        def guide():
            pyro.sample("z", dist.Normal(ONES, 1.0))

        with pytest.raises(ValueError, match="z"):
            TraceMeanField_ELBO().loss(model, guide)
        with pytest.raises(ValueError, match="z"):
            ELBO.loss(model, guide)

    def test_a_plate_on_one_side_only(self):
        def bare():
            pyro.sample("z", prior().expand((4,)))

        with pytest.raises(ValueError, match='at site "z", invalid log_prob shape'):
            ELBO.loss(bare, program(posterior))
        with pytest.raises(ValueError, match='at site "z", invalid log_prob shape'):
            ELBO.loss(program(prior), lambda: pyro.sample("z", posterior().expand((4,))))

    def test_shapes_that_differ(self):
        guide = program(lambda: dist.Normal(torch.ones(2), 0.5).to_event(1))
        with pytest.raises(ValueError, match="z"):
            ELBO.loss(program(prior), guide)

    def test_an_observation_outside_of_its_support(self):
        def model():
            pyro.sample("count", dist.Poisson(torch.tensor(1.0)), obs=torch.tensor(-1.0))

        with pytest.raises(ValueError, match="site 'count': .*support"):
            ELBO.loss(model, lambda: None)

    def test_a_loss_that_is_nan_warns(self):
        def model():
            pyro.factor("f", torch.tensor(math.nan))

        with pyro.validation_enabled(False), pytest.warns(UserWarning, match="NaN"):
            ELBO.loss(model, lambda: None)


def test_a_mapping_and_a_guide_that_shares_its_noise():
    """An automatic guide with one site for each of the model's maps onto that site's weight."""

    def model():
        pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(0.0, 2.0))

    guide = AutoNormal(model)
    guide()
    at = {}
    for beta in ({"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 3.0}, {"a": 1.0, "b": 3.0}):
        torch.manual_seed(0)
        terms = InformationBottleneckELBO(beta).terms(model, guide)
        at[beta["a"], beta["b"]] = terms.loss.item()
        assert set(terms.rate) == {"a", "b"}
    assert at[0, 0] == 0
    assert at[1, 3] == pytest.approx(at[1, 0] + at[0, 3], rel=1e-6)
    assert at[1, 0] == pytest.approx(terms.rate["a"].item(), rel=1e-6)


class TestAMappingAndAJointGuide:
    """An automatic guide with one site for all latents has one entropy, which no single latent's weight reaches."""

    @staticmethod
    def model():
        pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(0.0, 2.0))

    def loss(self, beta):
        guide = AutoDiagonalNormal(self.model)
        guide()
        torch.manual_seed(0)
        return InformationBottleneckELBO(beta).loss(self.model, guide)

    def test_refuses_to_weigh_a_prior_without_its_posterior(self):
        joint = "_AutoDiagonalNormal_latent"
        with pytest.raises(
            ValueError, match=f"site 'a': beta weights it alone, .* joint site '{joint}'.*AutoNormal"
        ):
            self.loss({"a": 0.5})

    def test_takes_a_weight_for_the_joint_site_too(self):
        joint = "_AutoDiagonalNormal_latent"
        assert self.loss({"a": 3.0, "b": 3.0, joint: 3.0}) == pytest.approx(self.loss(3.0))
        assert self.loss({joint: 0.0}) != pytest.approx(self.loss(1.0))

    def test_refuses_the_name_of_an_auxiliary_site_whose_weight_is_its_owners(self):
        guide = AutoNormal(self.model)
        guide()
        with pytest.raises(ValueError, match=r"site 'a_unconstrained' is unknown; .*hoose 'a'"):
            InformationBottleneckELBO({"a_unconstrained": 0.5}).loss(self.model, guide)

    def test_leaves_a_point_estimate_its_own_weight(self):
        guide = AutoDelta(self.model)
        guide()
        prior = (
            -dist.Normal(0.0, 1.0).log_prob(guide.median()["a"]),
            -dist.Normal(0.0, 2.0).log_prob(guide.median()["b"]),
        )
        loss = InformationBottleneckELBO({"a": 0.5}).loss(self.model, guide)
        assert loss == pytest.approx(float(0.5 * prior[0] + prior[1]))

"""Programs and settings that would give another number than they say: refused by name."""

import copy
import math
from contextlib import nullcontext

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.distributions import MultiplicativeLogNormal, ZeroInflatedLogUniform
from ib_pyro.elbo import Capacity, CapacityELBO, FreeBits, FreeBitsELBO, MissingKLError
from ib_pyro.nn import InformationDropout
from models.vae import VAE

X, Y = torch.rand(6, 4), torch.arange(6) % 3


def classifier():
    torch.manual_seed(0)
    return Bottleneck(InformationDropout.linear(4, 5), nn.Linear(5, 3))


class TestSidesThatAreSwapped:
    @pytest.fixture
    def vae(self):
        return VAE(k=1, latent="gaussian", image_shape=(1, 8, 8)), (torch.rand(4, 1, 8, 8) > 0.5).float()

    def test_model_and_guide(self, vae):
        program, x = vae
        with pytest.raises(ValueError, match="site 'y': the guide observes it.*swapped"):
            InformationBottleneckELBO().terms(program.guide, program.model, x, x)

    def test_a_guide_that_samples_the_data(self, vae):
        program, x = vae

        def guide(x, y):
            program.guide(x)
            with pyro.plate("data", len(x)):
                pyro.sample("y", dist.Bernoulli(torch.full((4, 1, 8, 8), 0.5)).to_event(3))

        with pytest.raises(
            ValueError, match=r"site 'y': the model observes it, but the guide samples it.*block"
        ):
            InformationBottleneckELBO().terms(program.model, guide, x, x)

    def test_a_model_conditioned_on_a_latent(self, vae):
        program, x = vae
        (site,) = program.stochastic_layers
        conditioned = poutine.condition(program.model, data={site: torch.zeros(4, 256)})
        with pytest.raises(
            ValueError, match=f"site '{site}': the model observes it, but the guide samples it"
        ):
            InformationBottleneckELBO().terms(conditioned, program.guide, x, x)

    def test_a_guide_conditioned_on_a_latent(self, vae):
        program, x = vae
        (site,) = program.stochastic_layers
        conditioned = poutine.condition(program.guide, data={site: torch.zeros(4, 256)})
        with pytest.raises(
            ValueError, match=f"site '{site}': it is latent in the model but observed in the guide"
        ):
            InformationBottleneckELBO().terms(program.model, conditioned, x, x)

    def test_data_that_are_left_out(self):
        program = classifier()
        with pytest.raises(
            ValueError, match=r"\['y'\] only in the model.*y was not given, so it is sampled; pass y"
        ):
            InformationBottleneckELBO().terms(program.model, program.guide, X)


class TestTheReachOfAWeight:
    @pytest.mark.parametrize("shape", [(6, 1), (5, 6), (5,), (1, 6)])
    def test_a_beta_beyond_the_site(self, shape):
        program = classifier()
        with pytest.raises(ValueError, match=r"site 'z1': beta has shape .* batch shape \(6,\)"):
            InformationBottleneckELBO(torch.full(shape, 0.5)).loss(program.model, program.guide, X, Y)

    @pytest.mark.parametrize("beta", [torch.full((6,), 0.5), torch.full((1,), 0.5), torch.full((1, 1), 0.5)])
    def test_a_beta_within_it(self, beta):
        program, losses = classifier(), []
        for weight in (0.5, beta):
            torch.manual_seed(0)
            losses.append(InformationBottleneckELBO(weight).loss(program.model, program.guide, X, Y))
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)

    def test_one_for_each_sample_does_not_reach_a_global_site(self):
        def model():
            w = pyro.sample("w", dist.Normal(0.0, 1.0))
            with pyro.plate("data", 6):
                z = pyro.sample("z", dist.Normal(w, 1.0))
                pyro.sample("y", dist.Normal(z, 1.0), obs=torch.zeros(6))

        def guide():
            pyro.sample("w", dist.Normal(1.0, 0.5))
            with pyro.plate("data", 6):
                pyro.sample("z", dist.Normal(torch.ones(6), 0.5))

        with pytest.raises(ValueError, match=r"site 'w': beta has shape \(6,\).*batch shape \(\)"):
            InformationBottleneckELBO(torch.ones(6)).loss(model, guide)
        assert math.isfinite(InformationBottleneckELBO({"z": torch.ones(6)}).loss(model, guide))

    def test_particles_may_have_one_weight_for_each_sample(self):
        program = classifier()
        options = {"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 1}
        losses = []
        for beta in (0.5, torch.full((6,), 0.5)):
            torch.manual_seed(0)
            losses.append(InformationBottleneckELBO(beta, **options).loss(program.model, program.guide, X, Y))
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)

    @pytest.mark.parametrize(
        "make",
        [
            lambda v: InformationBottleneckELBO(gamma=v),
            lambda v: CapacityELBO(v),
            lambda v: FreeBitsELBO({"z1": v}),
            lambda v: InformationBottleneckELBO(penalty=Capacity(v)),
            lambda v: InformationBottleneckELBO(penalty=FreeBits(v)),
        ],
    )
    def test_targets_and_gamma_are_one_number(self, make):
        with pytest.raises(ValueError, match=r"must be one number for a site.*got shape \(3,\)"):
            make(torch.ones(3))

    @pytest.mark.parametrize("value", [np.float32(0.5), np.int64(2), np.float64(0.5), True])
    def test_numbers_of_other_kinds(self, value):
        elbo = InformationBottleneckELBO(value, gamma=value)
        assert elbo.beta == value
        assert isinstance(elbo.beta, int | float)

    @pytest.mark.parametrize("value", [math.inf, torch.tensor([1.0, math.inf]), {"z1": math.inf}])
    def test_infinite_weights(self, value):
        with pytest.raises(ValueError, match=r"beta.* must be at least 0 and finite; got"):
            InformationBottleneckELBO(value)

    @pytest.mark.parametrize("value", ["0.1", np.ones(3), None, [0.1]])
    def test_what_is_no_number(self, value):
        with pytest.raises(TypeError, match="beta must be a number, a tensor or a mapping of sites; got"):
            InformationBottleneckELBO(value)


def test_gamma_and_vectorised_particles():
    def side():
        with pyro.plate("n", 4):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    options = {"num_particles": 5, "vectorize_particles": True, "max_plate_nesting": 1}
    with pytest.raises(ValueError, match="site 'z': .*vectorised particles.*vectorize_particles=False"):
        InformationBottleneckELBO(gamma=1.0, **options).loss(side, side)


def test_a_site_that_a_mapping_of_targets_leaves_out_has_none():
    model, guide = scaled_sides()
    torch.manual_seed(0)
    without = CapacityELBO({}).loss(model, guide)
    torch.manual_seed(0)
    assert without == InformationBottleneckELBO().loss(model, guide)


def scaled_sides(dims=2):
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def model():
        with pyro.plate("d", 4), poutine.scale(scale=scale):
            z = pyro.sample("z", dist.Normal(torch.zeros(dims), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(4))

    def guide():
        with pyro.plate("d", 4), poutine.scale(scale=scale):
            pyro.sample("z", dist.Normal(torch.ones(4, dims), 0.5).to_event(1))

    return model, guide


class TestAScaleForEachSample:
    RATE = 2 * (0.25 / 2 + 0.5 - 0.5 - math.log(0.5))

    @pytest.mark.parametrize(
        ("elbo", "penalty"),
        [
            (InformationBottleneckELBO(), RATE),
            (CapacityELBO(1.0), abs(RATE - 1.0)),
            (CapacityELBO(5.0), abs(RATE - 5.0)),
            (FreeBitsELBO(1.0), RATE),
            (FreeBitsELBO(5.0), 5.0),
        ],
    )
    def test_the_loss_is_one_number(self, elbo, penalty):
        """A scale of 10 in all: a target per sample counts as often as the samples do."""
        model, guide = scaled_sides()
        torch.manual_seed(0)
        loss = elbo.differentiable_loss(model, guide)
        torch.manual_seed(0)
        distortion = InformationBottleneckELBO(0.0).differentiable_loss(model, guide)
        assert loss.shape == ()
        assert (loss - distortion).item() == pytest.approx(10 * penalty, rel=1e-5)

    def test_gamma(self):
        with pytest.raises(ValueError, match="site 'z': its samples have a scale each.*gamma"):
            InformationBottleneckELBO(gamma=1.0).loss(*scaled_sides())


class TestMasksOfTwoLaws:
    """The registered rule takes what both masks leave in; a sampled ELBO takes each law's own."""

    @staticmethod
    def sides(mask_of_model, mask_of_guide):
        def side(loc, mask):
            def run():
                with pyro.plate("d", 2):
                    pyro.sample("z", dist.Normal(torch.full((2,), loc), 1.0).mask(mask))

            return run

        return side(0.0, mask_of_model), side(1.0, mask_of_guide)

    def test_that_differ_have_no_closed_form(self):
        sides = self.sides(torch.tensor([True, False]), torch.tensor([True, True]))
        with pytest.raises(MissingKLError, match=r"site 'z': .*masked by .mask\(\) with different masks"):
            InformationBottleneckELBO().loss(*sides)
        ours, theirs = [], []
        for seed in range(3):
            for elbo, values in (
                (InformationBottleneckELBO(on_no_closed_form="monte-carlo"), ours),
                (pyro.infer.Trace_ELBO(), theirs),
            ):
                torch.manual_seed(seed)
                values.append(elbo.loss(*sides))
        assert ours == pytest.approx(theirs, rel=1e-6)

    def test_that_agree_have_one(self):
        mask = torch.tensor([True, False])
        assert InformationBottleneckELBO().loss(*self.sides(mask, mask.clone())) == pytest.approx(0.5)


def test_event_shapes_that_broadcast():
    with (
        pyro.validation_enabled(False),
        pytest.raises(ValueError, match=r"site 'z': its event shape is \(1,\) in the guide"),
    ):
        InformationBottleneckELBO().loss(
            lambda: pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1)),
            lambda: pyro.sample("z", dist.Normal(torch.ones(1), 1.0).to_event(1)),
        )


class TestInfiniteRates:
    def test_a_prior_with_bounds_under_noise_without(self):
        program = classifier()
        program.encoder.prior = ZeroInflatedLogUniform(0.5, 1e-3, 1e3)
        with pytest.raises(ValueError, match=r"site 'z1': its rate is infinite for \d of 6 samples"):
            InformationBottleneckELBO(0.1).loss(program.model, program.guide, X, Y)
        assert math.isfinite(InformationBottleneckELBO(0.0).loss(program.model, program.guide, X, Y))

    def test_a_draw_outside_of_the_prior(self):
        def side(fn):
            return lambda: pyro.sample("z", fn)

        sides = side(dist.Uniform(0.0, 1.0)), side(dist.Delta(torch.tensor(2.0)))
        with pyro.validation_enabled(False):
            assert InformationBottleneckELBO().loss(*sides) == math.inf
        with pytest.raises(ValueError, match="site 'z'"):
            InformationBottleneckELBO().loss(*sides)

    @pytest.mark.parametrize("mask", [False, torch.tensor(False)])
    def test_what_is_masked_is_not_charged(self, mask):
        def side(make):
            def run():
                with poutine.mask(mask=mask):
                    pyro.sample("z", make())

            return run

        model = side(lambda: ZeroInflatedLogUniform(torch.tensor(0.5), 0.1, 1.0))
        guide = side(lambda: MultiplicativeLogNormal(torch.tensor(0.5), 0.1))
        assert InformationBottleneckELBO().loss(model, guide) == 0

    def test_the_site_that_is_named_is_the_one_that_is_charged(self):
        def side(make):
            def run():
                with poutine.mask(mask=False):
                    pyro.sample("masked", make())
                pyro.sample("charged", make())

            return run

        model = side(lambda: ZeroInflatedLogUniform(torch.tensor(0.5), 0.1, 1.0))
        guide = side(lambda: MultiplicativeLogNormal(torch.tensor(0.5), 0.1))
        with pytest.raises(ValueError, match="site 'charged'"):
            InformationBottleneckELBO().loss(model, guide)


class TestTheModuleOfALoss:
    def test_holds_each_parameter_once(self):
        program = classifier()
        loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
        names = [name for name, _ in loss.named_parameters(remove_duplicate=False)]
        assert len(names) == len(list(program.parameters()))
        assert len(loss.state_dict()) == len(program.state_dict())

    def test_is_replaced_by_functional_call(self):
        program = classifier()
        loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
        parameters = {name: torch.zeros_like(p) for name, p in loss.named_parameters()}
        torch.manual_seed(0)
        zeros = torch.func.functional_call(loss, parameters, (X, Y))
        assert all(isinstance(p, nn.Parameter) for p in program.parameters())
        other = copy.deepcopy(program)
        for parameter in other.parameters():
            parameter.data.zero_()
        torch.manual_seed(0)
        assert zeros.item() == pytest.approx(
            InformationBottleneckELBO(0.1).loss(other.model, other.guide, X, Y)
        )

    def test_of_two_modules_has_both(self):
        model, guide = nn.Linear(1, 1), nn.Linear(1, 1)
        loss = InformationBottleneckELBO()(model, guide)
        assert {name.split(".")[0] for name, _ in loss.named_parameters()} == {"model", "guide"}


class TestTheFirstArgument:
    def test_a_whole_number_by_position_may_have_been_meant_as_particles(self):
        with pytest.warns(UserWarning, match=r"\(10\) has beta=10.*write num_particles=10"):
            assert InformationBottleneckELBO(10).beta == 10

    @pytest.mark.parametrize(
        "make",
        [
            lambda: InformationBottleneckELBO(beta=10),
            lambda: InformationBottleneckELBO(10.0),
            lambda: InformationBottleneckELBO(1),
            lambda: CapacityELBO(20),
        ],
    )
    def test_others_are_taken_at_their_word(self, make):
        make()

    def test_the_objective_says_what_it_is(self):
        assert (
            repr(InformationBottleneckELBO(0.5, gamma=2.0))
            == "InformationBottleneckELBO(beta=0.5, gamma=2.0)"
        )
        assert repr(CapacityELBO(20.0)) == "CapacityELBO(beta=1.0, gamma=0.0, penalty=Capacity(20.0))"
        assert "num_particles=3" in repr(InformationBottleneckELBO({"z1": 0.1}, num_particles=3))


@pytest.mark.parametrize("beta", [0.7, {"z1": 0.3}])
def test_penalties_are_the_classes_of_old(beta):
    program = classifier()
    for penalty, elbo in ((Capacity(2.0), CapacityELBO(2.0, beta)), (FreeBits(2.0), FreeBitsELBO(2.0, beta))):
        losses = []
        for objective in (InformationBottleneckELBO(beta, penalty=penalty), elbo):
            torch.manual_seed(0)
            losses.append(objective.loss(program.model, program.guide, X, Y))
        assert losses[0] == losses[1]


class TestScalesAndMasksOfOtherSamples:
    """They would broadcast a site's values to more than they are, and count each so often."""

    @staticmethod
    def sides(handler, *, around_y):
        def side(loc, y=None):
            def run():
                with pyro.plate("d", 4):
                    with nullcontext() if around_y else handler():
                        z = pyro.sample("z", dist.Normal(torch.full((4, 2), loc), 1.0).to_event(1))
                    if y is not None:
                        with handler() if around_y else nullcontext():
                            pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=y)

            return run

        return side(0.0, torch.zeros(4)), side(1.0)

    @pytest.mark.parametrize("shape", [(4, 1), (2, 4), (5,)])
    @pytest.mark.parametrize("kind", ["scale", "mask"])
    @pytest.mark.parametrize("around_y", [True, False])
    def test_are_refused(self, shape, kind, around_y):
        value = torch.full(shape, 0.5) if kind == "scale" else torch.ones(shape, dtype=torch.bool)
        model, guide = self.sides(lambda: getattr(poutine, kind)(**{kind: value}), around_y=around_y)
        site = "y" if around_y else "z"
        for elbo in (InformationBottleneckELBO(), InformationBottleneckELBO(torch.full((4,), 0.5))):
            with pytest.raises(ValueError, match=rf"site '{site}': its {kind} has shape"):
                elbo.loss(model, guide)

    @pytest.mark.parametrize("shape", [(4,), (1,), ()])
    def test_of_the_same_are_taken(self, shape):
        model, guide = self.sides(lambda: poutine.scale(scale=torch.full(shape, 0.5)), around_y=False)
        losses = []
        for elbo in (InformationBottleneckELBO(), pyro.infer.TraceMeanField_ELBO()):
            torch.manual_seed(0)
            losses.append(elbo.loss(model, guide))
        assert losses[0] == pytest.approx(losses[1])

    def test_a_scale_that_is_not_finite(self):
        model, guide = self.sides(lambda: poutine.scale(scale=math.inf), around_y=False)
        with pytest.raises(ValueError, match="site 'z': its scale is inf"):
            InformationBottleneckELBO().loss(model, guide)


class TestWhatIsSaidOfAnInfiniteLoss:
    @staticmethod
    def model(y, loc=0.0):
        def run():
            pyro.sample("y", dist.Normal(loc, 1.0).expand([len(y)]).to_event(1), obs=y)

        return run

    def test_an_observation_that_is_infinite(self):
        y = torch.tensor([0.0, math.inf, 1.0])
        with pytest.warns(UserWarning, match="site 'y': its log density is infinite.*1 that are not finite"):
            assert InformationBottleneckELBO().loss(self.model(y), lambda: None) == math.inf

    def test_an_observation_without_a_density(self):
        with (
            pyro.validation_enabled(True),
            pytest.warns(UserWarning, match="site 'y'.*the model has no density there"),
        ):
            InformationBottleneckELBO().loss(self.model(torch.tensor([1e30])), lambda: None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": torch.tensor([1j])}, "beta must be a real number or tensor"),
        ({"gamma": {"z": {"z": 1.0}}}, r"gamma\['z'\] is a mapping"),
        ({"num_particles": 0}, "num_particles must be at least 1; got 0"),
        ({"num_particles": 2.5}, "num_particles must be a whole number"),
        ({"penalty": 20.0}, "penalty=20.0 is none"),
        ({"penalty": Capacity}, "penalty=<class .* is none"),
        ({"sampled_rates": 3}, "sampled_rates must be names of sites; got 3"),
        ({"on_no_closed_form": ""}, "on_no_closed_form='' is unknown"),
    ],
    ids=[
        "complex",
        "mapping of mappings",
        "no particle",
        "half a particle",
        "number",
        "class",
        "no names",
        "empty",
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        InformationBottleneckELBO(**options)


class TestAnImproperPriorThatIsSampled:
    @staticmethod
    def side(name, make):
        return lambda: pyro.sample(name, make())

    def test_in_the_model_names_the_site_that_the_guide_lacks(self):
        model = self.side("z", lambda: ZeroInflatedLogUniform(0.5))
        guide = self.side("other", lambda: MultiplicativeLogNormal(torch.ones(()), 0.5))
        with pytest.raises(NotImplementedError, match=r"site 'z': an improper .*samples \['other'\]"):
            InformationBottleneckELBO().loss(model, guide)

    def test_in_the_guide_asks_whether_the_sides_are_swapped(self):
        model = self.side("z", lambda: MultiplicativeLogNormal(torch.ones(()), 0.5))
        guide = self.side("z", lambda: ZeroInflatedLogUniform(0.5))
        with pytest.raises(NotImplementedError, match="site 'z': an improper .*model and guide swapped"):
            InformationBottleneckELBO().loss(model, guide)

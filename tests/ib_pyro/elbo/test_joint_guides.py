"""A guide that computes latents from one draw has one density, and its rate is called what it is."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.contrib.easyguide import EasyGuide
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoGuideList,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
    AutoStructured,
)
from pyro.poutine import block

from ib_pyro import InformationBottleneckELBO, to_arviz


def model(x):
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    loc = pyro.sample("loc", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(loc.sum(), scale))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


X = torch.tensor([0.3, -1.0, 2.0])
JOINT = [
    AutoDiagonalNormal,
    AutoMultivariateNormal,
    AutoLowRankMultivariateNormal,
    lambda m: AutoIAFNormal(m, [8]),
]


def made(kind):
    guide = kind(model)
    guide(X)
    return guide


def seeded(function, *args, **kwargs):
    torch.manual_seed(1)
    return function(*args, **kwargs)


@pytest.mark.parametrize("kind", JOINT)
def test_one_rate_for_all_and_none_for_each(kind):
    guide = made(kind)
    terms = seeded(InformationBottleneckELBO().terms, model, guide, X)
    (joint,) = terms.joint
    assert joint.endswith("_latent")
    assert terms.joint[joint] == ("scale", "loc", "z")
    assert set(terms.rate) == {joint}
    assert terms.estimator == {joint: "monte-carlo"}
    torch.testing.assert_close(terms.loss, terms.distortion.sum() + terms.rate[joint])
    torch.testing.assert_close(
        terms.loss.item(), seeded(Trace_ELBO().loss, model, guide, X), rtol=1e-5, atol=1e-5
    )


def test_the_joint_rate_is_the_kl_divergence():
    """Two standard normal latents, and a guide at N(m, s²): the mean over draws is the closed form."""

    def plain():
        pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(0.0, 1.0))

    guide = AutoDiagonalNormal(plain, init_loc_fn=lambda site: torch.tensor(0.7), init_scale=0.5)
    guide()
    options = {"num_particles": 20_000, "vectorize_particles": True, "max_plate_nesting": 0}
    rate = InformationBottleneckELBO(**options).terms(plain, guide).rate["_AutoDiagonalNormal_latent"]
    expected = 2 * (0.5**2 / 2 + 0.7**2 / 2 - 0.5 - math.log(0.5))
    assert rate.item() == pytest.approx(expected, abs=0.03)


OWN = {
    "AutoNormal": AutoNormal,
    "AutoStructured": lambda m: AutoStructured(m, conditionals="mvn", dependencies="linear"),
    "AutoStructured, normal": lambda m: AutoStructured(
        m,
        conditionals={"scale": "normal", "loc": "mvn", "z": "normal"},
        dependencies={"z": {"loc": "linear"}},
    ),
}


@pytest.mark.parametrize("kind", OWN.values(), ids=OWN)
def test_guides_with_noise_for_each_latent_have_a_rate_for_each(kind):
    guide = made(kind)
    terms = seeded(InformationBottleneckELBO().terms, model, guide, X)
    assert (set(terms.rate), terms.joint) == ({"scale", "loc", "z"}, {})
    assert set(terms.estimator.values()) == {"monte-carlo"}
    torch.testing.assert_close(terms.loss, terms.distortion.sum() + sum(r.sum() for r in terms.rate.values()))
    weighted = seeded(InformationBottleneckELBO({"loc": 0.5}).loss, model, guide, X)
    assert weighted == pytest.approx((terms.loss - 0.5 * terms.rate["loc"]).item(), rel=1e-5)


class Groups(EasyGuide):
    def guide(self, x):
        for match in ("(scale|loc)", "z"):
            group = self.group(match=match)
            size = group.event_shape
            loc = pyro.param(f"{match}_loc", torch.zeros(size))
            if group.common_frames:
                with self.plate("data", len(x)):
                    group.sample(f"{match}_group", dist.Normal(torch.zeros(len(x), *size), 0.5).to_event(1))
            else:
                group.sample(f"{match}_group", dist.Normal(loc, 0.5).to_event(1))


def test_groups_have_a_rate_each():
    guide = Groups(model)
    guide(X)
    terms = seeded(InformationBottleneckELBO().terms, model, guide, X)
    assert terms.joint == {"(scale|loc)_group": ("scale", "loc")}
    assert {name: rate.shape for name, rate in terms.rate.items()} == {"(scale|loc)_group": (), "z": (3,)}
    torch.testing.assert_close(
        terms.loss.item(), seeded(Trace_ELBO().loss, model, guide, X), rtol=1e-5, atol=1e-5
    )
    # The group of one latent is that latent's own noise.
    half = seeded(InformationBottleneckELBO({"z": 0.5}).loss, model, guide, X)
    assert half == pytest.approx((terms.loss - 0.5 * terms.rate["z"].sum()).item(), rel=1e-5)
    with pytest.raises(ValueError, match="site 'loc': beta weights it alone.*joint site"):
        InformationBottleneckELBO({"loc": 0.5}).loss(model, guide, X)


def test_parts_of_a_list_of_guides():
    guide = AutoGuideList(model)
    guide.append(AutoDelta(block(model, expose=["scale"])))
    guide.append(AutoDiagonalNormal(block(model, expose=["loc", "z"])))
    guide(X)
    terms = seeded(InformationBottleneckELBO().terms, model, guide, X)
    (joint,) = terms.joint
    assert terms.joint[joint] == ("loc", "z")
    assert terms.estimator == {"scale": "point", joint: "monte-carlo"}
    prior = dist.LogNormal(0.0, 1.0).log_prob(guide[0].median()["scale"])
    torch.testing.assert_close(terms.rate["scale"], -prior)


def test_several_points_beside_a_joint_site_have_a_rate_each():
    guide = AutoGuideList(model)
    guide.append(AutoDelta(block(model, expose=["scale", "loc"])))
    guide.append(AutoDiagonalNormal(block(model, expose=["z"])))
    guide(X)
    terms = seeded(InformationBottleneckELBO().terms, model, guide, X)
    assert terms.joint == {}
    assert terms.estimator == {"scale": "point", "loc": "point", "z": "monte-carlo"}


def test_a_guides_own_noise_that_no_latent_is_computed_from_is_no_rate():
    def plain():
        pyro.sample("z", dist.Normal(0.0, 1.0))

    def guide():
        u = pyro.sample("u", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Normal(u, 0.5))

    terms = seeded(InformationBottleneckELBO({"u": 0.3}).terms, plain, guide)
    assert (set(terms.rate), set(terms.auxiliary)) == ({"z"}, {"u"})
    torch.testing.assert_close(terms.loss, terms.rate["z"] + 0.3 * terms.auxiliary["u"])


def test_the_export_has_the_joint_rate_too():
    guide = made(AutoDiagonalNormal)
    result = to_arviz((model, guide), X, num_samples=4, seed=0)["sample_stats"]
    (name,) = [name for name in result.data_vars if name.endswith("_rate")]
    assert (name, result[name].dims) == ("_AutoDiagonalNormal_latent_rate", ("chain", "draw"))
    torch.manual_seed(0)
    rates = [
        InformationBottleneckELBO().terms(model, guide, X).rate["_AutoDiagonalNormal_latent"]
        for _ in range(400)
    ]
    rates = torch.stack(rates)
    standard_error = rates.std() / 2
    assert abs(result[name].values.mean() - rates.mean().item()) < 5 * standard_error


WRAPPERS = {
    "to_event": lambda d: d.to_event(1),
    "mask": lambda d: d.mask(True).to_event(1),
    "event, mask": lambda d: d.to_event(1).mask(True),
    "expand": lambda d: dist.torch_distribution.ExpandedDistribution(d.to_event(1), ()),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("options", [{}, {"on_no_closed_form": "monte-carlo"}, {"sampled_rates": ["s"]}])
def test_a_wrapped_point_keeps_its_jacobian(wrap, options):
    """exp of the prior's own normal is the prior: no nats apart, at every draw."""

    def prior():
        pyro.sample("s", wrap(dist.LogNormal(torch.ones(3, dtype=torch.float64), 1.0)))

    def guide():
        noise = dist.Normal(torch.ones(3, dtype=torch.float64), 1.0).to_event(1)
        u = pyro.sample("u", noise, infer={"is_auxiliary": True})
        pyro.sample("s", wrap(dist.Delta(u.exp(), log_density=-u)))

    for _ in range(3):
        assert InformationBottleneckELBO(**options).loss(prior, guide) == pytest.approx(0.0, abs=1e-12)
    terms = InformationBottleneckELBO(**options).terms(prior, guide)
    assert (terms.estimator, terms.joint) == ({"s": "monte-carlo"}, {})

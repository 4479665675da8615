"""A rate has a closed form only if the model's law is known when the guide samples the site."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.poutine.messenger import Messenger
from torch import nn

from ib_pyro import InformationBottleneckELBO, to_arviz
from ib_pyro.elbo import MissingKLError

MANY = {"num_particles": 40_000, "vectorize_particles": True, "max_plate_nesting": 0}
ONE = torch.tensor(1.0, dtype=torch.float64)
EVIDENCE = -dist.Normal(0.0 * ONE, math.sqrt(3.0)).log_prob(ONE).item()


def normal(name, loc, scale, **options):
    return pyro.sample(name, dist.Normal(loc, scale), **options)


def chain():
    """a -> b -> y, with y = 1."""
    a = normal("a", 0 * ONE, 1.0)
    b = normal("b", a, 1.0)
    normal("y", b, 1.0, obs=ONE)


def exact_posterior_backwards():
    b = normal("b", 2 / 3 * ONE, math.sqrt(2 / 3))
    normal("a", b / 2, math.sqrt(1 / 2))


def exact_posterior_forwards():
    a = normal("a", ONE / 3, math.sqrt(2 / 3))
    normal("b", (a + 1) / 2, math.sqrt(1 / 2))


class TestTheExactPosterior:
    """At it every ELBO is the evidence, whatever the draw."""

    def test_in_the_models_order_in_closed_form(self):
        elbo = InformationBottleneckELBO(**MANY)
        assert elbo.loss(chain, exact_posterior_forwards) == pytest.approx(EVIDENCE, abs=0.02)
        assert elbo.terms(chain, exact_posterior_forwards).estimator == {"a": "analytic", "b": "analytic"}

    def test_in_another_order_is_refused_by_name(self):
        with pytest.raises(
            MissingKLError,
            match=r"site 'b': .* depends on \['a'\], which the guide samples later.*sampled_rates",
        ):
            InformationBottleneckELBO().loss(chain, exact_posterior_backwards)

    @pytest.mark.parametrize("options", [{"on_no_closed_form": "monte-carlo"}, {"sampled_rates": ["b"]}])
    def test_in_another_order_is_right_when_sampled(self, options):
        elbo = InformationBottleneckELBO(**options, **MANY)
        loss = elbo.loss(chain, exact_posterior_backwards)
        assert loss == pytest.approx(EVIDENCE, abs=0.02)
        assert loss == pytest.approx(Trace_ELBO(**MANY).loss(chain, exact_posterior_backwards), abs=0.02)
        assert elbo.terms(chain, exact_posterior_backwards).estimator == {"a": "analytic", "b": "monte-carlo"}

    def test_pyros_mean_field_elbo_is_not(self):
        """What the order rules out; if this fails, Pyro has mended it."""
        with pytest.warns(UserWarning, match="mean field"):
            loss = TraceMeanField_ELBO(**MANY).loss(chain, exact_posterior_backwards)
        assert loss == pytest.approx(1.96, abs=0.03)

    def test_all_rates_sampled_are_the_evidence_at_each_draw(self):
        elbo = InformationBottleneckELBO(sampled_rates=["a", "b"])
        for _ in range(5):
            assert elbo.loss(chain, exact_posterior_backwards) == pytest.approx(EVIDENCE, rel=1e-12)


def independent():
    normal("a", 0 * ONE, 1.0)
    normal("b", 0 * ONE, 2.0)


def independent_backwards():
    normal("b", ONE, 0.5)
    normal("a", ONE, 0.3)


def test_sites_that_do_not_depend_on_each_other_keep_their_closed_form():
    with pytest.warns(UserWarning, match="mean field"):
        expected = TraceMeanField_ELBO().loss(independent, independent_backwards)
    elbo = InformationBottleneckELBO()
    assert elbo.loss(independent, independent_backwards) == expected
    assert set(elbo.terms(independent, independent_backwards).estimator.values()) == {"analytic"}


class TestDependence:
    """b's law is computed of a by all means that there are; c's is not."""

    HOWS = {
        "arithmetic": lambda a: 2 * a + 1,
        "detached": lambda a: a.detach() + 0,
        "without a graph": lambda a: torch.no_grad()(lambda: a * 2)(),
        "in place": lambda a: torch.zeros(3).double().index_fill_(0, torch.tensor([1]), 0.0).add_(a).sum(),
        "into a view": lambda a: _into_a_view(a),
        "as a number": lambda a: torch.tensor(a.item()),
        "by way of NumPy": lambda a: torch.as_tensor(a.detach().numpy() * 2),
        "by way of a list": lambda a: torch.tensor(a.reshape(1).tolist()).double().sum(),
        "as an index": lambda a: torch.arange(10.0).double()[a.abs().long().clamp(max=9)],
        "as a condition": lambda a: 0 * ONE if a > 0 else ONE,
        "as a mask": lambda a: torch.where(a > 0, 0 * ONE, ONE),
        "as a count": lambda a: torch.ones(len(torch.nonzero(a > 0))).double().sum(),
        "by a custom function": lambda a: _Double.apply(a),
        "under vmap": lambda a: torch.func.vmap(lambda v: v * 2)(a.reshape(1)).sum(),
        "by a network": lambda a: nn.Linear(1, 1).double()(a.reshape(1)).sum(),
        "by running statistics": lambda a: _by_running_statistics(a),
        "by a comparison": lambda a: ONE if torch.equal(a.clamp(min=0), 0 * ONE) else -ONE,
        "by its print": lambda a: torch.tensor(float(repr(a.detach())[7:13])).double(),
        "by an error": lambda a: _by_an_error(a),
        "as a sparse tensor": lambda a: a.reshape(1, 1).to_sparse().to_dense().sum(),
    }

    @pytest.mark.parametrize("how", HOWS.values(), ids=HOWS)
    def test_is_seen(self, how):
        def model():
            a = normal("a", 0 * ONE, 1.0)
            normal("b", how(a), 1.0)

        def guide():
            normal("b", ONE, 0.5)
            normal("a", ONE, 0.3)

        with pytest.raises(MissingKLError, match=r"site 'b': its law in the model depends on \['a'\]"):
            InformationBottleneckELBO().loss(model, guide)

    @pytest.mark.parametrize("keep", [lambda a: a, lambda a: 2 * a.detach()])
    def test_is_seen_in_what_the_guide_keeps(self, keep):
        """A network that model and guide share may carry a value past the site."""
        kept = {}

        def model():
            normal("a", 0 * ONE, 1.0)
            normal("b", kept["a"], 1.0)

        def guide():
            normal("b", ONE, 0.5)
            kept["a"] = keep(normal("a", ONE, 0.3))

        with pytest.raises(MissingKLError, match=r"site 'b': its law in the model depends on \['a'\]"):
            InformationBottleneckELBO().loss(model, guide)

    def test_in_the_scale_alone(self):
        def model():
            a = pyro.sample("a", dist.LogNormal(0 * ONE, 1.0))
            normal("b", 0 * ONE, a)

        def guide():
            normal("b", ONE, 0.5)
            pyro.sample("a", dist.LogNormal(ONE, 0.3))

        with pytest.raises(MissingKLError, match="site 'b'"):
            InformationBottleneckELBO().loss(model, guide)

    def test_is_not_seen_where_there_is_none(self):
        """Shapes, checks of arguments, and operations on other values leave no mark."""

        def model():
            a = normal("a", torch.zeros(2).double(), torch.ones(2).double())  # checked: a value is looked at
            normal("unseen", a.sum(), 1.0)
            b = torch.zeros_like(a) + a.new_ones(len(a))
            pyro.sample("b", dist.Normal(b, 1.0).to_event(1))
            pyro.sample("y", dist.Normal(a + b, 1.0).to_event(1), obs=b)

        def guide():
            pyro.sample("b", dist.Normal(torch.ones(2).double(), 0.5).to_event(1))
            normal("unseen", ONE, 1.0)
            normal("a", torch.ones(2).double(), 0.3)

        with pytest.raises(MissingKLError, match=r"site 'unseen': .* \['a'\]"):
            InformationBottleneckELBO().loss(_events(model), _events(guide))
        terms = InformationBottleneckELBO(sampled_rates="unseen").terms(_events(model), _events(guide))
        assert terms.estimator == {"a": "analytic", "b": "analytic", "unseen": "monte-carlo"}

    def test_through_a_whole_chain(self):
        """Only sites whose own law depends on later ones: in a chain backwards in time all but the first."""

        def model():
            z = normal("z0", 0 * ONE, 1.0)
            for t in range(1, 4):
                z = normal(f"z{t}", 0.5 * z, 1.0)

        def guide():
            z = 0 * ONE
            for t in reversed(range(4)):
                z = normal(f"z{t}", 0.5 * z, 0.5)

        elbo = InformationBottleneckELBO(on_no_closed_form="monte-carlo")
        estimator = elbo.terms(model, guide).estimator
        assert estimator == {"z0": "analytic", **{f"z{t}": "monte-carlo" for t in (1, 2, 3)}}

    def test_is_remembered_past_sites_in_order(self):
        """c comes last in the guide and first in the model; between them a and b are in order."""

        def model():
            c = normal("c", 0 * ONE, 1.0)
            normal("a", 0 * ONE, 1.0)
            normal("b", c, 1.0)

        def guide():
            for name in "abc":
                normal(name, ONE, 0.5)

        with pytest.raises(MissingKLError, match=r"site 'b': .* depends on \['c'\]"):
            InformationBottleneckELBO().loss(model, guide)

    def test_gradients_are_those_of_the_sampled_elbo(self):
        slope = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

        def guide():
            b = normal("b", 2 / 3 * ONE, math.sqrt(2 / 3))
            normal("a", slope * b, math.sqrt(1 / 2))

        elbo = InformationBottleneckELBO(on_no_closed_form="monte-carlo", **MANY)
        ours = torch.autograd.grad(elbo.differentiable_loss(chain, guide), slope)[0]
        theirs = torch.autograd.grad(Trace_ELBO(**MANY).differentiable_loss(chain, guide), slope)[0]
        # d/ds of E[½ (b - sb)² + ½ (sb)² ...] = (2s - 1) E[b²], with E[b²] = 2/3 + 4/9.
        assert ours.item() == pytest.approx((2 * 0.3 - 1) * (2 / 3 + 4 / 9), abs=0.05)
        assert ours.item() == pytest.approx(theirs.item(), abs=0.05)


def test_the_option_names_known_sites():
    with pytest.raises(ValueError, match="sampled_rates: site 'c' is unknown; choose 'a' or 'b'"):
        InformationBottleneckELBO(sampled_rates=["c"]).loss(independent, independent)


def test_the_old_name_of_the_option():
    assert InformationBottleneckELBO(on_missing_kl="monte-carlo").on_no_closed_form == "monte-carlo"
    with pytest.raises(ValueError, match="name one option"):
        InformationBottleneckELBO(on_missing_kl="error", on_no_closed_form="monte-carlo")
    with pytest.raises(ValueError, match="on_no_closed_form='sample' is unknown"):
        InformationBottleneckELBO(on_no_closed_form="sample")


def test_the_export_says_which_rates_are_analytic():
    def model(x):
        a = normal("a", 0 * ONE, 1.0)
        normal("b", a, 1.0)

    def guide(x):
        exact_posterior_backwards()

    stats = to_arviz((model, guide), torch.zeros(1), num_samples=3)["sample_stats"]
    assert {name: stats[name].attrs["estimator"] for name in ("a_rate", "b_rate")} == {
        "a_rate": "analytic",
        "b_rate": "monte-carlo",
    }


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a.detach().clone() * 2

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def _by_an_error(a):
    try:
        torch.linalg.cholesky(-torch.eye(2).double() * a.abs())
    except RuntimeError:
        return ONE
    return -ONE


def _into_a_view(a):
    values = torch.zeros(2, 3).double()
    values[0].copy_(a.detach())
    return values.sum()


def _by_running_statistics(a):
    norm = nn.BatchNorm1d(1).double()
    norm(torch.stack([a, 2 * a]).reshape(2, 1))
    return norm.running_mean.sum()


def _events(program):
    """Sites of two numbers as events, so that no plate is missing."""

    def run():
        with _AsEvents():
            program()

    return run


class _AsEvents(Messenger):
    def _pyro_sample(self, msg):
        fn = msg["fn"]
        if len(fn.batch_shape):
            msg["fn"] = fn.to_event(len(fn.batch_shape))

"""Exports under each of Pyro's automatic guides, and of sites of every kind: the draws fit the model's densities."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.contrib.easyguide import EasyGuide
from pyro.infer import autoguide, config_enumerate
from pyro.nn import PyroModule, PyroSample
from torch import nn

from ib_pyro import to_arviz

X = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = X.sum(1)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)


def regression(x, y=None):
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
    with pyro.plate("rows", len(x)):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        return pyro.sample("y", dist.Normal(x @ w + b, s), obs=y)


def guide_list(model):
    guides = autoguide.AutoGuideList(model)
    guides.append(autoguide.AutoNormal(poutine.block(model, expose=["w"])))
    guides.append(autoguide.AutoDiagonalNormal(poutine.block(model, expose=["s", "b"])))
    return guides


class Easy(EasyGuide):
    def guide(self, x, y=None):
        self.map_estimate("s")
        self.group(match="w").sample("w_q", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with self.plate("rows", len(x), subsample=torch.arange(len(x))):
            self.group(match="b").sample("b_q", dist.Normal(torch.zeros(1), 1.0).to_event(1))


GUIDES = {
    "AutoNormal": autoguide.AutoNormal,
    "AutoDelta": autoguide.AutoDelta,
    "AutoDiagonalNormal": autoguide.AutoDiagonalNormal,
    "AutoMultivariateNormal": autoguide.AutoMultivariateNormal,
    "AutoLowRankMultivariateNormal": autoguide.AutoLowRankMultivariateNormal,
    "AutoIAFNormal": autoguide.AutoIAFNormal,
    "AutoLaplaceApproximation": autoguide.AutoLaplaceApproximation,
    "AutoStructured": autoguide.AutoStructured,
    "AutoGuideList": guide_list,
    "EasyGuide": Easy,
}


@pytest.mark.parametrize("name", GUIDES)
def test_every_automatic_guide(name):
    guide = GUIDES[name](regression)
    guide(X, Y)
    result = to_arviz((regression, guide), X, Y, num_samples=4)
    posterior = result["posterior"]
    assert posterior["w"].dims == ("chain", "draw", "w_dim_0")
    assert posterior["s"].dims == ("chain", "draw")
    assert posterior["b"].dims == ("chain", "draw", "obs_id")
    w, s, b = (torch.tensor(posterior[site].values[0]) for site in "wsb")
    expected = dist.Normal(w @ X.T + b, s[:, None]).log_prob(Y)
    np.testing.assert_allclose(result["log_likelihood"]["y"][0], expected, rtol=1e-9)
    np.testing.assert_allclose(result["sample_stats"]["distortion"][0], -expected, rtol=1e-9)
    assert set(result["prior"].data_vars) == {"w", "s", "b"}


def test_laplace_of_its_mode():
    guide = autoguide.AutoLaplaceApproximation(location)
    guide(X, Y)
    with torch.no_grad():
        guide.loc.fill_(Y.sum() / (len(Y) + 1))
    result = to_arviz((location, guide.laplace_approximation(X, Y)), X, Y, num_samples=2000, seed=0)
    w = result["posterior"]["w"]
    assert abs(float(w.mean()) - float(Y.sum() / 7)) < 5 / (7 * 2000) ** 0.5
    assert abs(float(w.std()) - 7**-0.5) < 0.03


def location(x, y=None):
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(w, 1.0), obs=y)


def mixture(x, y=None):
    with pyro.plate("rows", len(x)):
        k = pyro.sample("k", dist.Categorical(torch.ones(3)), infer={"enumerate": "parallel"})
        pyro.sample("y", dist.Normal(k.double(), 1.0), obs=y)


def classes(x, y=None):
    with pyro.plate("rows", len(x)):
        pyro.sample("k", dist.Categorical(torch.tensor([0.5, 0.25, 0.25]).expand(len(x), 3)))


@pytest.mark.parametrize("wrap", [lambda program: program, config_enumerate])
def test_discrete_sites_are_whole_numbers(wrap):
    result = to_arviz((wrap(mixture), wrap(classes)), X, Y, num_samples=5)
    k = result["posterior"]["k"]
    assert k.dtype == np.int64
    np.testing.assert_allclose(
        result["log_likelihood"]["y"], dist.Normal(torch.tensor(k.values).double(), 1.0).log_prob(Y)
    )


def test_a_site_that_only_enumeration_would_sum_over_is_named():
    with pytest.raises(ValueError, match=r"\['k'\] only in the model"):
        to_arviz((mixture, lambda x, y=None: None), X, Y, num_samples=2)


def correlation(x):
    factor = pyro.sample("L", dist.LKJCholesky(2, 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.MultivariateNormal(torch.zeros(2), scale_tril=factor), obs=x)


@pytest.mark.parametrize("name", ["AutoNormal", "AutoDiagonalNormal", "AutoDelta", "AutoStructured"])
def test_matrices_keep_both_dimensions(name):
    guide = GUIDES[name](correlation)
    guide(X)
    result = to_arviz((correlation, guide), X, num_samples=3)
    factor = result["posterior"]["L"]
    assert factor.sizes == {"chain": 1, "draw": 3, "L_dim_0": 2, "L_dim_1": 2}
    np.testing.assert_allclose((factor.values**2).sum(-1), 1.0)


def test_an_improper_prior_has_a_posterior_and_no_prior_draws():
    def model(x, y=None):
        w = pyro.sample("w", dist.ImproperUniform(dist.constraints.real, (), ()))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(w, 1.0), obs=y)

    def guide(x, y=None):
        pyro.sample("w", dist.Normal(0.0, 1.0))

    result = to_arviz((model, guide), X, Y, num_samples=3)
    for group in ("prior", "prior_predictive"):
        with pytest.raises(KeyError):
            result[group]
    with pytest.raises(ValueError, match="'prior' needs a latent site, and proper priors"):
        to_arviz((model, guide), X, Y, num_samples=3, groups=["prior"])


def test_a_bayesian_network():
    class Network(PyroModule):
        def __init__(self):
            super().__init__()
            self.layer = PyroModule[nn.Linear](2, 1)
            self.layer.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))

        def forward(self, x, y=None):
            mean = self.layer(x).squeeze(-1)
            with pyro.plate("rows", len(x)):
                return pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    network = Network()
    guide = autoguide.AutoDiagonalNormal(network)
    guide(X, Y)
    result = to_arviz((network, guide), X, Y, num_samples=3)
    assert result["posterior"]["layer.weight"].shape == (1, 3, 1, 2)


@pytest.mark.parametrize(("num_rows", "num_samples"), [(1, 1), (1, 3), (6, 1)])
def test_one_row_and_one_draw(num_rows, num_samples):
    x, y = X[:num_rows], Y[:num_rows]
    guide = autoguide.AutoNormal(regression)
    guide(x, y)
    result = to_arviz((regression, guide), x, y, num_samples=num_samples)
    assert result["log_likelihood"]["y"].sizes == {"chain": 1, "draw": num_samples, "obs_id": num_rows}


def test_deterministic_values_of_every_type():
    def model(x):
        pyro.deterministic("flag", x[:, 0] > 0)
        pyro.deterministic("whole", torch.arange(3))
        pyro.deterministic("scalar", torch.tensor(3))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=x[:, 0])
            pyro.deterministic("row", x, event_dim=1)

    posterior = to_arviz((model, lambda x: None), X, num_samples=2)["posterior"]
    np.testing.assert_array_equal(posterior["flag"][0, 0], X[:, 0] > 0)
    assert posterior["whole"].dtype == posterior["scalar"].dtype == np.int64
    assert posterior["scalar"].dims == ("chain", "draw")
    assert posterior["row"].dims == ("chain", "draw", "obs_id", "row_dim_0")

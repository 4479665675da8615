"""Exports of a user's own model and guide: global sites, plates, automatic guides, several observations."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from torch import Tensor, nn

from ib_pyro import to_arviz
from ib_pyro.distributions import MultiplicativeLogNormal


class Regression:
    """y ~ Normal(w x + b_n, 1) with a global slope w and a local offset b for each row."""

    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("rows", len(x)):
            b = pyro.sample("b", dist.Normal(0.0, 1.0))
            mean = pyro.deterministic("mean", x @ w + b)
            return pyro.sample("y", dist.Normal(mean, 0.5), obs=y)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        pyro.sample("w", dist.Normal(torch.tensor([1.0, -1.0]), 0.3).to_event(1))
        with pyro.plate("rows", len(x)):
            pyro.sample("b", dist.Normal(x[:, 0], 0.2))

    @property
    def pair(self) -> tuple:
        return self.model, self.guide


@pytest.fixture
def rows() -> tuple[Tensor, Tensor]:
    x = torch.randn(7, 2, dtype=torch.float64)
    return x, x.sum(1)


@pytest.fixture(autouse=True)
def double() -> None:
    torch.set_default_dtype(torch.float64)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_global_sites_keep_their_draws_from_batch_to_batch(rows, batch_size):
    x, y = rows
    result = to_arviz(Regression().pair, x, y, num_samples=5, batch_size=batch_size)
    posterior = result["posterior"]
    assert posterior["w"].dims == ("chain", "draw", "w_dim_0")
    assert posterior["b"].dims == posterior["mean"].dims == ("chain", "draw", "obs_id")
    w, b = posterior["w"].values[0], posterior["b"].values[0]
    mean = w @ x.numpy().T + b
    np.testing.assert_allclose(posterior["mean"][0], mean, rtol=1e-12)
    log_prob = dist.Normal(torch.tensor(mean), 0.5).log_prob(y)
    np.testing.assert_allclose(result["log_likelihood"]["y"][0], log_prob, rtol=1e-10)
    assert len(np.unique(w[:, 0])) == 5
    # The prior's global draws, too, belong to all rows: y_n - b_n - noise is one line.
    assert result["prior"]["w"].shape == (1, 5, 2)
    assert result["prior_predictive"]["y"].shape == (1, 5, 7)


def test_prior_draws_share_their_global_site_across_batches():
    def model(x):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 3.0))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(x, 1e-9 * scale), obs=x)
            pyro.sample("copy", dist.Delta(scale.expand(len(x)) + 0.0), obs=scale.expand(len(x)))

    def guide(x):
        pyro.sample("scale", dist.LogNormal(0.0, 1.0))

    groups = ("prior", "prior_predictive")
    result = to_arviz((model, guide), torch.zeros(6), num_samples=3, batch_size=2, groups=groups)
    copies = result["prior_predictive"]["copy"].values[0]
    np.testing.assert_allclose(copies, result["prior"]["scale"].values[0][:, None].repeat(6, 1))


def test_rates_of_global_and_local_sites(rows):
    statistics = to_arviz(Regression().pair, *rows, num_samples=2)["sample_stats"]
    assert statistics["w_rate"].dims == ("chain", "draw")
    assert statistics["b_rate"].dims == ("chain", "draw", "obs_id")
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(rows[0][:, 0], 0.2), torch.distributions.Normal(0.0, 1.0)
    )
    np.testing.assert_allclose(statistics["b_rate"][0, 0], expected, rtol=1e-12)


def test_an_automatic_guide(rows):
    model = Regression().model
    guide = AutoNormal(model, init_scale=0.3)
    guide(*rows)
    result = to_arviz((model, guide), *rows, num_samples=200)
    posterior, statistics = result["posterior"], result["sample_stats"]
    assert set(posterior.data_vars) == {"w", "b", "mean"}
    assert posterior["b"].dims == ("chain", "draw", "obs_id")
    assert statistics["w_rate"].attrs["estimator"] == "monte-carlo"
    loc, scale = guide.locs.w, guide.scales.w
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(loc, scale), torch.distributions.Normal(0.0, 1.0)
    ).sum()
    error = float(statistics["w_rate"].std()) / 200**0.5
    assert abs(float(statistics["w_rate"].mean()) - exact.item()) < 5 * error
    # Its parameters belong to the rows it was made for.
    with pytest.raises((RuntimeError, ValueError)):
        to_arviz((model, guide), *rows, num_samples=2, batch_size=3)


def test_a_joint_automatic_guide_has_a_joint_rate(rows):
    model = Regression().model
    guide = AutoDiagonalNormal(model)
    guide(*rows)
    result = to_arviz((model, guide), *rows, num_samples=3)
    assert set(result["posterior"].data_vars) == {"w", "b", "mean"}
    assert "_AutoDiagonalNormal_latent_rate" in result["sample_stats"]


def test_nested_plates_keep_their_names():
    def model(x):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("features", 3, dim=-2), pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=x.T)

    def guide(x):
        pyro.sample("scale", dist.LogNormal(0.0, 0.1))
        with pyro.plate("features", 3, dim=-2), pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.T, 0.1))

    x = torch.randn(5, 3)
    for batch_size in (None, 2):
        result = to_arviz((model, guide), x, num_samples=4, batch_size=batch_size)
        assert result["posterior"]["z"].dims == ("chain", "draw", "obs_id", "features")
        np.testing.assert_array_equal(result["observed_data"]["x"], x)
        log_likelihood = result["log_likelihood"]["x"]
        assert log_likelihood.dims == ("chain", "draw", "obs_id", "features")
        np.testing.assert_allclose(result["sample_stats"]["distortion"], -log_likelihood.sum("features"))
        z, scale = result["posterior"]["z"].values[0], result["posterior"]["scale"].values[0]
        expected = dist.Normal(torch.tensor(z), torch.tensor(scale)[:, None, None]).log_prob(x)
        np.testing.assert_allclose(log_likelihood[0], expected, rtol=1e-10)


def test_a_library_distribution_in_a_users_own_guide():
    head = nn.Linear(4, 2)

    def model(x, y=None):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.LogNormal(torch.zeros(4), 1.0).to_event(1))
            pyro.sample("y", dist.Categorical(logits=head(z)), obs=y)

    def guide(x, y=None):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", MultiplicativeLogNormal(x.exp(), 0.3, unit_mean=True).to_event(1))

    result = to_arviz((model, guide), torch.randn(6, 4), torch.arange(6) % 2, num_samples=100)
    posterior = result["posterior"]
    assert posterior["z_alpha"].dims == ("chain", "draw", "obs_id", "z_unit")
    assert abs(float(posterior["z_log_eps"].mean()) + 0.3**2 / 2) < 0.02
    assert result["sample_stats"]["z_rate"].attrs["estimator"] == "analytic"


def test_several_observations_are_predicted_from_one_another():
    def model(x, y=None):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            first = pyro.sample("first", dist.Normal(z, 1.0), obs=x)
            pyro.sample("second", dist.Normal(first, 1e-6), obs=y)

    def guide(x, y=None):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    x = torch.randn(5)
    result = to_arviz((model, guide), x, x + 1e-6, num_samples=4)
    predicted = result["posterior_predictive"]
    np.testing.assert_allclose(predicted["first"], predicted["second"], atol=1e-5)
    assert not np.allclose(predicted["first"][0, 0], x)
    total = result["log_likelihood"]["first"] + result["log_likelihood"]["second"]
    np.testing.assert_allclose(result["sample_stats"]["distortion"], -total)


def test_masked_rows_have_no_likelihood_and_a_rate_without_closed_form_is_sampled(rows):
    keep = torch.arange(7) != 2

    def model(x, y=None):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.StudentT(torch.tensor(3.0)))
            with poutine.mask(mask=keep):
                pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(x, y=None):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], 1.0))

    result = to_arviz((model, guide), *rows, num_samples=3)
    log_likelihood = result["log_likelihood"]["y"].values
    assert np.isnan(log_likelihood[..., 2]).all()
    assert (result["sample_stats"]["distortion"][..., 2] == 0).all()
    assert (log_likelihood[..., keep.numpy()] < 0).all()
    rate, z = result["sample_stats"]["z_rate"], torch.tensor(result["posterior"]["z"].values)
    assert rate.attrs["estimator"] == "monte-carlo"
    expected = dist.Normal(rows[0][:, 0], 1.0).log_prob(z) - dist.StudentT(3.0).log_prob(z)
    np.testing.assert_allclose(rate, expected, rtol=1e-10)


def test_programs_that_do_not_fit_are_refused(rows):
    x, y = rows
    regression = Regression()

    def more(x, y=None):
        regression.guide(x, y)
        pyro.sample("extra", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"\['extra'\] only in the guide"):
        to_arviz((regression.model, more), x, y, num_samples=2)

    def subsampling(x, y=None):
        with pyro.plate("rows", len(x), subsample_size=3) as rows_:
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=None if y is None else y[rows_])

    with pytest.raises(ValueError, match="plate 'rows' draws 3 of the 7 rows"):
        to_arviz((subsampling, lambda x, y=None: None), x, y, num_samples=2)

    def ambiguous(x, y=None):
        with pyro.plate("columns", 7, dim=-2), pyro.plate("rows", len(x), dim=-1):
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=y.expand(7, 7))

    def nothing(x, y=None):
        pass

    with pytest.raises(ValueError, match=r"plates \['columns', 'rows'\] all have the size of x, 7"):
        to_arviz((ambiguous, nothing), x, y, num_samples=2)
    named = to_arviz((ambiguous, nothing), x, y, num_samples=2, plate="rows")
    assert named["log_likelihood"]["y"].dims == ("chain", "draw", "obs_id", "columns")

    def without_plate(x, y=None):
        pyro.sample("y", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1), obs=y)

    whole = to_arviz((without_plate, nothing), x, y, num_samples=2)
    assert whole["log_likelihood"]["y"].dims == ("chain", "draw")
    with pytest.raises(ValueError, match="cannot be cut into batches"):
        to_arviz((without_plate, nothing), x, y, num_samples=2, batch_size=2)

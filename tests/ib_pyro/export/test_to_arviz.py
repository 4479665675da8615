"""What stands in the exported object, on the library's own programs."""

import math
from collections import OrderedDict

import numpy as np
import pyro
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off, to_arviz
from ib_pyro.nn import (
    AdditiveNormal,
    BinaryDropout,
    ConstantDropout,
    GaussianDropout,
    InformationDropout,
)


def layered(layer: nn.Module, width: int = 5, classes: int = 3) -> Bottleneck:
    return Bottleneck(nn.Sequential(OrderedDict(z1=layer)), nn.Linear(width, classes))


def test_the_parts_of_a_draw_fit_together(classifier, labelled):
    posterior = to_arviz(classifier, *labelled, num_samples=9)["posterior"]
    for site, width in (("z1", 5), ("z2", 4)):
        assert posterior[site].dims == ("chain", "draw", "obs_id", f"{site}_unit")
        assert posterior[site].shape == (1, 9, 11, width)
        on = posterior[f"{site}_activation"] > 0
        assert 0 < int(on.sum()) < on.size
        product = posterior[f"{site}_activation"] * np.exp(posterior[f"{site}_log_eps"])
        np.testing.assert_allclose(product.where(on, 0), posterior[site], rtol=1e-12)
        # Where the activation is zero the draw says nothing of the noise.
        np.testing.assert_array_equal(np.isnan(posterior[f"{site}_log_eps"]), ~on)


def test_a_layers_activation_and_alpha_are_its_own(classifier, labelled):
    x, _ = labelled
    posterior = to_arviz(classifier, x, num_samples=3)["posterior"]
    first, second = classifier.stochastic_layers.values()
    np.testing.assert_allclose(posterior["z1_alpha"][0, 1], first.alpha(x).detach())
    np.testing.assert_allclose(posterior["z1_activation"][0, 2], first.features(x).relu().detach())
    # The second layer's are functions of the first one's draw.
    z1 = torch.tensor(posterior["z1"].values[0, 1])
    np.testing.assert_allclose(posterior["z2_alpha"][0, 1], second.alpha(z1).detach())
    assert not np.array_equal(posterior["z2_alpha"][0, 0], posterior["z2_alpha"][0, 1])


def test_draws_that_agree_take_the_memory_of_one(classifier, labelled):
    posterior = to_arviz(classifier, *labelled, num_samples=50)["posterior"]
    alpha, noise = posterior["z1_alpha"].values, posterior["z2_alpha"].values
    assert alpha.strides[1] == 0
    assert noise.strides[1] > 0


def test_draws_that_agree_for_the_first_rows_alone_are_all_kept(classifier):
    first, second = classifier.stochastic_layers.values()
    # All units are off in the first two rows, on which the layout is found, and on in the others.
    with torch.no_grad():
        first.features.weight.fill_(1.0)
        first.features.bias.zero_()
    x = torch.ones(6, 6, dtype=torch.float64)
    x[:2] = -1
    for batch_size in (6, 2):
        posterior = to_arviz(classifier, x, num_samples=3, batch_size=batch_size)["posterior"]
        alpha = posterior["z2_alpha"].values[0]
        np.testing.assert_array_equal(alpha[0, :2], alpha[2, :2])
        assert (alpha[0, 2:] != alpha[1, 2:]).all()
        for draw in range(3):
            expected = second.alpha(torch.tensor(posterior["z1"].values[0, draw])).detach()
            np.testing.assert_allclose(alpha[draw], expected, rtol=1e-12)


def test_log_eps_has_the_moments_that_alpha_says(classifier, labelled):
    x = labelled[0].repeat(100, 1)
    posterior = to_arviz(classifier, x, num_samples=10, sites="z1", groups="posterior")["posterior"]
    standard = (posterior["z1_log_eps"] / posterior["z1_alpha"]).values
    standard = standard[~np.isnan(standard)]
    assert abs(standard.mean()) < 5 / math.sqrt(standard.size)
    assert abs(standard.std() - 1) < 5 / math.sqrt(2 * standard.size)


def test_statistics_are_the_terms_of_the_elbo(classifier, labelled):
    x, y = labelled
    with noise_off():
        result = to_arviz(classifier, x, y, num_samples=2)
        terms = InformationBottleneckELBO().terms(classifier.model, classifier.guide, x, y)
    statistics = result["sample_stats"]
    assert statistics["z1_rate"].dims == ("chain", "draw", "obs_id")
    assert statistics["z1_rate"].attrs["units"] == "nats"
    assert statistics["z1_rate"].attrs["estimator"] == "analytic"
    for site, rate in terms.rate.items():
        np.testing.assert_allclose(statistics[f"{site}_rate"][0, 0], rate.detach(), rtol=1e-12)
    np.testing.assert_allclose(statistics["distortion"][0, 1], terms.distortion.detach(), rtol=1e-12)
    np.testing.assert_allclose(result["log_likelihood"]["y"], -statistics["distortion"])


def test_rate_and_likelihood_follow_from_the_exported_draw(classifier, labelled):
    x, y = labelled
    result = to_arviz(classifier, x, y, num_samples=4)
    posterior = result["posterior"]
    for site, layer in classifier.stochastic_layers.items():
        per_unit = np.log(layer.alpha_max / posterior[f"{site}_alpha"])
        rate = per_unit.where(posterior[f"{site}_activation"] > 0, 0).sum(f"{site}_unit")
        np.testing.assert_allclose(result["sample_stats"][f"{site}_rate"], rate, rtol=1e-10)
    logits = classifier.decoder(torch.tensor(posterior["z2"].values[0]))
    log_prob = logits.log_softmax(-1)[:, torch.arange(11), y].detach()
    np.testing.assert_allclose(result["log_likelihood"]["y"][0], log_prob, rtol=1e-10)
    assert result["log_likelihood"]["y"].dims == ("chain", "draw", "obs_id")


def test_predictive_draws_follow_the_predictive_probabilities(classifier, labelled):
    x, y = labelled
    # Rows are independent draws too, and cost less than passes do.
    result = to_arviz(classifier, x[:2].repeat(200, 1), y[:2].repeat(200), num_samples=10)
    y_hat = result["posterior_predictive"]["y"]
    probs = classifier.predict(x[:2].repeat(200, 1), num_samples=10).unflatten(0, (200, 2)).mean(0)
    for k in range(3):
        share = (y_hat.values == k).reshape(10, 200, 2).mean((0, 1))
        np.testing.assert_allclose(share, probs[:, k], atol=0.06)
    np.testing.assert_array_equal(result["observed_data"]["y"][:2], y[:2])


def test_without_targets_they_are_predicted(classifier, labelled):
    result = to_arviz(classifier, labelled[0], num_samples=3)
    assert result["posterior_predictive"]["y"].shape == (1, 3, 11)
    assert "distortion" not in result["sample_stats"]
    for group in ("log_likelihood", "observed_data"):
        with pytest.raises((KeyError, AttributeError)):
            result[group]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_change_nothing_but_the_noise(classifier, labelled, batch_size):
    x, y = labelled
    kept = ["posterior", "log_likelihood", "sample_stats", "observed_data", "constant_data"]
    with noise_off():
        whole = to_arviz(classifier, x, y, num_samples=2, batch_size=11, groups=kept)
        parts = to_arviz(classifier, x, y, num_samples=2, batch_size=batch_size, groups=kept)
    assert parts.attrs["batch_size"] == batch_size
    for group in kept:
        for name, values in parts[group].data_vars.items():
            np.testing.assert_allclose(values, whole[group][name], rtol=1e-12, atol=1e-15)


def test_a_seed_repeats_the_draws_and_leaves_the_generator_alone(classifier, labelled, same_groups):
    state = torch.get_rng_state()
    first = to_arviz(classifier, *labelled, num_samples=3, seed=4)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    torch.manual_seed(99)
    same_groups(first, to_arviz(classifier, *labelled, num_samples=3, seed=4))
    other = to_arviz(classifier, *labelled, num_samples=3, seed=5)
    assert not np.array_equal(first["posterior"]["z1"], other["posterior"]["z1"])
    assert first.attrs["seed"] == 4


def test_without_a_seed_draws_come_from_the_ambient_generator(classifier, labelled, same_groups):
    torch.manual_seed(3)
    first = to_arviz(classifier, *labelled, num_samples=3)
    second = to_arviz(classifier, *labelled, num_samples=3)
    assert not np.array_equal(first["posterior"]["z1"], second["posterior"]["z1"])
    torch.manual_seed(3)
    same_groups(first, to_arviz(classifier, *labelled, num_samples=3))


def test_nothing_of_the_program_changes(labelled):
    program = layered(InformationDropout.linear(6, 5, batch_norm=True)).double()
    before = {name: value.clone() for name, value in program.state_dict().items()}
    store = set(pyro.get_param_store().keys())
    with pytest.warns(UserWarning, match="batch norm is in training mode.*program.eval"):
        to_arviz(program, *labelled, num_samples=2)
    assert program.training
    for name, value in program.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in program.parameters())
    assert set(pyro.get_param_store().keys()) == store
    program.eval()
    to_arviz(program, *labelled, num_samples=2)
    assert not program.training


def test_convolutions_have_channels_and_positions(same_groups):
    layers = OrderedDict(z1=InformationDropout.conv2d(1, 3, 3), z2=InformationDropout.conv2d(3, 2, 3, 2))
    program = Bottleneck(nn.Sequential(layers), nn.Sequential(nn.Flatten(), nn.Linear(2 * 2 * 2, 4)))
    x, y = torch.rand(5, 1, 8, 8), torch.arange(5) % 4
    result = to_arviz(program, x, y, num_samples=2, constant_data={"x": x})
    posterior = result["posterior"]
    image = ("z1_channel", "z1_height", "z1_width")
    for name in ("z1", "z1_alpha", "z1_activation", "z1_log_eps"):
        assert posterior[name].dims == ("chain", "draw", "obs_id", *image)
    assert posterior["z2"].shape == (1, 2, 5, 2, 2, 2)
    # Importance weights are exponentials of the likelihood; the draws stay as they are.
    assert result["log_likelihood"]["y"].dtype == result["sample_stats"]["z1_rate"].dtype == np.float64
    assert posterior["z1"].dtype == np.float32
    assert result["constant_data"]["x"].dims == ("obs_id", "x_channel", "x_height", "x_width")
    np.testing.assert_array_equal(result["constant_data"]["x"], x)


@pytest.mark.parametrize(
    ("layer", "variables"),
    [
        (ConstantDropout.linear(6, 5), {"log_eps", "activation", "alpha"}),
        (GaussianDropout.linear(6, 5), {"eps", "activation", "alpha"}),
        (BinaryDropout.linear(6, 5), {"eps", "activation", "drop_prob"}),
        (AdditiveNormal(nn.Linear(6, 5), nn.Linear(6, 5)), {"loc", "scale"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_every_noise_says_what_it_is(layer, variables):
    program = layered(layer)
    result = to_arviz(program, torch.randn(4, 6), torch.arange(4) % 3, num_samples=6)
    posterior = result["posterior"]
    assert set(posterior.data_vars) == {"z1", *(f"z1_{suffix}" for suffix in variables)}
    if "eps" in variables:
        product = (posterior["z1_activation"] * posterior["z1_eps"]).fillna(0)
        np.testing.assert_allclose(product, posterior["z1"], rtol=1e-5, atol=1e-7)
    rate = result["sample_stats"]["z1_rate"]
    assert np.isfinite(rate).all()
    # A rate of 0 nats that nobody charges is no divergence of 0 nats.
    charged = layer.is_charged
    assert rate.attrs["estimator"] == ("analytic" if charged else "none")
    assert ("KL" in rate.attrs["long_name"], "not charged" in rate.attrs["long_name"]) == (
        charged,
        not charged,
    )


def test_a_network_without_noise_has_likelihoods_and_no_posterior(labelled):
    program = Bottleneck(nn.Linear(6, 5), nn.Linear(5, 3)).double()
    result = to_arviz(program, *labelled, num_samples=3)
    with pytest.raises((KeyError, AttributeError)):
        result["posterior"]
    log_likelihood = result["log_likelihood"]["y"].values
    np.testing.assert_array_equal(log_likelihood[:, 0], log_likelihood[:, 2])
    with pytest.raises(ValueError, match="'posterior' needs a latent site"):
        to_arviz(program, *labelled, num_samples=3, groups=["posterior"])


def test_a_proper_prior_is_drawn_and_an_improper_one_is_not(classifier, labelled):
    layer = InformationDropout.linear(6, 5, activation="softplus", prior="log-normal")
    result = to_arviz(layered(layer).double(), *labelled, num_samples=100)
    log_z = np.log(result["prior"]["z1"])
    assert log_z.dims == result["posterior"]["z1"].dims
    assert abs(float(log_z.mean())) < 0.05
    assert abs(float(log_z.std()) - 1) < 0.05
    assert result["prior_predictive"]["y"].shape == (1, 100, 11)
    with pytest.raises((KeyError, AttributeError)):
        to_arviz(classifier, *labelled, num_samples=2)["prior"]
    with pytest.raises(ValueError, match="'prior' needs .*proper priors"):
        to_arviz(classifier, *labelled, num_samples=2, groups=["prior"])


def test_a_vae_of_images_exports_images():
    layer = AdditiveNormal(nn.Linear(16, 2), nn.Linear(16, 2))
    encoder = nn.Sequential(OrderedDict(input=nn.Flatten(), z1=layer))
    decoder = nn.Sequential(nn.Linear(2, 16), nn.Unflatten(1, (1, 4, 4)))
    x = torch.rand(6, 1, 4, 4)
    result = to_arviz(Bottleneck(encoder, decoder, "normal"), x, x, num_samples=3)
    image = ("y_channel", "y_height", "y_width")
    assert result["posterior_predictive"]["y"].dims == ("chain", "draw", "obs_id", *image)
    assert result["observed_data"]["y"].dims == ("obs_id", *image)
    assert result["log_likelihood"]["y"].dims == ("chain", "draw", "obs_id")
    assert result["prior"]["z1"].dims == result["posterior"]["z1"].dims


def test_attributes_say_beta_in_both_units(classifier, labelled):
    result = to_arviz(classifier, *labelled, num_samples=2, beta=0.02, num_data=500)
    for attrs in (result.attrs, result["posterior"].attrs):
        assert attrs["beta"] == 0.02
        assert attrs["beta_paper"] == pytest.approx(10.0)
        assert attrs["inference_library"] == "pyro"
        assert attrs["num_draws"] == 2
    assert "seed" not in result.attrs
    by_site = to_arviz(classifier, *labelled, num_samples=2, beta={"z1": 0.5, "z2": torch.tensor(2.0)}).attrs
    assert (by_site["beta_z1"], by_site["beta_z2"]) == (0.5, 2.0)
    assert not any(name.startswith("beta_paper") for name in by_site)
    classifier.num_data = 50
    assert to_arviz(classifier, *labelled, num_samples=2, beta=0.1).attrs["beta_paper"] == pytest.approx(5.0)


def test_the_user_chooses_sites_groups_and_labels(classifier, labelled):
    x, y = labelled
    nuisance = torch.arange(11) > 4
    result = to_arviz(
        classifier,
        x,
        y,
        num_samples=2,
        sites=["z2"],
        groups=["posterior", "sample_stats", "constant_data"],
        constant_data={"nuisance": nuisance, "index": torch.arange(100, 111)},
        coords={"obs_id": list("abcdefghijk"), "z2_feature": [10, 11, 12, 13]},
        dims={"z2": ["z2_feature"]},
    )
    posterior = result["posterior"]
    assert {"z2", "z2_alpha"} < set(posterior.data_vars)
    assert "z1" not in posterior
    assert "z1_rate" in result["sample_stats"]
    assert posterior["z2"].sel(obs_id="c", z2_feature=12).sizes == {"chain": 1, "draw": 2}
    np.testing.assert_array_equal(result["constant_data"]["nuisance"], nuisance)
    assert result["constant_data"]["index"][0] == 100
    renamed = to_arviz(classifier, x, y, num_samples=2, data_dim="image")
    assert renamed["posterior"]["z1"].dims == ("chain", "draw", "image", "z1_unit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples must be at least 1; got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"sites": ["z9"]}, "latent site 'z9' is unknown; choose 'z1' or 'z2'"),
        ({"groups": ["posteriour"]}, "'posteriour' is unknown; did you mean 'posterior'"),
        ({"groups": []}, "groups is empty"),
        ({"coords": {"z3_unit": [0]}}, "no dimension 'z3_unit'; there are"),
        ({"coords": {"z1_unit": [0]}}, r"coords\['z1_unit'\]: 1 labels for 5 entries"),
        ({"dims": {"z1": ["a", "b"]}}, r"dims\['z1'\] names 2 dimensions"),
        ({"dims": {"z1": ["draw"]}}, "the draws have a dimension 'draw'"),
        ({"dims": {"z1": ["obs_id"]}}, "must differ from one another and from 'chain' and 'draw'"),
        ({"dims": {"z2": ["z1_unit"]}}, "dimension 'z1_unit' has size 4 here and 5 elsewhere"),
        ({"constant_data": {"nuisance": torch.zeros(3)}}, "nuisance: 3 rows for 11 in x"),
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"plate": "images"}, "plate='images' is no plate over the 2 rows of x"),
    ],
)
def test_a_wrong_argument_is_named(classifier, labelled, options, message):
    with pytest.raises(ValueError, match=message):
        to_arviz(classifier, *labelled, **{"num_samples": 2} | options)


def test_wrong_data_are_named(classifier, labelled):
    x, y = labelled
    with pytest.raises(ValueError, match="y: 5 rows for 11 in x"):
        to_arviz(classifier, x, y[:5], num_samples=2)
    with pytest.raises(ValueError, match="at least one row"):
        to_arviz(classifier, x[:0], num_samples=2)
    with pytest.raises(
        TypeError, match=r"a Bottleneck, a module .* \(model, guide\), or a list of such; got Linear"
    ):
        to_arviz(nn.Linear(2, 3), x, y)

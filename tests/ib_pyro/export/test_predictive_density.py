"""The held-out log predictive density: exact laws, paired errors in ArviZ's own table, and what is refused."""

import copy
import math
import pickle
from importlib.metadata import version

import arviz
import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pyro import distributions as dist
from torch import nn

from ib_pyro import Bottleneck, elpd, to_arviz
from ib_pyro.nn import InformationDropout

IS_OLD = int(version("arviz").split(".")[0]) < 1

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def pair(scale, noise=1.0):
    """``z ~ N(x, scale²)`` and ``y ~ N(z, noise²)``, so that y given x is N(x, scale² + noise²)."""

    def model(x, y):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("y", dist.Normal(z, noise), obs=y)

    def guide(x, y):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, scale))

    return model, guide


def total(result):
    return float(result["elpd_loo"] if IS_OLD else result.elpd)


def pointwise(result):
    return (result["loo_i"] if IS_OLD else result.elpd_i).values


@pytest.fixture
def rows():
    x = torch.randn(60, dtype=torch.float64)
    return x, x + torch.randn(60, dtype=torch.float64)


@pytest.fixture
def classifier():
    return Bottleneck(InformationDropout.linear(6, 5), nn.Linear(5, 3))


def exact(x, y, scale):
    return dist.Normal(x, math.hypot(scale, 1.0)).log_prob(y).numpy()


def tree(x, y, scale, num_draws, noise=1.0):
    """What an export of :func:`pair` holds, drawn at once."""
    z = x + scale * torch.randn(num_draws, len(x), dtype=torch.float64)
    values = dist.Normal(z, noise).log_prob(y)[None].numpy()
    return xr.DataTree.from_dict({"log_likelihood": xr.Dataset({"y": (("chain", "draw", "obs_id"), values)})})


def test_it_is_the_exact_density_of_a_gaussian_program(rows):
    result = elpd(tree(*rows, 0.7, 40_000))
    np.testing.assert_allclose(pointwise(result), exact(*rows, 0.7), atol=0.06)
    assert total(result) == pytest.approx(exact(*rows, 0.7).sum(), abs=0.3)
    assert float(result["se"]) == pytest.approx(exact(*rows, 0.7).std() * math.sqrt(60), rel=0.02)
    assert int(result["n_data_points"]) == 60
    assert int(result["n_samples"]) == 40_000
    assert not result["warning"]


def test_an_export_holds_what_it_reads(rows):
    export = to_arviz(pair(0.7), *rows, num_samples=50, groups=["posterior", "log_likelihood"])
    z = torch.tensor(export["posterior"]["z"].values[0])
    by_hand = dist.Normal(z, 1.0).log_prob(rows[1]).logsumexp(0) - math.log(50)
    np.testing.assert_allclose(pointwise(elpd(export)), by_hand)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_it_is_above_loo_which_is_a_harmonic_mean(rows):
    export = to_arviz(pair(0.7), *rows, num_samples=400, seed=0)
    loo = arviz.loo(export)
    assert float(loo["elpd_loo"] if IS_OLD else loo.elpd) < total(elpd(export)) - 1


def test_compare_takes_it_with_the_error_of_the_paired_difference(rows):
    results = {f"{s}": elpd(tree(*rows, s, 4000)) for s in (0.1, 0.7, 1.5)}
    table = arviz.compare(results, **({} if IS_OLD else {"round_to": "none"}))
    values = {name: pointwise(result) for name, result in results.items()}
    assert list(table.index) == sorted(values, key=lambda name: -values[name].sum())
    best = values[table.index[0]]
    for name in table.index[1:]:
        gap = best - values[name]
        assert abs(float(table.loc[name, "elpd_diff"])) == pytest.approx(gap.sum(), rel=1e-6)
        assert float(table.loc[name, "dse"]) == pytest.approx(math.sqrt(60 * gap.var()), rel=1e-6)


def test_the_paired_error_is_that_of_other_test_sets():
    torch.manual_seed(1)
    gaps, errors = [], []
    for _ in range(100):
        x = torch.randn(50, dtype=torch.float64)
        y = x + torch.randn(50, dtype=torch.float64)
        one, other = (pointwise(elpd(tree(x, y, s, 2000))) for s in (0.2, 1.2))
        gaps.append((one - other).sum())
        errors.append(math.sqrt(50 * (one - other).var()))
    assert np.mean(errors) == pytest.approx(np.std(gaps, ddof=1), rel=0.2)


def test_what_a_row_observes_is_one_observation():
    x, y = torch.randn(12, dtype=torch.float64), torch.randn(12, 3, dtype=torch.float64)

    def model_of(parts):
        def model(x, y):
            with pyro.plate("rows", len(x), dim=-2 if parts == "plate" else -1):
                z = pyro.sample(
                    "z", dist.Normal(torch.zeros_like(x)[..., None] if parts == "plate" else 0 * x, 1.0)
                )
                if parts == "plate":
                    with pyro.plate("pixels", 3, dim=-1):
                        pyro.sample("y", dist.Normal(z, 1.0), obs=y)
                elif parts == "event":
                    pyro.sample("y", dist.Normal(z[:, None].expand(-1, 3), 1.0).to_event(1), obs=y)
                else:
                    for pixel in range(3):
                        pyro.sample(f"y{pixel}", dist.Normal(z, 1.0), obs=y[:, pixel])

        def guide(x, y):
            with pyro.plate("rows", len(x), dim=-2 if parts == "plate" else -1):
                pyro.sample("z", dist.Normal(x[:, None] if parts == "plate" else x, 0.5))

        return model, guide

    exports = {
        parts: to_arviz(model_of(parts), x, y, num_samples=500, seed=3, groups=["log_likelihood"])
        for parts in ("event", "plate", "sites")
    }
    values = {parts: pointwise(elpd(export)) for parts, export in exports.items()}
    np.testing.assert_allclose(values["plate"], values["event"])
    np.testing.assert_allclose(values["sites"], values["event"])
    alone = elpd(exports["sites"], var_name="y1")
    by_hand = torch.tensor(exports["sites"]["log_likelihood"]["y1"].values[0]).logsumexp(0) - math.log(500)
    np.testing.assert_allclose(pointwise(alone), by_hand)
    with pytest.raises(ValueError, match="var_name='y9' is unknown"):
        elpd(exports["sites"], var_name="y9")


def test_several_programs_are_averaged_or_together_an_ensemble(rows):
    programs = [pair(0.3), pair(1.4)]
    export = to_arviz(programs, *rows, num_samples=200, seed=0)
    with pytest.raises(ValueError, match="holds 2 programs; pass chains='mean' .* or chains='ensemble'"):
        elpd(export)
    densities = torch.tensor(export["log_likelihood"]["y"].values)
    own = densities.logsumexp(1) - math.log(200)
    np.testing.assert_allclose(pointwise(elpd(export, chains="mean")), own.mean(0))
    together = pointwise(elpd(export, chains="ensemble"))
    np.testing.assert_allclose(together, own.logsumexp(0) - math.log(2))
    assert (together >= own.mean(0).numpy() - 1e-12).all()
    with pytest.raises(ValueError, match="chains='median' is unknown"):
        elpd(export, chains="median")


def test_rows_that_were_fitted_are_refused(classifier):
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    with pytest.raises(ValueError, match="3 of its rows are among those that the program was fitted to"):
        elpd(to_arviz(classifier, x, y, num_samples=9, fitted_to=torch.cat([x[4:7], torch.randn(5, 6)])))
    export = to_arviz(classifier, x, y, num_samples=50, fitted_to=torch.randn(5, 6))
    assert export.attrs["num_rows_fitted_to"] == 0
    elpd(export)
    with pytest.raises(ValueError, match="fitted_to: its rows are"):
        to_arviz(classifier, x, y, num_samples=9, fitted_to=torch.randn(5, 7))


def log_likelihood_of(result):
    group = result["log_likelihood"]
    return group if IS_OLD else group.to_dataset()


@pytest.mark.filterwarnings("ignore:elpd")
@pytest.mark.parametrize("name", [None, "draws.nc", "draws.zarr"])
def test_what_was_fitted_goes_with_the_rows(classifier, tmp_path, name):
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    path = None if name is None else tmp_path / name
    export = to_arviz(classifier, x, y, num_samples=20, fitted_to=x[:5], path=path, seed=0)
    fitted = export["log_likelihood"]["fitted_to"].values
    np.testing.assert_array_equal(fitted, np.arange(20) < 5)
    with pytest.raises(ValueError, match=r"5 of its rows .*, or leave them out: export.isel\(obs_id=~export"):
        elpd(export)
    for rows, left in ((slice(3, None), 2), (slice(0, 4), 4)):
        with pytest.raises(ValueError, match=f"{left} of its rows are among those"):
            elpd(export.isel(obs_id=rows))
    others = elpd(export.isel(obs_id=~fitted))
    whole = elpd(to_arviz(classifier, x, y, num_samples=20, seed=0))
    np.testing.assert_allclose(pointwise(others), pointwise(whole)[5:])


@pytest.mark.filterwarnings("ignore:elpd")
def test_what_was_fitted_is_not_forgotten_where_results_are_joined(classifier):
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    clean, fitted = (
        log_likelihood_of(
            to_arviz(classifier, x, y, num_samples=20, fitted_to=those, coords={"obs_id": labels})
        )
        for those, labels in ((x[:3] + 5, range(20)), (x[:3], range(20, 40)))
    )
    for parts in ([clean, fitted], [fitted, clean]):
        joined = xr.DataTree.from_dict({"log_likelihood": xr.concat(parts, "obs_id")})
        with pytest.raises(ValueError, match="3 of its rows are among those"):
            elpd(joined)
    elpd(xr.DataTree.from_dict({"log_likelihood": clean}))


@pytest.mark.filterwarnings("ignore:elpd")
def test_an_export_of_an_earlier_version_says_it_of_all_rows_together(classifier):
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    group = log_likelihood_of(to_arviz(classifier, x, y, num_samples=20, fitted_to=x[:3])).drop_vars(
        "fitted_to"
    )
    with pytest.raises(ValueError, match="3 of its rows are among those .*; export others$"):
        elpd(xr.DataTree.from_dict({"log_likelihood": group}))


@pytest.mark.filterwarnings("ignore:elpd")
def test_a_fitted_row_without_a_label_is_none_of_the_density(classifier):
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    mask = {"labelled": torch.arange(20) >= 5}
    export = to_arviz(classifier, x, y, kwargs=mask, num_samples=20, fitted_to=x[:5])
    assert elpd(export)["n_data_points"] == 15


def test_the_name_of_what_was_fitted_is_no_label(classifier):
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    with pytest.raises(ValueError, match="labels: 'fitted_to' says which rows .*; pass them as fitted_to="):
        to_arviz(classifier, x, y, num_samples=2, labels={"fitted_to": y})


def test_zero_and_minus_zero_are_one_value(classifier):
    x = torch.zeros(3, 6)
    export = to_arviz(classifier, x, torch.arange(3), num_samples=2, fitted_to=-x[:1])
    assert export.attrs["num_rows_fitted_to"] == 3


def test_what_has_no_predictive_density_is_refused(classifier):
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    with pytest.raises(TypeError, match="no group 'log_likelihood'; export held-out rows with their y"):
        elpd(to_arviz(classifier, x, num_samples=9))
    with pytest.raises(ValueError, match="one draw, whose log density is the distortion"):
        elpd(to_arviz(classifier, x, y, num_samples=1))
    with pytest.raises(ValueError, match="one row, which has no standard error"):
        elpd(to_arviz(classifier, x[:1], y[:1], num_samples=9))


def test_an_observation_of_no_row_is_refused_by_name():
    def model(x):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        pyro.sample("total", dist.Normal(w, 1.0), obs=torch.tensor(1.9))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(w, 1.0), obs=x)

    export = to_arviz(
        (model, lambda x: pyro.sample("w", dist.Normal(0.4, 0.1))), torch.randn(6), num_samples=9
    )
    with pytest.raises(ValueError, match="site 'total': .* belongs to no row; name another with var_name="):
        elpd(export)
    assert pointwise(elpd(export, var_name="y")).shape == (6,)


def test_a_renamed_dimension_of_rows_is_found_or_asked_for(rows):
    whole = to_arviz(pair(0.5), *rows, num_samples=200, seed=0, data_dim="image")
    assert (elpd(whole)["loo_i"] if IS_OLD else elpd(whole).elpd_i).dims == ("image",)
    part = to_arviz(pair(0.5), *rows, num_samples=200, seed=0, data_dim="image", groups=["log_likelihood"])
    with pytest.raises(ValueError, match="and not 'obs_id', that of the rows"):
        elpd(part)
    assert pointwise(elpd(part, data_dim="image")).shape == (60,)


def test_an_impossible_row_is_refused_by_name():
    def model(x, y):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(x, 1.0))
            pyro.sample(
                "y", dist.Categorical(logits=torch.stack([z, z, torch.full_like(z, -math.inf)], -1)), obs=y
            )

    def guide(x, y):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    export = to_arviz((model, guide), torch.randn(4), torch.tensor([0, 1, 2, 1]), num_samples=9)
    with pytest.raises(ValueError, match=r"row 2: its log density is \[-inf\] \(1 such rows of 4\)"):
        elpd(export)


def test_too_few_draws_are_said_and_the_bias_is_as_large_as_said():
    x = torch.zeros(20_000, dtype=torch.float64)
    y = 0.1 * torch.randn(20_000, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"elpd: 64 draws are few .* about (\S+) nats too low") as said:
        few = elpd(tree(x, y, 1.0, 64, noise=0.5))
    assert few["warning"]
    true = float(dist.Normal(x, math.hypot(1.0, 0.5)).log_prob(y).sum())
    claimed = float(str(said[0].message).split("about ")[1].split()[0])
    assert true - total(few) == pytest.approx(claimed, rel=0.3)
    assert not elpd(tree(x[:50], y[:50], 1.0, 20_000, noise=0.5))["warning"]


def test_it_says_what_it_is_and_survives_a_copy_and_a_pickle(rows):
    result = elpd(to_arviz(pair(0.5), *rows, num_samples=200, seed=0))
    text = str(result)
    assert f"{total(result):.2f}" in text
    assert "loo" not in text
    assert str(pickle.loads(pickle.dumps(result))) == text
    assert total(copy.deepcopy(result)) == total(result)


@pytest.mark.parametrize("name", ["draws.nc", "draws.zarr"])
def test_an_export_in_a_file_gives_the_same(rows, tmp_path, name):
    memory = elpd(to_arviz(pair(0.5), *rows, num_samples=200, seed=0))
    file = elpd(to_arviz(pair(0.5), *rows, num_samples=200, seed=0, path=tmp_path / name))
    np.testing.assert_array_equal(pointwise(file), pointwise(memory))

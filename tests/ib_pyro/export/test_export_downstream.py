"""What ArviZ does with an export: tables, plots and leave-one-out, in either series of ArviZ."""

import math
from importlib.metadata import version

import arviz
import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from matplotlib import pyplot as plt
from pyro import distributions as dist
from torch import nn

from ib_pyro import Bottleneck, to_arviz
from ib_pyro.nn import ConstantDropout, InformationDropout

IS_OLD = int(version("arviz").split(".")[0]) < 1
NUM_DRAWS = 60

pytestmark = [
    # What ArviZ and its libraries say among themselves.
    pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution"),
    pytest.mark.filterwarnings("ignore:Found chain dimension to be longer than draw dimension"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def result():
    torch.manual_seed(0)
    encoder = nn.Sequential(InformationDropout.linear(6, 5), InformationDropout.linear(5, 4))
    program = Bottleneck(encoder, nn.Linear(4, 3))
    return to_arviz(program, torch.randn(12, 6), torch.arange(12) % 3, num_samples=NUM_DRAWS)


@pytest.fixture(scope="module")
def continuous():
    torch.manual_seed(0)
    program = Bottleneck(ConstantDropout.linear(6, 5, alpha=0.5), nn.Linear(5, 2), "normal")
    return to_arviz(program, torch.randn(12, 6), torch.randn(12, 2), num_samples=NUM_DRAWS)


def by_class(result: object) -> xr.Dataset:
    """Mean noise scale of each layer, by class."""
    posterior, y = result["posterior"], result["observed_data"]["y"]
    layers = {}
    for name in ("z1", "z2"):
        alpha = posterior[f"{name}_alpha"].mean(f"{name}_unit")
        layers[name] = alpha.groupby(y.rename("class")).mean("obs_id")
    return xr.Dataset(layers)


def drawn_texts(figure) -> str:
    return " ".join(
        text.get_text()
        for axes in figure.axes
        for text in [
            axes.title,
            axes.xaxis.label,
            *axes.get_xticklabels(),
            *axes.get_yticklabels(),
            *axes.texts,
        ]
    )


def test_summary(result):
    table = arviz.summary(result, var_names=["z1", "z1_alpha", "z1_log_eps"], kind="stats")
    assert len(table) == 3 * 12 * 5
    assert not {"r_hat", "ess_bulk"} & set(table.columns)
    alpha = result["posterior"]["z1_alpha"][0, 0, 2, 3]
    assert float(table.loc["z1_alpha[2, 3]", "mean"]) == pytest.approx(float(alpha), abs=1e-3)


def test_alpha_by_layer_and_by_class_as_a_forest(result):
    table = by_class(result)
    assert dict(table.sizes) == {"chain": 1, "draw": NUM_DRAWS, "class": 3}
    arviz.plot_forest(table)
    texts = drawn_texts(plt.gcf())
    assert "z1" in texts
    assert "z2" in texts


def test_alpha_as_a_ridge(result):
    coords = {"obs_id": [0, 1], "z2_unit": [0, 1]}
    if IS_OLD:
        arviz.plot_forest(result, kind="ridgeplot", var_names=["z2_alpha"], coords=coords)
    else:
        arviz.plot_ridge(result, var_names=["z2_alpha"], coords=coords)
    assert "z2_alpha" in drawn_texts(plt.gcf())


def test_densities_of_z_and_of_the_noise(result):
    posterior = result["posterior"]
    on = (posterior["z1_activation"] > 0).all(("chain", "draw"))
    row, unit = np.argwhere(on.values)[0]
    picked = xr.Dataset(
        {name: posterior[name].sel(obs_id=row, z1_unit=unit) for name in ("z1", "z1_log_eps")}
    )
    (arviz.plot_density if IS_OLD else arviz.plot_dist)(picked)
    texts = drawn_texts(plt.gcf())
    assert "z1" in texts
    assert "z1_log_eps" in texts


def test_posterior_predictive_check(continuous, result):
    for each in (continuous, result):
        if IS_OLD:
            arviz.plot_ppc(each, num_pp_samples=10)
        elif each is continuous:
            arviz.plot_ppc_dist(each, num_samples=10)
        else:
            # Labels are discrete, for which ArviZ has a plot of its own.
            arviz.plot_ppc_rootogram(each)
        assert plt.gcf().axes


def test_extract_combines_the_draws(result):
    combined = arviz.extract(result, var_names=["z1"])
    assert dict(combined.sizes) == {"obs_id": 12, "z1_unit": 5, "sample": NUM_DRAWS}


def test_observations_outside_of_the_rows_are_beside_those_inside():
    def model(x):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        pyro.factor("f", -(w**2))
        pyro.sample("total", dist.Normal(w, 1.0), obs=torch.tensor(1.9))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(w, 1.0), obs=x)

    result = to_arviz(
        (model, lambda x: pyro.sample("w", dist.Normal(0.4, 0.1))), torch.randn(6), num_samples=NUM_DRAWS
    )
    assert list(arviz.summary(result, var_names=["w"], kind="stats").index) == ["w"]
    assert len(arviz.summary(result, group="sample_stats", kind="stats")) == 1 + 6 + 1
    pointwise = arviz.loo(result, var_name="y", pointwise=True)
    assert (pointwise.loo_i if IS_OLD else pointwise.elpd_i).shape == (6,)
    assert arviz.extract(result, var_names=["w"]).sizes["sample"] == NUM_DRAWS
    (arviz.plot_density if IS_OLD else arviz.plot_dist)(result, var_names=["w"])
    assert "w" in drawn_texts(plt.gcf())


def test_loo_is_pointwise_and_at_most_the_predictive_density(result):
    loo = arviz.loo(result, pointwise=True)
    pointwise = (loo.loo_i if IS_OLD else loo.elpd_i).values
    assert pointwise.shape == (12,)
    log_likelihood = torch.tensor(result["log_likelihood"]["y"].values[0])
    log_predictive = log_likelihood.logsumexp(0) - math.log(NUM_DRAWS)
    harmonic = math.log(NUM_DRAWS) - (-log_likelihood).logsumexp(0)
    # Pareto smoothing moves the harmonic mean a little, never above the mean.
    assert (pointwise <= log_predictive.numpy() + 1e-9).all()
    np.testing.assert_allclose(pointwise, harmonic, atol=0.05)


def test_compare_ranks_less_noise_first_when_noise_only_hurts():
    x = torch.randn(40, 6)
    layer = ConstantDropout.linear(6, 16, alpha=0.05)
    program = Bottleneck(layer, nn.Linear(16, 3))
    y = program.predict(x, num_samples=0).argmax(-1)
    with torch.no_grad():
        program.decoder.weight.mul_(8)
    results = {}
    for alpha in (0.05, 0.3, 0.7, 1.0):
        layer.alpha = alpha
        results[f"alpha={alpha}"] = to_arviz(program, x, y, num_samples=NUM_DRAWS, seed=0)
    table = arviz.compare(results)
    assert len(table) == 4
    assert table.index[0] == "alpha=0.05"
    assert table.index[-1] == "alpha=1.0"


@pytest.mark.parametrize("name", ["draws.zarr", "draws.nc"])
def test_saved_by_xarray_and_read_again(result, tmp_path, same_groups, name):
    tree = result.to_datatree() if IS_OLD else result
    if name.endswith("zarr"):
        tree.to_zarr(tmp_path / name, zarr_format=2)
        again = xr.open_datatree(tmp_path / name, engine="zarr")
    else:
        tree.to_netcdf(tmp_path / name, engine="h5netcdf")
        again = xr.open_datatree(tmp_path / name, engine="h5netcdf")
    with again:
        same_groups(again, result)


def test_a_streamed_file_opens_with_arviz_itself(tmp_path, same_groups):
    program = Bottleneck(InformationDropout.linear(6, 5), nn.Linear(5, 3))
    written = to_arviz(program, torch.randn(4, 6), num_samples=3, path=tmp_path / "draws.nc")
    same_groups(arviz.from_netcdf(tmp_path / "draws.nc"), written)
    if not IS_OLD:
        written = to_arviz(program, torch.randn(4, 6), num_samples=3, path=tmp_path / "draws.zarr")
        same_groups(arviz.from_zarr(tmp_path / "draws.zarr"), written)


def test_a_streamed_result_goes_through_the_same_functions(tmp_path):
    program = Bottleneck(InformationDropout.linear(6, 5), nn.Linear(5, 3))
    x, y = torch.randn(8, 6), torch.arange(8) % 3
    written = to_arviz(program, x, y, num_samples=NUM_DRAWS, path=tmp_path / "draws.zarr", seed=1)
    memory = to_arviz(program, x, y, num_samples=NUM_DRAWS, seed=1)
    assert float(arviz.loo(written).elpd_loo if IS_OLD else arviz.loo(written).elpd) == pytest.approx(
        float(arviz.loo(memory).elpd_loo if IS_OLD else arviz.loo(memory).elpd)
    )
    arviz.plot_forest(written, var_names=["z1_alpha"], coords={"obs_id": [0]})

"""What is not observed is missing in an export: no certain prediction, no made-up label, no row of an elpd."""

from importlib.metadata import version

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from ib_pyro import Bottleneck, elpd, to_arviz
from ib_pyro.nn import InformationDropout

IS_OLD = int(version("arviz").split(".")[0]) < 1
KEPT = torch.tensor([True, False, True, True, False, False, True, True, False, True, False])
OPTIONS = {"num_samples": 40, "seed": 0, "batch_size": 11}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution"),
    pytest.mark.filterwarnings("ignore:elpd"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def values_of(result):
    return (result["loo_i"] if IS_OLD else result.elpd_i).values


def normal(mask_of, event=False):
    """``z ~ N(x, 0.5²)`` and three pixels y around it, of which a mask is made."""

    def model(x, y=None):
        mask = torch.ones(len(x), 3, dtype=torch.bool) if y is None else mask_of(y)
        with pyro.plate("rows", len(x), dim=-1 if event else -2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)) if event else x.new_zeros(len(x), 1), 1.0))
            seen = None if y is None else y.nan_to_num()
            if event:
                law = dist.Normal(z[:, None].expand(-1, 3), 1.0).mask(mask).to_event(1)
                pyro.sample("y", law, obs=seen)
            else:
                with pyro.plate("pixels", 3, dim=-1), poutine.mask(mask=mask):
                    pyro.sample("y", dist.Normal(z, 1.0), obs=seen)

    def guide(x, y=None):
        with pyro.plate("rows", len(x), dim=-1 if event else -2):
            pyro.sample("z", dist.Normal(x if event else x[:, None], 0.5))

    return model, guide


@pytest.fixture
def semi(classifier, labelled):
    """An export whose rows have labels in part, and one of those with labels alone, of the same z."""
    x, y = labelled
    whole = to_arviz(classifier, x, y, **OPTIONS)
    part = to_arviz(classifier, x, torch.where(KEPT, y, -1), kwargs={"labelled": KEPT}, **OPTIONS)
    return whole, part


def test_rows_without_a_label_have_none(semi):
    whole, part = semi
    np.testing.assert_array_equal(part["log_likelihood"]["y_is_observed"], KEPT)
    assert part["log_likelihood"]["y_is_observed"].dtype == bool
    for group in ("log_likelihood", "observed_data"):
        np.testing.assert_array_equal(part[group]["y"], np.where(KEPT, whole[group]["y"], np.nan))
    assert (part["sample_stats"]["distortion"].values[..., ~KEPT] == 0).all()
    np.testing.assert_array_equal(part["posterior_predictive"]["y"], whole["posterior_predictive"]["y"])
    by_class = part["posterior"]["z1_alpha"].groupby(part["observed_data"]["y"]).mean("obs_id")
    expected = whole["posterior"]["z1_alpha"].isel(obs_id=np.flatnonzero(KEPT & (torch.arange(11) % 3 == 0)))
    np.testing.assert_allclose(by_class.sel(y=0), expected.mean("obs_id").transpose(*by_class.sel(y=0).dims))


def test_elpd_is_that_of_the_rows_with_a_label(semi):
    whole, part = semi
    found, of_all = elpd(part), elpd(whole)
    np.testing.assert_allclose(values_of(found), values_of(of_all)[KEPT.numpy()], rtol=1e-12)
    assert found["n_data_points"] == int(KEPT.sum())
    assert float(found["se"]) == pytest.approx(np.sqrt(KEPT.sum()) * values_of(found).std())
    pointwise = found["loo_i"] if IS_OLD else found.elpd_i
    assert pointwise.attrs["num_rows_not_observed"] == 5
    np.testing.assert_array_equal(pointwise["obs_id"], np.flatnonzero(KEPT))
    assert not IS_OLD or "6 held-out rows (5 that are not observed left out)" in str(found)


def test_loo_is_no_number_until_they_are_left_out(semi):
    whole, part = semi
    together = arviz.loo(part)
    assert np.isnan(float(together.elpd_loo if IS_OLD else together.elpd))
    is_observed = part["log_likelihood"]["y_is_observed"].values
    left = arviz.loo(part.isel(obs_id=is_observed), pointwise=True)
    expected = arviz.loo(whole.isel(obs_id=is_observed), pointwise=True)
    np.testing.assert_allclose(values_of(left), values_of(expected))
    assert left["n_data_points"] == 6


@pytest.mark.parametrize("name", ["draws.nc", "draws.zarr"])
@pytest.mark.parametrize("labels", [{}, {"kind": list("abcdefghijk")}])
def test_files_hold_what_is_missing(classifier, labelled, tmp_path, same_groups, name, labels):
    x, y = labelled
    options = {**OPTIONS, "batch_size": 3, "kwargs": {"labelled": KEPT}, "labels": labels}
    memory, file = (to_arviz(classifier, x, y, path=path, **options) for path in (None, tmp_path / name))
    same_groups(file, memory)
    for group in (memory, file):
        assert set(group["log_likelihood"].data_vars) == {"y"}
        assert group["log_likelihood"]["y_is_observed"].dtype == bool
        assert group["observed_data"]["y"].attrs["comment"] == "NaN where y is not observed"
    np.testing.assert_array_equal(values_of(elpd(file)), values_of(elpd(memory)))


def test_pixels_may_be_missing_in_a_plate_of_their_own():
    x, y = torch.randn(5, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    y[1, 2] = y[3] = torch.nan
    exports = {
        event: to_arviz(normal(lambda y: ~y.isnan(), event), x, y, num_samples=30, seed=0, plate="rows")
        for event in (False, True)
    }
    for export in exports.values():
        np.testing.assert_array_equal(export["observed_data"]["y"], y)
    pixels, images = exports[False]["log_likelihood"], exports[True]["log_likelihood"]
    np.testing.assert_array_equal(pixels["y_is_observed"], ~y.isnan())
    np.testing.assert_array_equal(images["y_is_observed"], [True, True, True, False, True])
    np.testing.assert_allclose(images["y"], pixels["y"].sum("pixels", min_count=1))
    np.testing.assert_allclose(values_of(elpd(exports[True])), values_of(elpd(exports[False])))
    assert elpd(exports[False])["n_data_points"] == 4


def test_what_another_site_observes_counts():
    def model(x, y):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0 * x, 1.0))
            for name, mask in (("a", ~y.isnan()), ("b", y.nan_to_num() > 0)):
                with poutine.mask(mask=mask):
                    pyro.sample(name, dist.Normal(z, 1.0), obs=y.nan_to_num())

    def guide(x, y):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 0.5))

    y = torch.tensor([0.3, torch.nan, -0.2, 1.0])
    export = to_arviz((model, guide), torch.zeros(4), y, num_samples=30)
    values = export["log_likelihood"]
    assert elpd(export)["n_data_points"] == 3
    assert elpd(export, var_name="b")["n_data_points"] == 2
    alone = elpd(export, var_name="a")
    by_hand = torch.tensor(values["a"].values[0, :, [0, 2, 3]]).logsumexp(1) - np.log(30)
    np.testing.assert_allclose(values_of(alone), by_hand)


def test_a_density_that_is_no_number_is_not_taken_for_a_missing_one(semi):
    _, part = semi
    part["log_likelihood"]["y"].values[:, :, 2] = np.nan
    with pytest.raises(ValueError, match="row 2: its log density is"):
        elpd(part)


def test_one_observed_row_or_none_has_no_standard_error(classifier, labelled):
    x, y = labelled
    for count, found in ((1, "1 observed row of 11"), (0, "no observed row of 11")):
        mask = {"labelled": torch.arange(11) < count}
        with pytest.raises(ValueError, match=f"export: it has {found}"):
            elpd(to_arviz(classifier, x, y, kwargs=mask, num_samples=9))


def test_a_mask_of_all_takes_nothing_out_and_one_of_nothing_all(classifier, labelled):
    x, y = labelled
    model, guide = poutine.mask(classifier.model, mask=True), poutine.mask(classifier.guide, mask=True)
    all_of_it = to_arviz((model, guide), x, y, num_samples=2)
    assert "y_is_observed" not in all_of_it["log_likelihood"].coords
    assert all_of_it["observed_data"]["y"].dtype == np.int64
    nothing = to_arviz(
        (poutine.mask(classifier.model, mask=False), guide), x, y, num_samples=2, groups=["observed_data"]
    )
    assert np.isnan(nothing["observed_data"]["y"]).all()


def test_a_mask_that_follows_the_draw_says_of_no_data_what_is_observed():
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0 * x, 1.0))
            # In the first rows, which are looked at, it is the same in all draws.
            with poutine.mask(mask=(z > 0) | (x < 3)):
                pyro.sample("y", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(0 * x, 1.0))

    for group in ("log_likelihood", "observed_data"):
        with pytest.raises(
            ValueError, match=f"group '{group}': .*site 'y'.* has another value in another draw"
        ):
            to_arviz((model, guide), torch.arange(20.0), num_samples=9, batch_size=2, groups=[group])
    to_arviz((model, guide), torch.arange(20.0), num_samples=9, batch_size=2, groups=["posterior"])


@pytest.mark.parametrize("name", [None, "draws.nc", "draws.zarr"])
def test_programs_that_observe_other_rows_are_no_chains_of_one_export(tmp_path, name):
    x, y = torch.randn(8), torch.randn(8, 3)
    programs = [normal(lambda y: y > -9), normal(lambda y: y > 0)]
    path = None if name is None else tmp_path / name
    with pytest.raises(
        ValueError, match="has other values of program 1 than of program 0; .*export them apart"
    ):
        to_arviz(programs, x, y, num_samples=3, plate="rows", path=path)


def test_a_site_of_any_name_has_its_label(tmp_path):
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0 * x, 1.0))
            with poutine.mask(mask=x > 0):
                pyro.sample("the y", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    export = to_arviz((model, guide), torch.tensor([1.0, 2.0, -1.0]), num_samples=9, path=tmp_path / "a.nc")
    np.testing.assert_array_equal(export["log_likelihood"]["the_y_is_observed"], [True, True, False])
    assert elpd(export)["n_data_points"] == 2


def test_heads_share_a_mask():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.digit, self.place = nn.Linear(5, 3), nn.Linear(5, 2)

        def forward(self, z):
            return {"digit": self.digit(z), "place": self.place(z)}

    program = Bottleneck(
        InformationDropout.linear(6, 5), Heads(), {"digit": "categorical", "place": "normal"}
    ).double()
    y = {"digit": torch.arange(11) % 3, "place": torch.randn(11, 2, dtype=torch.float64)}
    x = torch.randn(11, 6, dtype=torch.float64)
    export = to_arviz(program, x, y, kwargs={"labelled": KEPT}, num_samples=9)
    assert np.isnan(export["observed_data"]["place"].values).all(-1).tolist() == (~KEPT).tolist()
    assert elpd(export)["n_data_points"] == elpd(export, var_name="place")["n_data_points"] == 6


@pytest.mark.parametrize("unlabelled", [0, 7])
def test_a_mask_that_only_some_batches_have(unlabelled):
    """Of batches without one all is observed; one that comes after the first rows has to be there always."""
    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2)).eval()
    x, y = torch.randn(8, 4), torch.arange(8) % 2
    labelled = torch.arange(8) != unlabelled

    def model(x, y, labelled):
        if labelled.all():
            return program.model(x, y)
        return program.model(x, y, labelled=labelled)

    def guide(x, y, labelled):
        return program.guide(x)

    def export():
        inputs = (x, y, labelled)
        return to_arviz((model, guide), inputs, num_samples=3, batch_size=4, seed=0)

    if unlabelled:
        with pytest.raises(ValueError, match="site 'y' is observed is told by a mask .* mask it always"):
            export()
    else:
        result = export()
        assert result["log_likelihood"]["y_is_observed"].values.tolist() == labelled.tolist()
        assert np.isnan(result["log_likelihood"]["y"].values).sum() == 3
        assert elpd(result).n_data_points == 7

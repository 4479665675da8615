"""Table 1's bound is what the traces of the fitted program weigh: log p(x, z) - log p(z|x)."""

import pandas as pd
import pytest
import torch

from ib_pyro.diagnostics import importance_log_weights
from inference.runs.run import load_run, run
from inference.studies.paper import table1
from inference.studies.paper.evidence import FEW, NOT, REPRODUCED
from inference.studies.paper.plan import Size, paper_run
from models.vae import binarise


@pytest.mark.parametrize("latent", ["gaussian", "information"])
def test_the_bound_is_the_mean_log_weight_of_draws_from_the_guide(tmp_path, latent):
    size = Size(sizes=(1,), epochs=2, lr=1e-3, batch_size=50, train_images=200, test_images=60)
    options = {"beta": 1.0, "optimizer": "adam", "num_importance_samples": 0}
    spec = paper_run(size, model="vae", data="mnist", latent=latent, stand_in=True, **options)
    result = run(spec, tmp_path / "run", progress=False)
    assert "test_importance_weighted" not in result
    program, splits = load_run(tmp_path / "run")
    (row,) = table1.measure(spec, result, lambda: (program, splits))
    assert row["latent"] == latent
    x = binarise(splits.test.x, torch.Generator().manual_seed(0))
    with torch.no_grad():
        weights = importance_log_weights(program.model, program.guide, x, x, num_samples=30)
    # One draw an image differs from the mean over draws by its noise.
    noise = weights.std(0).square().sum().sqrt().item() / len(x)
    assert row["bound"] == pytest.approx(weights.mean().item(), abs=5 * noise)
    # The tolerance tells the rate from nothing, and from its opposite.
    assert min(result["rate"], result["distortion"]) > 10 * noise


def bounds(freer=None, seeds=(101, 102, 103), gap=5.0):
    """Rows of fits whose bounds differ by so many nats, a little otherwise in each seed."""
    levels = {"gaussian": -98.0, "information": -98.0 - gap}
    if freer is not None:
        levels[table1._FREER] = freer
    return pd.DataFrame(
        {"size": 1, "seed": seed, "latent": latent, "bound": bound + 0.1 * ((seed * len(latent)) % 3)}
        for seed in seeds
        for latent, bound in levels.items()
    )


def test_the_form_of_the_latent_is_judged_beside():
    rows = bounds(freer=-97.5)
    assert table1.bounds_are_close(rows).verdict == NOT
    assert table1.freer_is_higher(rows).verdict == REPRODUCED
    assert table1.freer_bounds_are_close(rows).verdict == REPRODUCED
    worse = bounds(freer=-104.0)
    assert table1.freer_is_higher(worse).verdict == NOT
    assert table1.freer_bounds_are_close(worse).verdict == NOT


def test_without_such_fits_nothing_is_said_of_them():
    for judge in (table1.freer_is_higher, table1.freer_bounds_are_close):
        assert judge(bounds()).verdict == FEW
    assert table1.bounds_are_close(bounds(gap=1.0)).verdict == REPRODUCED


def test_the_form_is_fitted_at_sizes_with_all_seeds_alone():
    size = table1.FIGURE.sizes["definitive"]
    planned = [run.spec for run in table1.runs(size, pd.DataFrame())]
    freer = [(spec.program.k, spec.training.seed) for spec in planned if spec.program.prior_per_unit]
    assert freer == [(1, seed) for seed in size.seeds]
    assert not table1.FIGURE.sizes["small"].control

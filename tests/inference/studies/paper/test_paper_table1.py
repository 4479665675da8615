"""Table 1's bound is what the traces of the fitted program weigh: log p(x, z) - log p(z|x)."""

import pytest
import torch

from ib_pyro.diagnostics import importance_log_weights
from inference.runs.run import load_run, run
from inference.studies.paper import table1
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

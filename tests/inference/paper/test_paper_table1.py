"""Table 1's bound is what the traces of the fitted program weigh: log p(x, z) - log p(z|x)."""

import pytest
import torch

from ib_pyro.bounds import importance_log_weights
from inference.paper import table1
from inference.paper.execution import execute, load_program
from inference.paper.run import PaperRun, Place
from models.vae import binarise


@pytest.mark.parametrize("latent", ["gaussian", "information"])
def test_the_bound_is_the_mean_log_weight_of_draws_from_the_guide(tmp_path, latent):
    run = PaperRun(
        model="vae",
        data="mnist",
        size=1,
        latent=latent,
        beta=1.0,
        epochs=2,
        optimizer="adam",
        lr=1e-3,
        batch_size=50,
        train_images=200,
        test_images=60,
        num_samples=1,
    )
    place = Place(tmp_path)
    result = execute(run, place)
    (row,) = table1.measure(run, result, place)
    assert row["latent"] == latent
    program, splits = load_program(run, place)
    x = binarise(splits.test.x, torch.Generator().manual_seed(0))
    with torch.no_grad():
        weights = importance_log_weights(program.model, program.guide, x, x, num_samples=30)
    # One draw an image differs from the mean over draws by its noise.
    noise = weights.std(0).square().sum().sqrt().item() / len(x)
    assert row["bound"] == pytest.approx(weights.mean().item(), abs=5 * noise)
    # The tolerance tells the rate from nothing, and from its opposite.
    assert min(result["rate"], result["distortion"]) > 10 * noise

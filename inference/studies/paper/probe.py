"""The nuisance probe: a second network that reads what a frozen representation still says of the nuisance."""

from __future__ import annotations

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ib_pyro import Bottleneck, noise_off
from ib_pyro.batch_norm import noise_off_copy
from ib_pyro.data import LabelledImages
from ib_pyro.training.data_placement import placed
from ib_pyro.training.evaluation import evaluate
from ib_pyro.training.fitting import fit
from ib_pyro.training.noisy_sites import read_sites
from ib_pyro.training.optimizers import build_optimizer
from ib_pyro.training.randomness import seeded
from inference.runs.splits import Splits
from models.all_cnn import all_cnn_head

__all__ = ["probe_errors"]


def probe_errors(
    program: Bottleneck,
    splits: Splits,
    *,
    epochs: int,
    batch_size: int = 100,
    num_draws: int = 4,
    seed: int = 0,
) -> dict[str, float]:
    """Fit a probe to the noisy representation, and another to the deterministic one, and test both.

    The probe has the form of an All-CNN's own head. It is fitted to the held-out images, which the network has not
    seen either, where there are some, and else to those that the network was fitted to. The noisy representation of
    each of these images is drawn several times, that of a test image once; the deterministic one has the noise off and
    batch norm re-estimated without it. The draws are kept, on the images' device: computing them is what costs time,
    and a network with all of its filters, 50,000 images and four draws need 10 GB.

    Args:
        program: A fitted All-CNN; its parameters stay as they are.
        splits: Images with nuisance labels; the network's own training images among them.
        epochs: Passes of the probe over all draws of the noisy representation; the other probe takes as many steps.
        batch_size: Images in a step.
        num_draws: Draws of the noise for each image that the probe is fitted to.
        seed: Seed of noise and probe.

    Returns:
        ``nuisance_error_noisy`` and ``nuisance_error_deterministic``, shares of the test images.
    """
    train, test = splits.train if splits.validation is None else splits.validation, splits.test
    draws = [_last_site(program, train.x, seed=seed + draw) for draw in range(num_draws)]
    noisy = (torch.cat(draws), _nuisance(train).repeat(num_draws))
    noisy_test = (_last_site(program, test.x, seed=seed + num_draws), _nuisance(test))
    quiet_program = noise_off_copy(program, placed(splits.train.x, program), batch_size=250)
    with noise_off():
        quiet = (_last_site(quiet_program, train.x), _nuisance(train))
        quiet_test = (_last_site(quiet_program, test.x), _nuisance(test))
    options = {"batch_size": batch_size, "seed": seed}
    return {
        "nuisance_error_noisy": _error(noisy, noisy_test, epochs=epochs, **options),
        "nuisance_error_deterministic": _error(quiet, quiet_test, epochs=epochs * num_draws, **options),
    }


def _last_site(program: Bottleneck, x: Tensor, *, seed: int = 0) -> Tensor:
    """A draw of the last noisy site for each image."""
    site = list(program.stochastic_layers)[-1]

    def draw(part: Tensor) -> dict[str, Tensor]:
        return {site: program.latents(part)[site]}

    return read_sites(program, x, draw, seed=seed)[site]


class _Representation:
    """A set of representations with the labels that are to be read from them."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y


def _nuisance(data: LabelledImages) -> Tensor:
    if data.nuisance is None:
        raise ValueError("the images have no nuisance labels; the probe is for sets such as 'occluded-cifar'")
    return data.nuisance


def _error(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, epochs: int, batch_size: int, seed: int
) -> float:
    channels = train[0].shape[1]
    with seeded(seed):
        probe = Bottleneck(nn.Identity(), all_cnn_head(channels, channels))
        probe = probe.to(memory_format=torch.channels_last)
        fit(
            probe,
            _Representation(*train),
            epochs=epochs,
            batch_size=batch_size,
            optimizer=build_optimizer("adam", probe.parameters(), lr=2e-3),
            fabric=Fabric(accelerator="auto", devices=1),
            order=torch.Generator().manual_seed(seed),
            progress=False,
        )
        return evaluate(probe, _Representation(*test), num_samples=1, seed=seed).error_noisy

"""The nuisance probe: a second network that reads what a frozen representation still says of the nuisance."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from lightning.fabric import Fabric
from pyro import poutine
from torch import Tensor, nn

from ib_pyro import Bottleneck, noise_off
from ib_pyro.data import LabelledImages
from ib_pyro.handlers import SiteRecorder
from inference.batch_norm import noise_off_copy
from inference.evaluation import noisy_error
from inference.fitting import fit
from inference.optimizers import build_optimizer
from inference.paper.data import Splits
from inference.randomness import seeded
from models.all_cnn import all_cnn_head

__all__ = ["FrozenRepresentation", "probe_errors"]

# Images at a time where nothing is fitted.
_BATCH = 250


class FrozenRepresentation(nn.Module):
    """The value of a program's last noisy site, as a network in which nothing is left to learn.

    Each call draws the noise anew from the ambient generator. To Pyro it is a function like others: the program's
    sites stay inside, so that a `Bottleneck` around it does not charge them.

    Args:
        program: A fitted program with noisy sites; it is set to evaluation mode, and stays in it.
        noise: Whether the noise is on.
    """

    def __init__(self, program: Bottleneck, *, noise: bool) -> None:
        super().__init__()
        # Kept out of the module tree: its parameters are not to be fitted, nor its batch norm to be set to train.
        object.__setattr__(self, "_program", program.eval())
        self._site = list(program.stochastic_layers)[-1]
        self._noise = noise

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return z of the last noisy site, ``[N, ...]``, for images on the program's device."""
        switch = nullcontext() if self._noise else noise_off()
        with poutine.block(), switch, SiteRecorder() as recorder:
            self._program.encoder(x)
        return recorder.values[self._site]


def probe_errors(
    program: Bottleneck, splits: Splits, *, passes: int, batch_size: int = 100, seed: int = 0
) -> dict[str, float]:
    """Fit a probe to the noisy representation, and another to the deterministic one, and test both.

    The probe has the form of an All-CNN's own head. The noise of a representation is drawn anew at every step, and
    once for each test image; the deterministic one has the noise off and batch norm re-estimated without it.

    Args:
        program: A fitted All-CNN; it stays as it is, since the probes read a copy.
        splits: Images with nuisance labels.
        passes: Passes of either probe over the training images.
        batch_size: Images in a step.
        seed: Seed of noise and probe.

    Returns:
        ``nuisance_error_noisy`` and ``nuisance_error_deterministic``, shares of the test images.

    Raises:
        ValueError: If the images have no nuisance labels.
    """
    fabric = Fabric(accelerator="auto", devices=1)
    train, test = _with_nuisance(splits.train), _with_nuisance(splits.test)
    noisy = copy.deepcopy(program).eval().to(fabric.device)
    quiet = noise_off_copy(noisy, train.x.to(fabric.device), batch_size=_BATCH)
    representations = {
        "noisy": FrozenRepresentation(noisy, noise=True),
        "deterministic": FrozenRepresentation(quiet, noise=False),
    }
    return {
        f"nuisance_error_{name}": _error(
            representation, train, test, fabric=fabric, passes=passes, batch_size=batch_size, seed=seed
        )
        for name, representation in representations.items()
    }


@dataclass(frozen=True)
class _Nuisance:
    """Images, and the nuisance that is to be read from them."""

    x: Tensor
    y: Tensor


def _with_nuisance(data: LabelledImages) -> _Nuisance:
    if data.nuisance is None:
        raise ValueError("the images have no nuisance labels; the probe is for sets such as 'occluded-cifar'")
    return _Nuisance(data.x, data.nuisance)


def _error(
    representation: FrozenRepresentation,
    train: _Nuisance,
    test: _Nuisance,
    *,
    fabric: Fabric,
    passes: int,
    batch_size: int,
    seed: int,
) -> float:
    with seeded(seed):
        channels = representation(train.x[:1].to(fabric.device)).shape[1]
        probe = Bottleneck(representation, all_cnn_head(channels, channels))
        probe = probe.to(device=fabric.device, memory_format=torch.channels_last)
        fit(
            probe,
            train,
            epochs=passes,
            batch_size=batch_size,
            optimizer=build_optimizer("adam", probe.parameters(), lr=2e-3),
            fabric=fabric,
            order=torch.Generator().manual_seed(seed),
            progress=False,
        )
        error = noisy_error(probe, test, batch_size=_BATCH, seed=seed)
    assert error is not None
    return error

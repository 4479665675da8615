"""The autoencoder of Pyro's tutorial, trained as the tutorial trains it."""

from __future__ import annotations

import pyro
import torch
from PIL import Image
from pyro import distributions as dist
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from inference.studies.bench.taking_turns import Block

__all__ = ["tutorial_block"]

HIDDEN, LATENT, PIXELS = 400, 50, 784


class _Images(Dataset[tuple[Tensor, int]]):
    """Images as :class:`torchvision.datasets.MNIST` gives them: one at a time, by way of Pillow."""

    def __init__(self, x: Tensor) -> None:
        self._x, self._to_tensor = (255 * x[:, 0]).to("cpu", torch.uint8), ToTensor()

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._to_tensor(Image.fromarray(self._x[index].numpy())), 0


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.Softplus())
        self.loc, self.log_scale = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(x.flatten(1))
        return self.loc(h), self.log_scale(h).exp()


class _Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Encoder()
        layers = (nn.Linear(LATENT, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid())
        self.decoder = nn.Sequential(*layers)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            loc = x.new_zeros((len(x), LATENT))
            z = pyro.sample("latent", dist.Normal(loc, torch.ones_like(loc)).to_event(1))
            pyro.sample("obs", dist.Bernoulli(self.decoder(z)).to_event(1), obs=x.flatten(1))

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Normal(*self.encoder(x)).to_event(1))


def tutorial_block(x: Tensor, batch_size: int) -> Block:
    """Return an epoch of https://pyro.ai/examples/vae.html: a loader with one worker, and ``SVI`` with ``Trace_ELBO``.

    Args:
        x: Images ``[N, 1, 28, 28]``.
        batch_size: Images in a step.
    """
    on_gpu = x.is_cuda
    loader = DataLoader(_Images(x), batch_size, shuffle=True, num_workers=1, pin_memory=on_gpu)
    autoencoder = _Autoencoder().to(x.device)
    inference = SVI(autoencoder.model, autoencoder.guide, pyro.optim.Adam({"lr": 1e-3}), loss=Trace_ELBO())

    def epoch() -> float:
        # As in the tutorial: Pyro's checks are on, and those of the distributions' arguments off.
        with pyro.validation_enabled(True), dist.validation_enabled(False):
            return sum(inference.step(images.to(x.device)) for images, _ in loader)

    return epoch

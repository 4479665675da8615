"""What the softmax cannot see: networks for the digits 0 to 7, shown what they have never seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from inference.json_and_csv import write_csv
from inference.runs.spec import RunSpec
from inference.studies.demo.fitted_rows import FittedRows
from inference.studies.demo.separation import Separation, separation_rows, separations
from inference.studies.demo.separation_table import separation_markdown, separation_table
from inference.studies.demo.study import Study, Work

if TYPE_CHECKING:
    from torch import Tensor

    from ib_pyro import Bottleneck
    from ib_pyro.data import LabelledImages

__all__ = ["KNOWN", "NETWORKS", "Fits", "Network", "Typicality", "entropy_and_rate", "fit_network", "shown"]

KNOWN = 8
"""The classes below this one are known to the networks."""
DRAWS = 16
Row = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """A network of three hidden layers of 64 units.

    Args:
        activation: Of its layers.
        prior: Of its information dropout; None for no noise.
        betas: Weights of the rate to choose from, in the paper's unit.
    """

    activation: str
    prior: str | None
    betas: tuple[float, ...] = (0.3, 1.0, 3.0)


NETWORKS: dict[str, Network] = {
    "log-normal": Network("softplus", "log-normal"),
    "log-uniform": Network("softplus", "log-uniform"),
    "log-uniform, ReLU": Network("relu", "log-uniform"),
    "no noise": Network("softplus", None, (0.0,)),
}
"""The networks by the name of their prior."""


@dataclass(frozen=True)
class Fits:
    """All fits of one network.

    Args:
        name: A key of ``NETWORKS``.
        seeds: Number of seeds.
        epochs: Length of each fit.
    """

    name: str
    seeds: int
    epochs: int


class Typicality(Study):
    """Entropy of the prediction and rate of known digits, beside those of what no network has seen.

    Args:
        out: Folder of ``typicality_fits.csv`` (a row a fit), ``typicality_scores.csv`` (a row an image and fit, at the
            chosen beta), ``typicality.csv`` (a row a score and kind of images) and ``typicality.png``.
        seeds: Number of seeds.
        epochs: Length of each fit.
    """

    name = "typicality"

    def __init__(self, out: Path, *, seeds: int, epochs: int) -> None:
        self._out = out
        self._found: list[Separation] | None = None
        self._shares = [Fits(name, seeds, epochs) for name in NETWORKS]
        settings = {"full_length": epochs, "num_seeds": seeds}
        self._fits = FittedRows(out / "typicality_fits.csv", **settings)
        self._scores = FittedRows(out / "typicality_scores.csv", **settings)

    def waiting(self) -> list[Work]:
        """A share for each network."""
        return [
            Work(self.name, fit_network, share, fits=share.seeds * len(NETWORKS[share.name].betas))
            for share in self._shares
            if not self._scores.of(network=share.name)
        ]

    def keep(self, found: tuple[list[Row], list[Row]]) -> list[str]:
        """Write a network's rows."""
        fits, scores = found
        self._fits.add(fits, order=("network", "beta_paper", "seed"))
        self._scores.add(scores, order=("network", "seed", "images", "image"))
        return [
            f"{row['network']}, beta_paper {row['beta_paper']:g}, seed {row['seed']}: "
            f"held-out error {row['held_out_error']:.1%}"
            for row in fits
        ]

    def finish(self) -> None:
        """Compare the scores, and draw."""
        from inference.studies.demo.typicality_picture import draw_typicality

        found = self.separations()
        write_csv(self._out / "typicality.csv", separation_rows(found))
        draw_typicality(self._scores.rows, found, shown("test"), self._out / "typicality.png")

    def separations(self) -> list[Separation]:
        """How well each score tells each kind of images apart."""
        if self._found is None:
            self._found = separations(self._scores.rows, _known("train").x, shown("test"))
        return self._found

    def table(self) -> RenderableType:
        """The areas, with intervals."""
        return separation_table(self.separations())

    def markdown(self) -> list[str]:
        """The same for a page, a line each."""
        return separation_markdown(self.separations())


KINDS = ("known", "8 and 9", "turned", "inverted", "shuffled")
"""Kinds of test images: known digits upright, unseen digits, and known ones by a quarter turn, in negative, and with
the pixels of each in an order of its own."""


def shown(split: str) -> dict[str, Tensor]:
    """Images by their kind; all but ``8 and 9`` are of the known classes."""
    import torch

    from ib_pyro.data import load

    images = load("digits", split)
    x = images.x[images.y < KNOWN]
    generator = torch.Generator().manual_seed(0)
    orders = torch.stack([torch.randperm(x[0].numel(), generator=generator) for _ in x])
    shuffled = x.flatten(1).gather(1, orders).view_as(x)
    kinds = (x, images.x[images.y >= KNOWN], x.rot90(1, (2, 3)), 1 - x, shuffled)
    return dict(zip(KINDS, kinds, strict=True))


def fit_network(share: Fits) -> tuple[list[Row], list[Row]]:
    """Fit a network at each beta and seed, side by side; choose beta, and score images.

    Beta is chosen by the negative log-likelihood of held-out known digits, its mean over the seeds.

    Args:
        share: The fits.

    Returns:
        A row a fit, with ``held_out_error`` (a share) and ``held_out_nll`` (nats); and, at the chosen beta, a row a
        fit and image, with the ``entropy`` of the prediction and the ``rate`` in nats. ``images`` is the image's kind;
        those ``held out`` are known digits by which scores may be standardised.
    """
    programs = _fitted(share)
    held_out = _known("validation")
    fits = [_held_out_row(share, key, program, held_out) for key, program in programs.items()]
    betas = NETWORKS[share.name].betas
    nll = {b: sum(row["held_out_nll"] for row in fits if row["beta_paper"] == b) for b in betas}
    # A fit that has diverged has no likelihood.
    chosen = min(betas, key=lambda beta: math.inf if math.isnan(nll[beta]) else nll[beta])
    scores: list[Row] = []
    for seed in range(share.seeds):
        for kind, x in {"held out": held_out.x, **shown("test")}.items():
            pair = entropy_and_rate(programs[chosen, seed], x, seed=seed)
            scores += _score_rows(share.name, seed, kind, *pair)
    return [{**row, "chosen": row["beta_paper"] == chosen} for row in fits], scores


def entropy_and_rate(
    program: Bottleneck, x: Tensor, *, seed: int, draws: int = DRAWS
) -> tuple[Tensor, Tensor]:
    """Score images: entropy of the posterior predictive, and the rate of all sites, means over draws of the noise.

    Args:
        program: A classifier in evaluation mode.
        x: Images, ``[N, C, H, W]``.
        seed: Seed of the noise.
        draws: Number of draws.

    Returns:
        Both ``[N]``, float64, in nats.
    """
    import torch

    from ib_pyro.elbo import InformationBottleneckELBO
    from ib_pyro.handlers import unwrap
    from ib_pyro.training.randomness import seeded

    elbo = InformationBottleneckELBO()
    labels = torch.zeros(len(x), dtype=torch.int64)
    total, rate = torch.zeros(()), torch.zeros(len(x), dtype=torch.float64)
    with torch.no_grad(), seeded(seed):
        for _ in range(draws):
            terms = elbo.terms(program.model, program.guide, x, labels)
            total = total + unwrap(terms.likelihood["y"]).probs.double()  # type: ignore[attr-defined]
            rate = rate + sum((site.double() for site in terms.rate.values()), torch.zeros(()))
    mean = total / draws
    return -torch.xlogy(mean, mean).sum(-1), rate / draws


def _fitted(share: Fits) -> dict[tuple[float, int], Bottleneck]:
    from ib_pyro.side_by_side import Run, train_side_by_side
    from models.mlp import MLP

    network, train = NETWORKS[share.name], _known("train")
    training = RunSpec.of(dropout="none", epochs=share.epochs, threads=1, accelerator="cpu").training
    noise: dict[str, Any] = {"dropout": "none"}
    if network.prior is not None:
        noise = {"dropout": "information", "prior": network.prior}

    def make() -> Bottleneck:
        shapes = {"image_shape": train.image_shape, "num_classes": KNOWN}
        return MLP(64, activation=network.activation, **shapes, **noise)  # type: ignore[arg-type]

    keys = [(beta, seed) for beta in network.betas for seed in range(share.seeds)]
    with training.ambience():
        found = train_side_by_side(
            make,
            (train.x, train.y),
            [Run(beta=b / len(train.x), seed=s, name=f"beta_paper {b:g}, seed {s}") for b, s in keys],
            epochs=share.epochs,
            batch_size=training.batch_size,
            lr_schedule=lambda epoch: 0.1 ** sum(epoch >= drop for drop in training.lr_milestones),
        )
    return dict(zip(keys, found.programs.values(), strict=True))  # type: ignore[arg-type]


def _held_out_row(share: Fits, key: tuple[float, int], program: Bottleneck, held_out: LabelledImages) -> Row:
    import torch

    from ib_pyro.training.randomness import seeded

    with torch.no_grad(), seeded(key[1]):
        predicted = program.predict(held_out.x, num_samples=DRAWS).double()
    likelihood = predicted.gather(1, held_out.y[:, None]).log().mean()
    return {
        "network": share.name,
        "beta_paper": key[0],
        "seed": key[1],
        "held_out_error": (predicted.argmax(-1) != held_out.y).double().mean().item(),
        "held_out_nll": -likelihood.item(),
    }


def _score_rows(network: str, seed: int, kind: str, entropy: Tensor, rate: Tensor) -> list[Row]:
    columns = {"network": network, "seed": seed, "images": kind}
    return [
        {**columns, "image": number, "entropy": pair[0], "rate": pair[1]}
        for number, pair in enumerate(zip(entropy.tolist(), rate.tolist(), strict=True))
    ]


def _known(split: str) -> LabelledImages:
    from dataclasses import replace

    from ib_pyro.data import load

    images = load("digits", split)
    return replace(images.subset(images.y < KNOWN), classes=images.classes[:KNOWN])

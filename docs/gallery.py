"""The pictures of ``gallery.md``, into ``docs/_static/gallery``; names choose.

python docs/gallery.py [NAME...] [--out FOLDER]
"""

import argparse
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

import ib_pyro
from ib_pyro import attribution
from ib_pyro.data import LabelledImages, load
from ib_pyro.data.cluttered import Clutter
from ib_pyro.diagnostics import information_plane, reliability_bins
from ib_pyro.information import label_entropy
from ib_pyro.nn import InformationDropout
from ib_pyro.plots import (
    plot_alpha_by_class,
    plot_information_map,
    plot_information_plane,
    plot_noise,
    plot_post_noise,
    plot_rate_distortion,
    plot_reliability,
    plot_samples,
    plot_training,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # 0.23 says that 1.x will differ
    import arviz as az

FOLDER = Path(__file__).parent / "_static" / "gallery"
digits, test = load("digits", "train"), load("digits", "test")
train, held_out = digits.subset(slice(900)), digits.subset(slice(900, None))


def make_program(prior: str = "log-normal") -> ib_pyro.Bottleneck:
    """A network of two noisy layers, 32 units each."""
    options: dict[str, Any] = {"batch_norm": True, "prior": prior}
    options["activation"] = "softplus" if prior == "log-normal" else "relu"
    first = InformationDropout.linear(64, 32, **options)
    second = InformationDropout.linear(32, 32, **options)
    return ib_pyro.Bottleneck(
        nn.Sequential(nn.Flatten(), first, second), nn.Linear(32, 10)
    )


@cache
def fitted() -> tuple[ib_pyro.Bottleneck, Any]:
    """A program, and the history of its fit."""
    torch.manual_seed(0)
    program = make_program()
    found = ib_pyro.fit(
        program,
        train,
        epochs=40,
        beta=3e-3,
        validation=held_out,
        patience=10,
        progress=False,
    )
    return program.eval(), found


@cache
def export() -> Any:  # noqa: ANN401 - what the installed ArviZ works with
    """Draws of the program for the test images."""
    program, _ = fitted()
    return ib_pyro.to_arviz(
        program, test.x, test.y, num_samples=200, seed=0, labels={"digit": test.y}
    )


@cache
def cluttered(count: int, seed: int) -> LabelledImages:
    """One whole digit among pieces of six others."""
    sprites = (255 * digits.x[:, 0]).round().to(torch.uint8)
    generator = torch.Generator().manual_seed(seed)
    clutter = Clutter.draw(
        count, sprites, generator, num_distractors=6, size=24, patch_size=4
    )
    y, box = digits.y[clutter.digit], clutter.box(sprites)
    return LabelledImages(clutter.paint(sprites) / 255, y, digits.classes, box=box)


@cache
def classifier() -> nn.Module:
    """A plain network of four convolutions, fitted to cluttered digits."""
    torch.manual_seed(0)
    images, layers = cluttered(4000, 0), []
    for before, after in ((1, 12), (12, 24), (24, 48), (48, 48)):
        convolution = nn.Conv2d(before, after, 3, padding=1)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    layers.insert(6, nn.MaxPool2d(2))
    head = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(48, 10)]
    network = nn.Sequential(*layers, *head)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(5):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(images.x[rows]), images.y[rows]).backward()
            optimizer.step()
    return network.eval()


def rate_distortion() -> None:
    """Thirty fits as one computation, and their curve."""
    frame = ib_pyro.sweep(
        lambda: make_program("log-uniform"),
        train,
        betas=[1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
        seeds=range(5),
        epochs=20,
        validation=held_out,
    )
    plot_rate_distortion(frame, confidence=0.95)


def training() -> None:
    """The history of a fit, and the epoch that was kept."""
    _, found = fitted()
    plot_training(found)


def plane() -> None:
    """The same history in the information plane, held out."""
    _, found = fitted()
    columns = {"distortion": "validation_distortion", "rate": "validation_rate"}
    path = information_plane(
        found.rows, label_entropy=label_entropy(held_out.y), **columns
    )
    plot_information_plane(path)


def samples() -> None:
    """The first eight images of a set."""
    plot_samples(cluttered(200, 1), 8)


def information_map() -> None:
    """What the answer needs of the first of these images, by position."""
    images, place = cluttered(200, 1), "6"
    many = cluttered(4000, 0).x[:1000].split(200)
    statistics = attribution.feature_statistics(classifier(), place, many)
    explain = attribution.PerSampleAttribution(classifier(), place, statistics)
    maps = explain(images.x[:1], images.y[:1])
    plot_information_map(maps.rate[0], images.x[0], style="beside")


def noise() -> None:
    """The noise scale of the second layer, image by image."""
    program, _ = fitted()
    alpha = program.posteriors(test.x)["z2"].alpha
    plot_noise(alpha, labels=test.y, alpha_max=0.7)


def alpha_by_class() -> None:
    """The noise scale of the second layer, class by class."""
    program, _ = fitted()
    plot_alpha_by_class(program.posteriors(test.x)["z2"].alpha, test.y)


def post_noise() -> None:
    """Draws of the first layer over its prior."""
    program, _ = fitted()
    prior = program.stochastic_layers["z1"].prior_distribution(torch.Size())
    plot_post_noise(program.latents(test.x)["z1"], prior.log_prob)


def reliability() -> None:
    """Predictions averaged over draws, in ten bins."""
    program, _ = fitted()
    bins = reliability_bins(
        program.predict(test.x, num_samples=16), test.y, num_bins=10
    )
    plot_reliability(bins)


def forest() -> None:
    """Rates of four images, over draws."""
    rates, images = export()["sample_stats"], {"obs_id": [0, 1, 2, 3]}
    names = ["z1_rate", "z2_rate"]
    az.plot_forest(rates, var_names=names, coords=images, combined=True, figsize=(6, 4))


def density() -> None:
    """The noise of three units, for the images of most nats and of fewest."""
    rate = export()["sample_stats"]["z1_rate"].mean(("chain", "draw")).values
    pair = {"most nats": rate.argmax(), "fewest nats": rate.argmin()}
    log_eps = export()["posterior"][["z1_log_eps"]].isel(z1_unit=[0, 1, 2])
    drawn = [log_eps.isel(obs_id=row, drop=True) for row in pair.values()]
    az.plot_density(
        drawn, data_labels=list(pair), shade=0.2, figsize=(9, 3), textsize=9
    )


def ppc() -> None:
    """Counts of the labels, observed and drawn."""
    az.plot_ppc(export(), num_pp_samples=50, random_seed=0, figsize=(6, 4), textsize=10)


def compare() -> None:
    """Three betas by what they say of new images."""
    scores = {}
    for beta in (1e-3, 1e-2, 1e-1):
        torch.manual_seed(0)
        program = make_program("log-uniform")
        ib_pyro.fit(program, train, epochs=20, beta=beta, progress=False)
        drawn = ib_pyro.to_arviz(
            program.eval(), test.x, test.y, num_samples=200, seed=0, sites=["z2"]
        )
        scores[f"β = {beta:g}"] = ib_pyro.elpd(drawn)
    az.plot_compare(az.compare(scores), plot_ic_diff=True, figsize=(6, 3), textsize=9)


PICTURES: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        rate_distortion,
        training,
        plane,
        samples,
        information_map,
        noise,
        alpha_by_class,
        post_noise,
        reliability,
        forest,
        density,
        ppc,
        compare,
    )
}


def drawn_figure(name: str) -> Figure:
    """The figure of a name."""
    torch.manual_seed(0)
    plt.close("all")
    PICTURES[name]()
    return plt.gcf()


def main() -> None:
    """Draw the pictures of the names given, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="folder of the pictures"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or PICTURES:
        path = options.out / f"{name}.png"
        # Without Matplotlib's version, which would make every file another.
        looks = {"dpi": 80, "bbox_inches": "tight", "metadata": {"Software": None}}
        drawn_figure(name).savefig(path, **looks)
        print(path)


if __name__ == "__main__":
    main()

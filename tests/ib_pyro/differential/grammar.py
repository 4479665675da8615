r"""Random linear-Gaussian models and guides: what they are, and their exact ELBO by NumPy.

A program is a set of sites, each with a law ``N(b + sum_j W_j z_j, s²)`` given other sites, once for the model and
once for the guide, each side with an order and parents of its own. Under the guide all latents are affine in standard
normal noise, ``z = mu + A eps``, so that every term of

.. math:: L = -E_q\Big[\sum_i w_i \log p(z_i \mid \cdot) - \sum_i w_i \log q(z_i \mid \cdot)\Big]

has a closed form, with a weight w of each element: the product of scales, masks, and the plate's factor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

__all__ = ["Conditional", "Site", "Spec", "exact_loss", "shifted", "specs"]

LOG_2PI = float(np.log(2 * np.pi))
WIDTHS = {"scalar": 1, "event": 2, "plate": 3}
WRAPS = {
    "scalar": ("plain", "masked by True"),
    "event": ("plain", "masked by True", "full covariance", "expanded", "in two steps"),
    "plate": ("plain", "masked by True", "expanded"),
}
ALIKE = {"expanded": "plain", "in two steps": "plain"}
"""Wrappers that change nothing of the class that a KL divergence is looked up by."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Site:
    """What a site is on both sides."""

    name: str
    shape: str
    scale: float | None = None
    mask: tuple[bool, ...] | bool | None = None
    fault: str | None = None

    @property
    def width(self) -> int:
        """Number of its elements."""
        return WIDTHS[self.shape]


@dataclass(frozen=True)
class Conditional:
    """A site's law on one side: its parents, its wrapper, and whether a ``Delta`` over noise stands for it."""

    parents: tuple[str, ...]
    wrap: str = "plain"
    point: bool = False


@dataclass(frozen=True)
class Spec:
    """A model and a guide.

    Attributes:
        sites: All sites by name.
        model: The model's laws in the model's order, the observed ones last.
        guide: The guide's laws in the guide's order; one that the model lacks is auxiliary.
        plate_factor: What the plate of three multiplies by, because it is a subsample.
        arrays: ``b``, ``W`` and ``log_s`` of each law, and the data.
        beta: Weight of the rates.
    """

    sites: Mapping[str, Site]
    model: Mapping[str, Conditional]
    guide: Mapping[str, Conditional]
    plate_factor: float
    beta: float
    arrays: Arrays = field(repr=False)

    @property
    def observed(self) -> set[str]:
        """The sites with data."""
        return self.model.keys() - self.guide.keys()

    def against_the_order(self) -> set[str]:
        """Sites whose law in the model depends on latents that the guide samples later."""
        place = {name: i for i, name in enumerate(self.guide)}
        return {
            name
            for name, law in self.model.items()
            if name in place
            and not self.guide[name].point
            and any(place[parent] > place[name] for parent in law.parents)
        }

    def wrapped_otherwise(self) -> set[str]:
        """Sites for whose two laws no KL divergence may be registered."""
        return {
            name
            for name, law in self.model.items()
            if name in self.guide
            and not self.guide[name].point
            and ALIKE.get(law.wrap, law.wrap) != ALIKE.get(self.guide[name].wrap, self.guide[name].wrap)
        }

    def faulty(self) -> set[str]:
        """Latent sites that are scaled or masked on one side alone."""
        return {name for name, site in self.sites.items() if site.fault is not None}


def shifted(spec: Spec, direction: Arrays, step: float) -> Spec:
    """Return the program with its parameters moved along a direction."""
    moved = {name: value + step * direction.get(name, 0.0) for name, value in spec.arrays.items()}
    return replace(spec, arrays=moved)


def exact_loss(spec: Spec) -> float:
    """The expected loss in nats: distortion plus beta times the rates."""
    mean, maps = _under_the_guide(spec)
    noise = next(iter(maps.values())).shape[1] if maps else 0
    loss = 0.0
    for name, law in spec.model.items():
        observed = name in spec.observed
        residual = spec.arrays[f"y {name}"] if observed else mean[name]
        linear = np.zeros((len(residual), noise)) if observed else maps[name].copy()
        residual = residual - spec.arrays[f"model b {name}"]
        for parent in law.parents:
            weights = spec.arrays[f"model W {name} {parent}"]
            residual = residual - weights @ mean[parent]
            linear -= weights @ maps[parent]
        log_s = spec.arrays[f"model log_s {name}"]
        second = residual**2 + (linear**2).sum(1)
        log_p = -0.5 * LOG_2PI - log_s - 0.5 * second * np.exp(-2 * log_s)
        loss -= (1.0 if observed else spec.beta) * float(_weights(spec, name) @ log_p)
    for name in spec.guide:
        entropy = 0.5 * (LOG_2PI + 1) + spec.arrays[f"guide log_s {name}"]
        loss -= spec.beta * float(_weights(spec, name) @ entropy)
    return loss


def _under_the_guide(spec: Spec) -> tuple[Arrays, Arrays]:
    """Mean of each latent, and its map from the noise of all of them."""
    total = sum(spec.sites[name].width for name in spec.guide)
    mean, maps, start = {}, {}, 0
    for name, law in spec.guide.items():
        width = spec.sites[name].width
        mean[name] = spec.arrays[f"guide b {name}"].copy()
        maps[name] = np.zeros((width, total))
        maps[name][:, start : start + width] = factor(spec, name)
        start += width
        for parent in law.parents:
            weights = spec.arrays[f"guide W {name} {parent}"]
            mean[name] += weights @ mean[parent]
            maps[name] += weights @ maps[parent]
    return mean, maps


def factor(spec: Spec, name: str) -> np.ndarray:
    """The lower-triangular factor of a latent's covariance in the guide, given its parents."""
    diagonal = np.diag(np.exp(spec.arrays[f"guide log_s {name}"]))
    return diagonal + (spec.arrays[f"guide L {name}"] if spec.guide[name].wrap == "full covariance" else 0.0)


def _weights(spec: Spec, name: str) -> np.ndarray:
    site = spec.sites[name]
    keep = np.broadcast_to(True if site.mask is None else np.asarray(site.mask), site.width)
    plate = spec.plate_factor if site.shape == "plate" else 1.0
    return keep * (site.scale or 1.0) * plate


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Draw a program of two to five latents and one or two observed sites."""
    latents = [f"z{i}" for i in range(draw(st.integers(2, 5)))]
    observed = [f"y{i}" for i in range(draw(st.integers(1, 2)))]
    auxiliary = ["u"] if draw(st.booleans()) else []
    sites = {name: _site(draw, name, latent=name in latents) for name in [*latents, *observed]}
    sites |= {name: Site(name, "scalar") for name in auxiliary}
    model = _side(draw, sites, draw(st.permutations(latents)), dense=0.5)
    for name in observed:
        model[name] = Conditional(_subset(draw, latents, 0.7))
    order = [*auxiliary, *draw(st.permutations(latents))]
    guide = _side(draw, sites, order, dense=0.4, points=True)
    spec = Spec(
        sites, model, guide, draw(st.sampled_from([1.0, 2.0])), draw(st.sampled_from([1.0, 1.0, 0.3])), {}
    )
    return replace(spec, arrays=_numbers(spec, np.random.default_rng(draw(st.integers(0, 2**31)))))


def _site(draw: st.DrawFn, name: str, *, latent: bool) -> Site:
    shape = draw(st.sampled_from(sorted(WIDTHS)))
    scale = draw(st.sampled_from([None, None, 0.3, 2.0]))
    mask: tuple[bool, ...] | bool | None = draw(st.sampled_from([None, None, None, True, False]))
    if mask is not None and shape == "plate":
        mask = tuple(draw(st.lists(st.booleans(), min_size=3, max_size=3)))
    fault = draw(st.sampled_from([None] * 19 + ["scale", "mask"])) if latent else None
    if mask is False and fault == "mask":
        # What is masked on both sides already is no fault when it is masked once more.
        fault = "scale"
    return Site(name, shape, scale, mask, fault)


def _side(
    draw: st.DrawFn, sites: Mapping[str, Site], order: list[str], *, dense: float, points: bool = False
) -> dict[str, Conditional]:
    laws = {}
    for i, name in enumerate(order):
        wrap = "plain"
        if name != "u" and draw(st.integers(0, 3)) == 0:
            wrap = draw(st.sampled_from(WRAPS[sites[name].shape]))
        point = points and name != "u" and wrap != "full covariance" and draw(st.integers(0, 4)) == 0
        laws[name] = Conditional(_subset(draw, order[:i], dense), wrap, point)
    return laws


def _subset(draw: st.DrawFn, names: list[str], dense: float) -> tuple[str, ...]:
    return tuple(name for name in names if draw(st.floats(0, 1)) < dense)


def _numbers(spec: Spec, random: np.random.Generator) -> Arrays:
    arrays: Arrays = {}
    for side, laws in (("model", spec.model), ("guide", spec.guide)):
        for name, law in laws.items():
            width = spec.sites[name].width
            arrays[f"{side} b {name}"] = random.normal(size=width)
            arrays[f"{side} log_s {name}"] = random.normal(scale=0.3, size=width)
            for parent in law.parents:
                weights = random.normal(scale=0.7, size=(width, spec.sites[parent].width))
                if spec.sites[name].shape == spec.sites[parent].shape == "plate":
                    weights = np.diag(np.diag(weights))
                arrays[f"{side} W {name} {parent}"] = weights
            if side == "guide" and law.wrap == "full covariance":
                arrays[f"guide L {name}"] = np.tril(random.normal(scale=0.5, size=(width, width)), -1)
    return arrays | {f"y {name}": random.normal(size=spec.sites[name].width) for name in spec.observed}

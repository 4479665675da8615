"""What is passed to fits, evaluations, sweeps and exports: sets, names and numbers that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ib_pyro
from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import InformationDropout
from inference.studies.attack.mistakes.mistake import NUMBERS, Draw, Wrong, mistake
from inference.studies.attack.mistakes.wrong_networks import CLASSES, INPUTS, classifier

__all__: list[str] = []

NAN = float("nan")
SIZE = 24
FIT: dict[str, tuple[Any, ...]] = {
    "epochs": (0, -1, 1.5, "3"),
    "batch_size": (0, -5, 2.5),
    "beta": (*NUMBERS, "0.1", {"z9": 0.1}, {"z1": -1.0}),
    "lr": (-0.1, NAN, "fast"),
    "optimizer": ("adamm", "rmsprop", 3),
    "warm_up": (-1.0, NAN),
    "patience": (0, -1, 3),
    "monitor": ("los", "accuracy"),
    "capture": ("yes", None),
    "checkpoint_every": (0, -2),
    "resume": (True,),
    "schedules": ({"betta": lambda _: 0.1}, {"beta": 0.1}, {"lr": lambda _: 0.1}),
    "stamps": ({},),
}
"""Options of a fit, and what none of them takes."""
EVALUATE: dict[str, tuple[Any, ...]] = {
    "num_samples": (0, -3),
    "confidence": (0.0, 1.0, 1.5, NAN),
    "batch_size": (0, -1),
}
SWEEP: dict[str, tuple[Any, ...]] = {
    "betas": ((), (-0.1,), (NAN,), (0.1, 0.1), ("a",), ({"z9": 0.1},)),
    "seeds": ((), (0, 0), (-1,), (0.5,)),
    "epochs": (0, -1),
    "batch_size": (0, -2),
    "vectorize": ("yes",),
    "optimizer": ("adamm",),
    "lr": (-1.0, NAN),
}
EXPORT: dict[str, tuple[Any, ...]] = {
    "num_samples": (0, -1),
    "sites": (["z9"], ["y", "z1"], ["z1", "z1"]),
    "groups": (["posteriors"], []),
    "batch_size": (0, -1),
    "num_data": (0, -1, 2.5),
    "coords": ({"z1_unit": [0]}, {"nowhere": [0]}),
    "labels": ({"digit": [0]},),
    "constant_data": ({"age": torch.zeros(3)},),
    "dims": ({"z9": ["a"]},),
    "plate": ("dta",),
    "data_dim": ("",),
}


def the_set() -> tuple[Tensor, Tensor]:
    """A right set for a classifier."""
    x = torch.randn(SIZE, INPUTS)
    return x, torch.arange(SIZE) % CLASSES


def fitted(draw: Draw, data: Any, names: tuple[str, ...], **options: Any) -> Wrong:  # noqa: ANN401
    """A fit that is refused before it begins."""
    program = classifier(draw)
    options = {"epochs": 1, "batch_size": 6, "progress": False, **options}

    def answer() -> Tensor:
        return torch.tensor(ib_pyro.fit(program, data, **options).rows[-1]["loss"])

    return Wrong(answer, names)


@mistake
def an_option_of_a_fit(draw: Draw) -> Wrong:
    """Out of its range, of another type, or misspelt."""
    name = draw.choice(*FIT)
    return fitted(draw, the_set(), (name,), **{name: draw.choice(*FIT[name])})


@mistake
def options_of_a_fit_that_exclude_each_other(draw: Draw) -> Wrong:
    """Two that say the same otherwise, or one that waits for what the other takes away."""
    elbo = InformationBottleneckELBO(0.1)
    pairs: tuple[dict[str, Any], ...] = (
        {"beta": 0.1, "elbo": elbo},
        {"warm_up": 0.5, "schedules": {"beta": lambda epoch: 0.1 * epoch}},
        {"optimizer": lambda p: torch.optim.Adam(p), "lr": 0.1},
        {"patience": 2, "validation": the_set(), "elbo": InformationBottleneckELBO(0.1, gamma=0.1)},
        {"optimizer": torch.optim.Adam(nn.Linear(2, 2).parameters())},
        {"monitor": "error", "patience": 2},
    )
    options = draw.choice(*pairs)
    return fitted(draw, the_set(), tuple(options), **options)


@mistake
def a_set_with_a_fault_in_a_later_batch(draw: Draw) -> Wrong:
    """Somewhere in it x is not finite, or y is no class."""
    x, y = the_set()
    row = draw.random.randrange(1, SIZE)
    if draw.choice(True, False):
        x[row, draw.random.randrange(INPUTS)] = NAN
        return fitted(draw, (x, y), ("x",))
    y[row] = draw.choice(-1, CLASSES, -100)
    return fitted(draw, (x, y), ("y",))


@mistake
def a_set_of_another_form(draw: Draw) -> Wrong:
    """Parts of different length, nothing, words, what gives its batches once, targets of another shape."""
    x, y = the_set()
    wrong = draw.choice(
        (x, y[:-1]),
        (x[:0], y[:0]),
        "data",
        3,
        None,
        iter([(x, y)]),
        {"x": x, "z": y},
        (x.tolist(), y.tolist()),
    )
    shapes = draw.choice(
        (x, y[:, None]), (x, y.float()), (x, torch.nn.functional.one_hot(y)), (x[:, :2], y, y)
    )
    return fitted(draw, draw.choice(wrong, shapes), ("x", "y", "data", "size", "samples", "argument"))


@mistake
def held_out_data_that_do_not_fit(draw: Draw) -> Wrong:
    """Held-out data with a fault, or of other classes."""
    x, y = the_set()
    lost = x.clone()
    lost[3, 1] = NAN
    other = y + CLASSES
    form = draw.choice((lost, y), (x, other), (x, y[:-1]), (x[:0], y[:0]), "validation")
    return fitted(draw, the_set(), ("validation", "x", "y"), validation=form, patience=2)


@mistake
def an_option_of_an_evaluation(draw: Draw) -> Wrong:
    """Out of its range, or a set with a fault."""
    program, (x, y) = classifier(draw), the_set()
    name = draw.choice(*EVALUATE, "data")
    options = {} if name == "data" else {name: draw.choice(*EVALUATE[name])}
    if name == "data":
        x[draw.random.randrange(SIZE), 0] = NAN

    def answer() -> Tensor:
        found: Any = ib_pyro.evaluate(program, (x, y), train=(x, y), **options)
        return torch.tensor(float(found.distortion))

    return Wrong(answer, ("x", "y", "z1") if name == "data" else (name,))


@mistake
def an_option_of_a_sweep(draw: Draw) -> Wrong:
    """Out of its range, a run that is named twice, nothing to run."""
    name = draw.choice(*SWEEP)
    options = {"betas": (0.1,), "epochs": 1, "batch_size": 6, name: draw.choice(*SWEEP[name])}

    def answer() -> Tensor:
        frame: Any = ib_pyro.sweep(lambda: plain(draw), the_set(), **options)
        return torch.tensor(frame["distortion"].to_numpy(dtype=np.float64))

    return Wrong(answer, (name, {"betas": "beta", "seeds": "seed"}.get(name, name), "z9"))


def plain(draw: Draw) -> Bottleneck:
    """The same program each time."""
    return Bottleneck(InformationDropout.linear(INPUTS, draw.dims), nn.Linear(draw.dims, CLASSES))


@mistake
def an_option_of_an_export(draw: Draw) -> Wrong:
    """Out of its range, or names that the program does not have."""
    program, (x, y) = classifier(draw).eval(), the_set()
    name = draw.choice(*EXPORT)
    options = {"num_samples": 2, name: draw.choice(*EXPORT[name])}

    def answer() -> Tensor:
        tree: Any = ib_pyro.to_arviz(program, x, y, **options)
        return torch.as_tensor(np.asarray(tree["posterior"]["z1"]).copy())

    return Wrong(answer, (name, "age"))


@mistake
def an_export_of_other_data(draw: Draw) -> Wrong:
    """Targets that are too few or no classes, inputs that are not finite or no tensors."""
    program, (x, y) = classifier(draw).eval(), the_set()
    lost = x.clone()
    lost[5, 2] = NAN
    form = draw.choice(
        (x, y[:-1]), (x, y + CLASSES), (lost, y), (x[:0], y[:0]), (x.tolist(), y), (x, y[:, None])
    )

    def answer() -> Tensor:
        tree: Any = ib_pyro.to_arviz(program, *form, num_samples=2)
        return torch.as_tensor(np.asarray(tree["sample_stats"]["distortion"]).copy())

    return Wrong(answer, ("x", "y", "z1"))

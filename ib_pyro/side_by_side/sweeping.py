"""A whole rate-distortion curve in one call: a run for each beta and seed, and a tidy table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from itertools import product
from typing import TYPE_CHECKING, Any

from torch import nn

from ib_pyro.checks import require_gradients
from ib_pyro.choices import nearest, require_known
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.one_by_one import train_one_by_one
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.runs import Run, SideBySide
from ib_pyro.side_by_side.train import train_side_by_side

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["sweep"]

# What only goes with runs side by side, and changes none of their numbers.
TOGETHER = {"replay", "compile", "checkpoint", "checkpoint_seconds", "on_epoch"}


def sweep(
    make_program: Callable[..., nn.Module],
    data: object,
    *,
    betas: Iterable[float | Mapping[str, float]],
    seeds: Iterable[int] = (0,),
    epochs: int,
    batch_size: int = 100,
    validation: object | None = None,
    test: object | None = None,
    num_samples: int = 16,
    vectorize: bool | str = "auto",
    **training: Any,  # noqa: ANN401  (of train_side_by_side)
) -> pd.DataFrame:
    """Fit a program at every beta under every seed, and return what came of each run.

    Where the programs allow it all runs are one computation over stacked tensors, which costs less than they do one by
    one; each has the numbers of its own single run, to rounding. The ambient random generators stay where they are.

    Args:
        make_program: Builds a program: a module with ``model(x, y)`` and ``guide(x, y)``.
        data: The training set: anything with tensors ``x`` and ``y``, or the pair of them.
        betas: Weights of the rate, per sample in nats; each a number, or one for each site.
        seeds: Seeds of weights, noise and the order of the samples.
        epochs: Passes over the set.
        batch_size: Samples in a step.
        validation: Held-out set that the columns ``distortion``, ``rate`` and ``error`` are about; without one they
            are means over the last epoch, of moving parameters on the training set.
        test: Another, for columns ``test_...``: beta is chosen on the one, and reported on the other.
        num_samples: Draws of the posterior predictive, for ``error_predictive``.
        vectorize: ``"auto"``: all runs at once where that is possible, or else one by one; True: all at once or a
            refusal; False: one by one.
        **training: What else :func:`ib_pyro.side_by_side.train_side_by_side` takes, such as ``optimizer`` and ``lr``.
            An ``elbo`` keeps its gamma in all runs; its beta is theirs.

    Returns:
        A row for each run, betas outermost: ``beta`` (or ``beta/<site>``), ``seed``, ``diverged``, ``distortion``,
        ``rate`` and ``rate/<site>`` in nats per sample, ``error`` and ``error_predictive`` as shares where y are
        classes, and ``vectorized``. Numbers of runs that have diverged are NaN. ``frame.attrs["one_by_one"]`` says why
        runs were not trained at once; None if they were. ``frame.attrs["held_out"]`` says whether there was a
        validation set, which :func:`ib_pyro.choose_beta` asks for. :func:`ib_pyro.plots.plot_rate_distortion` draws
        the table, and
        :func:`ib_pyro.side_by_side.curve` averages it over seeds.

    Raises:
        TypeError: If ``make_program`` makes no programs, a grid is a single value, or an argument is unknown.
        ValueError: If a grid is empty or names a run twice, an argument or the data are wrong, or the programs of two
            runs share what they learn.
        VectorizationError: If ``vectorize`` is True, and the programs cannot be run for several at once; says why.

    >>> import torch
    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> def make_program():
    ...     return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> data = torch.rand(20, 4), torch.arange(20) % 2
    >>> frame = sweep(
    ...     make_program, data, betas=(0.01, 0.1), seeds=(0, 1), epochs=2, batch_size=10
    ... )
    >>> frame[["beta", "seed"]].values.tolist()
    [[0.01, 0.0], [0.01, 1.0], [0.1, 0.0], [0.1, 1.0]]
    """
    require_gradients("sweep")
    if not isinstance(vectorize, bool):
        require_known("vectorize=", vectorize, ("auto",), otherwise="pass True or False")
    _require_options(training)
    for name, values, example in (("betas", betas, 0.1), ("seeds", seeds, 0)):
        _require_several(name, values, example)
    elbo = training.get("elbo")
    if not isinstance(elbo, InformationBottleneckELBO | None):
        raise TypeError(
            f"elbo: expected an InformationBottleneckELBO, what the runs have in common; got {elbo!r}"
        )
    gamma: Any = 0.0 if elbo is None else elbo.gamma  # a run checks it
    runs = [Run(beta=beta, gamma=gamma, seed=seed) for beta, seed in product(betas, seeds)]
    if not runs:
        raise ValueError("betas or seeds is empty; pass at least one of each")
    how = {"epochs": epochs, "batch_size": batch_size, "validation": validation, "test": test}
    how |= {"num_samples": num_samples, **training}
    found, why = _trained(make_program, data, runs, vectorize, how)
    frame = found.table.assign(vectorized=why is None)
    unknown = [
        name for name in frame.columns if name not in _settings(runs) and frame[name].dtype.kind == "f"
    ]
    frame.loc[frame["diverged"], unknown] = float("nan")
    frame.attrs["one_by_one"] = why
    # Whether columns without a prefix are of rows that no run was fitted to: beta is chosen by such alone.
    frame.attrs["held_out"] = validation is not None
    return frame


def _trained(
    make_program: Callable[..., nn.Module],
    data: object,
    runs: list[Run],
    vectorize: bool | str,
    how: dict[str, Any],
) -> tuple[SideBySide, str | None]:
    """Train the runs; return what came of them, and why they were not trained at once."""
    why = "vectorize=False"
    if vectorize:
        try:
            return train_side_by_side(make_program, data, runs, **how), None
        except VectorizationError as error:
            if vectorize is True:
                raise
            why = str(error)
    asked = {"order": how.get("order", "own") != "own"}
    asked |= {name: how.get(name) is not None for name in ("checkpoint", "on_epoch")}
    for name, is_asked in asked.items():
        if is_asked:
            raise ValueError(
                f"{name}={how[name]!r} is for runs at once, and these are trained one by one ({why}); leave {name} out"
            )
    alone = {name: value for name, value in how.items() if name not in TOGETHER and name != "order"}
    return train_one_by_one(make_program, data, runs, **alone), why


def _require_options(training: Mapping[str, Any]) -> None:
    known = [
        name
        for name in signature(train_side_by_side).parameters
        if name not in ("make_program", "data", "runs")
    ]
    for name in training:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise TypeError(f"sweep() got an unexpected keyword argument {name!r}{hint}")


def _require_several(name: str, values: object, example: float) -> None:
    if (
        isinstance(values, Mapping | str)
        or not isinstance(values, Iterable)
        or getattr(values, "ndim", 1) != 1
    ):
        raise TypeError(f"{name}: expected several, as in [{example}]; got {values!r}")


def _settings(runs: list[Run]) -> set[str]:
    return {name for run in runs for name in run.settings}

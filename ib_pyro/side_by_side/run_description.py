"""What runs side by side are made of: what goes on from their checkpoint must be made of the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch.optim import Optimizer

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.runs import Run
from ib_pyro.training.fit_description import Description, describe_fit, told
from ib_pyro.training.objective_description import describe_objective

__all__ = ["describe_optimizers", "describe_runs"]


def describe_runs(runs: Sequence[Run], elbos: Sequence[InformationBottleneckELBO]) -> Description:
    """Describe the settings of runs, of which a name of their own says nothing, and their objectives.

    Args:
        runs: The runs.
        elbos: The objective of each, before a schedule sets its weights.
    """
    found: Description = {}
    for run, elbo in zip(runs, elbos, strict=True):
        title = f"the run {run.name}"
        settings = {name: told(value) for name, value in run.settings.items()}
        found[title] = {"class": "Run", "options": settings}
        found |= {f"{title}: {name}": part for name, part in describe_objective(elbo).items()}
    return found


def describe_optimizers(optimizers: Iterable[Optimizer]) -> Description:
    """Describe optimisers, one after the other, before a schedule sets their rates."""
    return {
        name if number == 0 else f"{name} (number {number})": part
        for number, optimizer in enumerate(optimizers)
        for name, part in describe_fit({}, optimizer, None).items()
    }

"""The weights of several objectives, gathered into tensors with a value for each run."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from ib_pyro.elbo import ImportanceWeightedELBO, InformationBottleneckELBO
from ib_pyro.side_by_side.refusal import VectorizationError

__all__ = ["Objectives", "what_learns"]

SETTINGS = ("num_particles", "vectorize_particles", "max_plate_nesting", "on_no_closed_form", "sampled_rates")


class Objectives:
    """Objectives of several runs that differ in their weights: beta, gamma, and the targets of a penalty.

    Weights may be set between steps, on the objectives themselves; :meth:`refresh` looks at them again.

    Args:
        elbos: The objective of each run.
        names: What each run is called.
        like: A tensor of the type and on the device that the runs compute in.

    Attributes:
        numbers: The weights that differ, or have been set, ``[runs]`` each.
        kind: What leads to another recording if it changes.
        zeros: Which weights of each run are exactly 0: what a run alone leaves out, and takes no step for.

    Raises:
        VectorizationError: If they differ in something else, or something is trained that is not the program's.
    """

    def __init__(
        self, elbos: Sequence[InformationBottleneckELBO], names: Sequence[str], like: Tensor
    ) -> None:
        self._elbos, self._like = tuple(elbos), like
        first = self._elbos[0]
        for elbo, name in zip(self._elbos[1:], names[1:], strict=True):
            _require_alike(first, elbo, names[0], name)
        _require_untrained(first)
        for elbo in self._elbos:
            _require_one_gradient(elbo)
        _require_known_nesting(first)
        columns = self._look()
        # A weight that is the same number in all runs stays a number as long as it is: exactly 0 leaves a site out.
        self._moves = [len(set(column)) > 1 for column in columns]
        self._take(columns)

    def refresh(self) -> None:
        """Look at the weights again, after some were set."""
        columns = self._look()
        if columns != self._columns:
            # A weight that was set once, as by a schedule, is taken to be set again.
            self._moves = [
                moves or len(set(now)) > 1 or now != old
                for moves, now, old in zip(self._moves, columns, self._columns, strict=True)
            ]
            self._take(columns)

    def state_dict(self) -> dict[str, Any]:
        """Return which weights have been tensors so far, and their values at the last step."""
        return {"moves": list(self._moves), "columns": self._columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, with the same arithmetic."""
        self._moves = list(state["moves"])
        self._take([tuple(column) for column in state["columns"]])

    def with_numbers(self, numbers: Sequence[Tensor]) -> InformationBottleneckELBO:
        """Return an objective like them with one run's values as its weights.

        Args:
            numbers: One run's part of :attr:`numbers`.
        """
        leaves, spec = self._split(self._elbos[0])
        remaining = iter(numbers)
        leaves = [next(remaining) if moves else leaf for leaf, moves in zip(leaves, self._moves, strict=True)]
        beta, gamma, target = tree_unflatten(leaves, spec)
        elbo = copy(self._elbos[0])
        elbo.beta, elbo.gamma = beta, gamma
        if elbo.penalty is not None:
            elbo.penalty = copy(elbo.penalty)
            elbo.penalty.target = target  # type: ignore[attr-defined]
        return elbo

    def _take(self, columns: list[tuple[float, ...]]) -> None:
        self._columns = columns
        moving = [column for column, moves in zip(columns, self._moves, strict=True) if moves]
        fixed = tuple(column[0] for column, moves in zip(columns, self._moves, strict=True) if not moves)
        self.numbers = [torch.tensor(c, dtype=self._like.dtype, device=self._like.device) for c in moving]
        self.kind = (tuple(self._moves), fixed)
        self.zeros = [tuple(value == 0 for value in row) for row in zip(*columns, strict=True)]

    def _look(self) -> list[tuple[float, ...]]:
        rows = [self._split(elbo)[0] for elbo in self._elbos]
        return [tuple(column) for column in zip(*rows, strict=True)]

    @staticmethod
    def _split(elbo: InformationBottleneckELBO) -> tuple[list[Any], TreeSpec]:
        target = getattr(elbo.penalty, "target", None)
        leaves, spec = tree_flatten((elbo.beta, elbo.gamma, 0.0 if target is None else target))
        return [float(leaf) for leaf in leaves], spec


def _require_alike(
    first: InformationBottleneckELBO, other: InformationBottleneckELBO, first_name: str, other_name: str
) -> None:
    differing = [name for name in SETTINGS if getattr(first, name) != getattr(other, name)]
    if type(first) is not type(other):
        differing.append("type")
    if type(first.penalty) is not type(other.penalty):
        differing.append("penalty")
    elif getattr(first.penalty, "per", None) != getattr(other.penalty, "per", None):
        differing.append("what has the nats of a penalty for free")
    if not _is_same(first.total_correlation, other.total_correlation):
        differing.append("total_correlation")
    if _shape(first) != _shape(other):
        differing.append("the sites that beta, gamma or a target name")
    if differing:
        raise VectorizationError(
            f"the objectives of {first_name} and {other_name} differ in {', '.join(differing)}; side by side only the "
            "values of beta, gamma and a penalty's target may differ: train them one by one"
        )


def _require_known_nesting(elbo: InformationBottleneckELBO) -> None:
    if elbo.vectorize_particles and elbo.num_particles > 1 and elbo.max_plate_nesting == math.inf:
        raise VectorizationError(
            f"vectorize_particles=True with {elbo.num_particles} particles finds out how plates are nested by an "
            "extra call of the program, which side by side would be another one; pass max_plate_nesting="
        )


def _is_same(one: object, other: object) -> bool:
    if one is other:
        return True
    return (
        type(one) is type(other) and hasattr(one, "__dict__") and bool(vars(one)) and vars(one) == vars(other)
    )


def _require_one_gradient(elbo: InformationBottleneckELBO) -> None:
    if isinstance(elbo, ImportanceWeightedELBO) and elbo.gradient == "dreg":
        raise VectorizationError(
            'gradient="dreg" differentiates within the loss, which runs side by side do not take; use '
            'gradient="iwae", or train the runs one by one'
        )


def what_learns(elbo: InformationBottleneckELBO) -> str:
    """Return why several runs cannot have an objective in common, where a part of it learns; "" where none does."""
    for part in (elbo.total_correlation, *vars(elbo.total_correlation).values(), elbo.penalty):
        if isinstance(part, nn.Module) and any(p.requires_grad for p in part.parameters()):
            return (
                f"total_correlation: {type(elbo.total_correlation).__name__} has a {type(part).__name__} that is "
                "trained alongside by steps of its own, and each run would need one of its own; use "
                "total_correlation='gaussian' or 'minibatch-stratified', or fit each run alone, by ib_pyro.fit"
            )
    return ""


def _require_untrained(elbo: InformationBottleneckELBO) -> None:
    if learns := what_learns(elbo):
        raise VectorizationError(learns)
    leaves = tree_flatten((elbo.beta, elbo.gamma))[0]
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.numel() > 1:
            raise VectorizationError(
                f"beta has shape {tuple(leaf.shape)}, a weight for each sample; side by side it is one number for "
                "each run and site"
            )


def _shape(elbo: InformationBottleneckELBO) -> str:
    return str(tree_flatten((elbo.beta, elbo.gamma, getattr(elbo.penalty, "target", None)))[1])

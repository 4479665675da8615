"""Whether wrong labels of the training images are learnt: each kind of dropout over its strengths."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from inference.json_and_csv import write_csv
from inference.runs.spec import RunSpec
from inference.studies.demo.fitted_rows import FittedRows
from inference.studies.demo.grid import Setting
from inference.studies.demo.study import Study, Work
from inference.studies.demo.wrong_labels_table import (
    Outcome,
    outcome_markdown,
    outcome_rows,
    outcome_table,
    outcomes,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ib_pyro import Bottleneck
    from ib_pyro.data import LabelledImages
    from inference.runs.splits import Splits

__all__ = ["METHODS", "SHARE", "Group", "WrongLabels", "errors_of", "fit_group", "stops"]

SHARE = 0.4
"""Share of the training images, and of the held-out ones, that have a wrong label; any other class, at random."""
METHODS: dict[str, tuple[str, tuple[float, ...]]] = {
    "information": ("beta_paper", (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)),
    "binary": ("drop_prob", (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)),
    "constant": ("alpha", (0.2, 0.4, 0.7, 1.0, 1.2, 1.4)),
}
"""What sets the strength of each noise, and as many values of it for each."""
_STOPS = (1 / 30, 1 / 15, 2 / 15, 4 / 15, 0.5, 1.0)
_ORDER = ("method", "seed", "strength")
Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Fits of one method under one seed: of the network, the noise and the labels that are wrong.

    Args:
        method: A key of ``METHODS``, or ``none``.
        seed: The seed.
        epochs: Length of a fit.
    """

    method: str
    seed: int
    epochs: int

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The strengths; of no noise, the epochs after which it could have been stopped."""
        if self.method == "none":
            return tuple(Setting("early stopping", "epochs", stop) for stop in stops(self.epochs))
        option, values = METHODS[self.method]
        return tuple(Setting(self.method, option, value) for value in values)

    def spec(self) -> RunSpec:
        """The run that it varies."""
        labels = {"wrong_labels": SHARE, "data_seed": self.seed}
        return RunSpec.of(
            dropout="none", epochs=self.epochs, seed=self.seed, threads=1, accelerator="cpu", **labels
        )


class WrongLabels(Study):
    """Errors of each method over its strengths, the strength chosen on held-out images with labels as wrong.

    Args:
        out: Folder of ``wrong_labels_fits.csv`` (a row a fit), ``wrong_labels.csv`` (a row a strength) and
            ``wrong_labels.png``.
        seeds: Number of seeds.
        epochs: Length of each fit.
    """

    name = "wrong labels"

    def __init__(self, out: Path, *, seeds: int, epochs: int) -> None:
        self._out, self._epochs = out, epochs
        self._groups = [Group(m, seed, epochs) for m in ("none", *METHODS) for seed in range(seeds)]
        self._fits = FittedRows(out / "wrong_labels_fits.csv", full_length=epochs)

    def waiting(self) -> list[Work]:
        """A share for each method and seed."""
        groups = [g for g in self._groups if not self._fits.of(method=g.settings[0].dropout, seed=g.seed)]
        return [Work(self.name, fit_group, group, fits=len(group.settings)) for group in groups]

    def keep(self, found: Sequence[Row]) -> list[str]:
        """Write a group's rows."""
        self._fits.add(found, order=_ORDER)
        return [
            f"{row['method']} {row['option']} {row['strength']:g}, seed {row['seed']}: "
            f"held-out error {row['held_out_error_clean']:.1%}, wrong labels learnt {row['wrong_labels_learnt']:.0%}"
            for row in found
        ]

    def finish(self) -> None:
        """Choose, and draw."""
        from inference.studies.demo.wrong_labels_picture import draw_wrong_labels

        found = self.outcomes()
        write_csv(self._out / "wrong_labels.csv", outcome_rows(found))
        draw_wrong_labels(found, self._out / "wrong_labels.png")

    def outcomes(self) -> list[Outcome]:
        """Every method at every strength."""
        seeds = {group.seed for group in self._groups}
        return outcomes(row for row in self._fits.rows if row["seed"] in seeds)

    def table(self) -> RenderableType:
        """What each method chose, and its errors."""
        return outcome_table(self.outcomes())

    def markdown(self) -> list[str]:
        """The same for a page, a line each."""
        return outcome_markdown(self.outcomes())


def stops(epochs: int) -> tuple[int, ...]:
    """Epochs after which a fit without noise could have been stopped, the last one included.

    >>> stops(30)
    (1, 2, 4, 8, 15, 30)
    """
    return tuple(sorted({max(1, round(share * epochs)) for share in _STOPS}))


def fit_group(group: Group) -> list[Row]:
    """Fit one method's strengths under one seed, side by side, and evaluate each.

    Returns:
        A row a fit; errors are shares: ``held_out_error`` of held-out images of which ``SHARE`` have a wrong label,
        ``held_out_error_clean`` of the same with their right ones, ``test_error``, all with the noise off, and
        ``wrong_labels_learnt``, the share of the wrongly labelled training images that get their wrong label.
    """
    spec = group.spec()
    right = spec.but(wrong_labels=0.0).data.build().train.y
    splits = spec.data.build()
    with spec.training.ambience():
        programs = _stopped(group, spec, splits) if group.method == "none" else _noisy(group, spec, splits)
        return [
            {
                "method": setting.dropout,
                "option": setting.option,
                "strength": setting.value,
                "seed": group.seed,
                **errors_of(program, splits, right, seed=group.seed),
            }
            for setting, program in zip(group.settings, programs, strict=True)
        ]


def _noisy(group: Group, spec: RunSpec, splits: Splits) -> list[Bottleneck]:
    """Every strength of a noise."""
    from ib_pyro.side_by_side import Run, train_side_by_side
    from models.mlp import MLP

    def make(**options: float) -> Bottleneck:
        return MLP(64, group.method, splits.train.image_shape, **options)

    runs = [
        Run(beta=s.value / len(splits.train), seed=group.seed, name=s.label)
        if s.option == "beta_paper"
        else Run(beta=0.0, seed=group.seed, name=s.label, options={str(s.option): s.value})
        for s in group.settings
    ]
    found = train_side_by_side(
        make,
        (splits.train.x, splits.train.y),
        runs,
        epochs=group.epochs,
        batch_size=spec.training.batch_size,
        lr_schedule=lambda epoch: 0.1 ** sum(epoch >= drop for drop in spec.training.lr_milestones),
    )
    return list(found.programs.values())  # type: ignore[arg-type]


def _stopped(group: Group, spec: RunSpec, splits: Splits) -> list[Bottleneck]:
    """One fit without noise, as it was at each stop."""
    from ib_pyro import fit

    program = spec.program.build(splits.train.image_shape, splits.train.num_classes)
    optimizer, scheduler = spec.training.build(program, splits.train.x, beta=0.0)
    kept: list[Bottleneck] = []

    def keep(history: list[Row]) -> None:
        if len(history) in stops(group.epochs):
            kept.append(copy.deepcopy(program).eval())

    fit(
        program,
        splits.train,
        epochs=group.epochs,
        batch_size=spec.training.batch_size,
        optimizer=optimizer,
        scheduler=scheduler,
        fabric=spec.training.fabric(),
        on_epoch=keep,
        progress=False,
    )
    return kept


def errors_of(program: Bottleneck, splits: Splits, right: Tensor, *, seed: int) -> Row:
    """Evaluate a program with its noise off.

    Args:
        program: The fitted program.
        splits: Images, those of the training set with wrong labels.
        right: The right labels of the training images, ``[N]``.
        seed: Seed of the wrong labels of held-out images.

    Returns:
        The columns of errors, as ``fit_group`` names them.
    """
    from ib_pyro.batch_norm import noise_off_copy
    from inference.runs.splits import mislabelled

    assert splits.validation is not None
    quiet = noise_off_copy(program, splits.train.x, batch_size=1000)

    def wrongly(images: LabelledImages) -> Tensor:
        return quiet.predict(images.x, num_samples=0).argmax(-1) != images.y

    learnt = ~wrongly(splits.train)[right != splits.train.y]
    return {
        "held_out_error": wrongly(mislabelled(splits.validation, SHARE, seed)).double().mean().item(),
        "held_out_error_clean": wrongly(splits.validation).double().mean().item(),
        "test_error": wrongly(splits.test).double().mean().item(),
        "wrong_labels_learnt": learnt.double().mean().item(),
    }

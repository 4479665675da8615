"""All that a run is: program, data, objective, training and evaluation."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from ib_pyro.choices import require_known
from inference.runs.data_spec import DataSpec
from inference.runs.objective_spec import ObjectiveSpec
from inference.runs.own_function import OwnFunction
from inference.runs.program_spec import NOISES, Noise, ProgramSpec
from inference.runs.settings import plain, require_type
from inference.runs.task import TASKS, EvaluationSpec, Reconstruction, Task
from inference.runs.training_spec import TrainingSpec

__all__ = ["PARTS", "RunSpec", "entries", "settings_digest"]

DIGITS = 16

PARTS: dict[str, type] = {
    "program": ProgramSpec,
    "data": DataSpec,
    "objective": ObjectiveSpec,
    "training": TrainingSpec,
    "evaluation": EvaluationSpec,
}
"""The records of a run. No two have a field of the same name: together they are the options of ``fit``."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run, for the command line, the demo and the paper; where it is kept is no part of it.

    Raises:
        ValueError: If two of the records exclude each other.

    >>> RunSpec.of(model="mlp", beta=1e-3).training.lr_milestones
    (40, 60)
    """

    program: ProgramSpec = field(default_factory=ProgramSpec)
    data: DataSpec = field(default_factory=DataSpec)
    objective: ObjectiveSpec = field(default_factory=ObjectiveSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)

    def __post_init__(self) -> None:
        object.__setattr__(self, "training", self.training.completed(self.task.optimizer))
        if self.objective.beta is None and self.objective.beta_paper is None:
            self.task.require_beta(self.program)
        draws = self.evaluation.num_importance_samples
        if draws != EvaluationSpec().num_importance_samples and not isinstance(self.task, Reconstruction):
            raise ValueError(
                f"--num-importance-samples {draws} has no effect with --model {self.program.model}; it goes with "
                "--model vae"
            )

    @classmethod
    def of(cls, **settings: Any) -> RunSpec:
        """Build a run from settings by their names, as they are typed with dashes on the command line.

        Raises:
            ValueError: If a name is unknown or a value is not to be had.
        """
        homes = {entry.name: part for part, entry in entries()}
        parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for name, value in settings.items():
            part = homes[require_known("setting", name, homes)]
            require_type(name, value, _hints(part)[name])
            parts[part][name] = value
        return cls(**{part: PARTS[part](**values) for part, values in parts.items()})

    def but(self, **settings: Any) -> RunSpec:
        """The same run with other settings."""
        mine = {entry.name: getattr(getattr(self, part), entry.name) for part, entry in entries()}
        return type(self).of(**{**mine, **settings})

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> RunSpec:
        """Build a run from what ``settings`` made, as JSON holds it."""
        values = dict(settings)
        # What JSON has no type of; anything else that stands there is refused by its name.
        if isinstance(values.get("data_root"), str):
            values["data_root"] = Path(values["data_root"])
        if isinstance(values.get("lr_drops"), list):
            values["lr_drops"] = tuple(values["lr_drops"])
        return cls.of(**values)

    def settings(self) -> dict[str, Any]:
        """All settings by their names, as JSON values."""
        return {entry.name: plain(getattr(getattr(self, part), entry.name)) for part, entry in entries()}

    def identity(self) -> dict[str, Any]:
        """The settings that are not the defaults and say what the run is, not where it lies."""
        mine = self.settings()
        return {
            entry.name: mine[entry.name]
            for _, entry in entries()
            if not entry.metadata["place"] and mine[entry.name] != plain(entry.default)
        }

    def differences(self, other: RunSpec) -> list[str]:
        """What separates this run from another, a line each: ``lr: 0.07 there, 0.1 here``."""
        mine, theirs = self.settings(), other.settings()
        names = [entry.name for _, entry in entries() if not entry.metadata["place"]]
        return [f"{n}: {theirs[n]} there, {mine[n]} here" for n in names if theirs[n] != mine[n]]

    @property
    def digest(self) -> str:
        """Stands for all settings but those that only say where the run lies."""
        return settings_digest(self.settings())

    @property
    def name(self) -> str:
        """A name for the run's folder: readable, and different for different settings."""
        digest = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:8]
        program = self.program
        size = [] if program.size is None else [f"{program.size:g}"]
        # What stands in names of functions and folders, and not in names of files.
        model, data = (re.sub(r"[^\w.-]+", ".", name).strip(".") for name in (program.model, self.data.data))
        parts = [model, *size, data, *([] if program.own else [program.noise])]
        parts += [f"{strength:g}" for strength in [self.strength] if strength is not None]
        activation = [program.options["activation"]] if "activation" in program.options else []
        return "-".join([*parts, *activation, f"seed{self.training.seed}", digest])

    @property
    def strength(self) -> float | None:
        """What sets the strength of the noise: beta as it was given, a drop probability or a scale."""
        option = NOISES.get(self.program.noise, Noise()).strength
        if option is not None:
            return getattr(self.program, option)
        return self.objective.beta if self.objective.beta_paper is None else self.objective.beta_paper

    @property
    def task(self) -> Task:
        """What the program does with the images."""
        return TASKS[self.program.task]

    def betas(self, num_train: int) -> tuple[float, float]:
        """Both units of beta: per sample in nats, and ``beta_paper = beta * num_train``.

        Args:
            num_train: Number of training images.

        Returns:
            ``(beta, beta_paper)``; the task's own where none was given: 0 where the noise has no rate to weigh, and
            1, a bound on the likelihood, of a program that reconstructs.
        """
        return self.objective.betas(num_train, self.task.beta)

    def columns(self) -> dict[str, Any]:
        """The settings that a result repeats: program, noise, data, seed, and the program's other options."""
        program, noise = self.program, self.program.builder.noise
        first = {"model": program.model, **({} if noise is None else {noise: program.noise})}
        options = {name: value for name, value in program.options.items() if value is not None}
        return {**first, "data": self.data.data, "seed": self.training.seed, **options}

    def sources(self) -> dict[str, Any]:
        """What the functions of the user's own are made of, by the settings that name them; of most runs nothing.

        Raises:
            ValueError: If one is not there.
        """
        return {own.option: own.sources() for own in self.own_functions}

    @property
    def own_functions(self) -> list[OwnFunction]:
        """The functions of the user's own that the run takes."""
        return [own for own in (self.program.own, self.data.own) if own is not None]

    def placed(self) -> RunSpec:
        """The same run, in which a folder of images does not depend on the folder of this process."""
        return dataclasses.replace(self, data=self.data.placed())


@cache
def _hints(part: str) -> dict[str, Any]:
    """Types of a record's settings."""
    return get_type_hints(PARTS[part])


def entries() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every setting, as the name of its record and its field."""
    for part, record in PARTS.items():
        for entry in dataclasses.fields(record):
            yield part, entry


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Hexadecimal digits that stand for all settings of a run but those that only say where it lies.

    Args:
        settings: Settings by their names, as a ``config.json`` holds them, of whichever version.

    >>> settings_digest({"lr": 0.1, "data_root": "/a"}) == settings_digest(
    ...     {"data_root": "/b", "lr": 0.1}
    ... )
    True
    """
    places = {"out"} | {entry.name for _, entry in entries() if entry.metadata["place"]}
    kept = {name: value for name, value in settings.items() if name not in places}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:DIGITS]

"""Every setting of a fit, checked before anything is read or written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.names import require_known
from inference.programs import DROPOUTS, LATENTS, PROGRAMS
from inference.schedule import SCHEDULES, milestones

__all__ = ["FitConfig", "SiteValues"]

SiteValues = float | dict[str, float]
"""A number for every latent site, or one for each."""

# Where a run lies and how it is watched; two runs that differ in nothing else are the same run.
_PLACE = ("data_root", "out", "tensorboard")
_BETA_SCHEDULES = ("constant", "cosine", "cyclical", "linear")
_OPTIMIZERS = ("adam", "sgd")
_PRECISIONS = ("16-mixed", "32-true", "64-true", "bf16-mixed", "bf16-true")
_TOTAL_CORRELATIONS = ("gaussian", "minibatch-stratified", "minibatch-weighted")

# Settings that mean something with some values of another one only.
_GOES_WITH = {
    "dropout": ("model", ("all-cnn-32", "all-cnn-96", "mlp")),
    "hidden": ("model", ("mlp",)),
    "latent": ("model", ("vae",)),
    "k": ("model", ("vae",)),
    "num_importance_samples": ("model", ("vae",)),
    "drop_prob": ("dropout", ("binary",)),
    "alpha": ("dropout", ("constant",)),
    "momentum": ("optimizer", ("sgd",)),
    "nesterov": ("optimizer", ("sgd",)),
}


def _setting(default: Any, text: str) -> Any:  # noqa: ANN401 - dataclasses.field is typed by its default
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of one fit; a field is an option of ``python -m inference fit``, with dashes for underscores.

    Raises:
        ValueError: If a value is out of range, unknown, or excluded by another one.

    >>> FitConfig(out=Path("runs/a"), beta=1e-3).lr_milestones
    (40, 60)
    """

    out: Path = field(
        metadata={"help": "folder of the run; it must be new, empty or (with --resume) this run's"}
    )
    model: str = _setting("mlp", f"Pyro program to fit: {', '.join(sorted(PROGRAMS))}")
    dropout: str = _setting("information", f"noise of the layers: {', '.join(DROPOUTS)}")
    hidden: int = _setting(64, "width of the hidden layers")
    batch_norm: bool = _setting(True, "batch norm before each activation")
    latent: str = _setting("information", f"latent of --model vae: {', '.join(LATENTS)}")
    k: int = _setting(1, "size of --model vae: 256 k latents, 512 k hidden units")
    drop_prob: float = _setting(0.5, "drop probability of --dropout binary")
    alpha: float = _setting(0.7, "standard deviation of the log noise of --dropout constant")

    data: str = _setting("digits", "name of the data set")
    data_root: Path | None = _setting(None, "folder with the data (default: the environment's IB_PYRO_DATA)")
    data_seed: int = _setting(0, "seed of the held-out split and of generated sets")
    limit: int | None = _setting(None, "use at most this many training images (default: all)")
    holdout: int | None = _setting(
        None, "images held out from train for validation (default: the set's own; 0: none)"
    )

    beta: float | None = _setting(None, "weight of the rate, per sample, in nats")
    beta_paper: float | None = _setting(
        None, "the same, times the number of training images, as in the paper"
    )
    beta_factors: dict[str, float] | None = _setting(
        None, "what single sites multiply beta by, as z1=0.5,z3=2; others by 1"
    )
    beta_schedule: str = _setting("constant", f"how beta moves over the epochs: {', '.join(_BETA_SCHEDULES)}")
    beta_start: float = _setting(0.0, "share of beta that the schedule starts with")
    beta_warm_up: float | None = _setting(None, "epochs until linear and cosine arrive at beta")
    beta_period: float | None = _setting(None, "epochs of a cycle of cyclical, half of them warm-up")
    gamma: SiteValues = _setting(
        0.0, "weight of the total correlation, per sample, in nats; for single sites as z1=0.5"
    )
    total_correlation: str = _setting("gaussian", f"its estimator: {', '.join(_TOTAL_CORRELATIONS)}")
    capacity: SiteValues | None = _setting(
        None, "nats per sample that the rate is drawn to, by beta times the distance; or as z1=20,z3=5"
    )
    capacity_warm_up: float = _setting(0.0, "epochs in which the capacity grows from zero")
    free_nats: SiteValues | None = _setting(
        None, "nats per sample up to which the rate costs the same; or as z1=20,z3=5"
    )

    epochs: int = _setting(80, "passes over the training images")
    batch_size: int = _setting(100, "images in a step; the last, partial batch is kept")
    lr: float | None = _setting(
        None, "learning rate of the first epoch (default: 0.07 for sgd, 0.001 for adam)"
    )
    schedule: str = _setting("paper", f"when the rate drops: {', '.join(SCHEDULES)}")
    lr_drops: tuple[int, ...] | None = _setting(
        None, "epochs after which the rate drops, as 40,60; overrides --schedule"
    )
    lr_factor: float = _setting(0.1, "what a drop multiplies the rate by")
    optimizer: str | None = _setting(
        None, f"optimiser: {', '.join(_OPTIMIZERS)} (default: sgd; of --model vae adam)"
    )
    momentum: float = _setting(0.9, "momentum of sgd")
    nesterov: bool = _setting(False, "Nesterov's momentum")
    weight_decay: float = _setting(0.0, "L2 weight decay")

    seed: int = _setting(0, "seed of the weights, the noise and the order of the batches")
    num_samples: int = _setting(16, "noise samples of the posterior predictive in the evaluation")
    num_importance_samples: int = _setting(64, "draws of the importance-weighted bound of --model vae")
    eval_batch_size: int = _setting(1000, "images at a time in the evaluation")
    checkpoint_every: int = _setting(1, "epochs between two checkpoints")
    accelerator: str = _setting("auto", "device: auto, cpu, cuda, mps, ...")
    precision: str = _setting("32-true", f"precision of the arithmetic: {', '.join(_PRECISIONS)}")
    tensorboard: bool = _setting(False, "write the metrics for TensorBoard too, into the run's folder")
    threads: int | None = _setting(None, "CPU threads of one operation (default: PyTorch's choice)")

    def __post_init__(self) -> None:
        require_known("model", self.model, PROGRAMS)
        require_known("dropout", self.dropout, DROPOUTS)
        require_known("latent", self.latent, LATENTS)
        require_known("schedule", self.schedule, SCHEDULES)
        self._choose_optimizer()
        require_known("optimizer", self.optimizer, _OPTIMIZERS)
        require_known("precision", self.precision, _PRECISIONS)
        require_known("beta schedule", self.beta_schedule, _BETA_SCHEDULES)
        require_known("total correlation", self.total_correlation, _TOTAL_CORRELATIONS)
        self._check_counts()
        self._check_ranges()
        self._check_effects()
        self._check_beta()
        self._check_beta_schedule()
        self._check_site_values()
        self._check_drops()

    @property
    def lr_milestones(self) -> tuple[int, ...]:
        """Numbers of finished epochs after which the learning rate drops."""
        return milestones(self.schedule, self.epochs) if self.lr_drops is None else self.lr_drops

    def betas(self, num_train: int) -> tuple[float, float]:
        """Both units of beta: per sample in nats, and ``beta_paper = beta * num_train``.

        Args:
            num_train: Number of training images.

        Returns:
            ``(beta, beta_paper)``; zeros where the noise has no rate to weigh and none was given, and beta = 1, a
            bound on the likelihood, where a VAE was given none.
        """
        if self.beta is not None:
            return self.beta, self.beta * num_train
        if self.model == "vae" and self.beta_paper is None:
            return 1.0, float(num_train)
        beta_paper = self.beta_paper or 0.0
        return beta_paper / num_train, beta_paper

    def settings(self) -> dict[str, Any]:
        """All fields as JSON values."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return {name: _plain(value) for name, value in values.items()}

    @classmethod
    def from_settings(cls, settings: dict[str, Any], **changes: Any) -> FitConfig:
        """Rebuild a configuration from `settings`, with some fields changed.

        Raises:
            ValueError: If the settings have a field that this version does not know.
        """
        known = {entry.name for entry in dataclasses.fields(cls)}
        for name in settings:
            require_known("setting", name, known)
        values = {**settings, **changes}
        for name in ("out", "data_root"):
            values[name] = None if values.get(name) is None else Path(values[name])
        if values.get("lr_drops") is not None:
            values["lr_drops"] = tuple(values["lr_drops"])
        return cls(**values)

    def differences(self, settings: dict[str, Any]) -> list[str]:
        """What separates this run from the one with ``settings``, a line each: ``lr: 0.07 there, 0.1 here``.

        A field that an older version did not have yet counts as its default.
        """
        mine = self.settings()
        defaults = {entry.name: _plain(entry.default) for entry in dataclasses.fields(self)}
        names = [name for name in {**mine, **settings} if name not in _PLACE]
        pairs = [(name, settings.get(name, defaults.get(name)), mine.get(name)) for name in names]
        return [f"{name}: {theirs} there, {ours} here" for name, theirs, ours in pairs if theirs != ours]

    def _choose_optimizer(self) -> None:
        # The rate that suits the classifiers throws an autoencoder to where its loss is not finite.
        if self.optimizer is None:
            object.__setattr__(self, "optimizer", "adam" if self.model == "vae" else "sgd")
        if self.lr is None:
            object.__setattr__(self, "lr", 1e-3 if self.optimizer == "adam" else 0.07)

    def _check_effects(self) -> None:
        defaults = {entry.name: entry.default for entry in dataclasses.fields(self)}
        for name, (other, values) in _GOES_WITH.items():
            value, chosen = getattr(self, name), getattr(self, other)
            if value != defaults[name] and chosen not in values:
                raise ValueError(
                    f"{_option(name)} {value} has no effect with {_option(other)} {chosen}; it goes with "
                    f"{_option(other)} {' or '.join(values)}"
                )

    def _check_counts(self) -> None:
        counts = ("hidden", "k", "epochs", "batch_size", "eval_batch_size", "checkpoint_every")
        for name in (*counts, "num_samples", "num_importance_samples"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("limit", "threads"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1")
        for name in ("seed", "data_seed"):
            _require(0 <= getattr(self, name) < 2**32, name, getattr(self, name), "within [0, 2**32)")

    def _check_ranges(self) -> None:
        _require(0 < self.lr < math.inf, "lr", self.lr, "positive and finite")
        _require(0 < self.lr_factor <= 1, "lr_factor", self.lr_factor, "within (0, 1]")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "within [0, 1)")
        _require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "not negative")
        _require(0 <= self.drop_prob < 1, "drop_prob", self.drop_prob, "within [0, 1)")
        _require(0 < self.alpha < math.inf, "alpha", self.alpha, "positive and finite")
        _require(self.holdout is None or self.holdout >= 0, "holdout", self.holdout, "not negative")
        if self.nesterov:
            _require(self.momentum > 0, "momentum", self.momentum, "positive with --nesterov")

    def _check_beta(self) -> None:
        if self.beta is not None and self.beta_paper is not None:
            raise ValueError(
                f"--beta {self.beta:g} (nats per sample) and --beta-paper {self.beta_paper:g} (times the number of "
                "training images) are two units of one number; give one of them"
            )
        for name in ("beta", "beta_paper"):
            value = getattr(self, name)
            _require(value is None or 0 <= value < math.inf, name, value, "finite and not negative")
        if self.model == "vae":
            return  # the plain bound, beta = 1, unless another weight is given
        if self.beta is None and self.beta_paper is None and self.dropout in ("gaussian", "information"):
            raise ValueError(
                f"--dropout {self.dropout} needs the weight of its rate: --beta (nats per sample) or --beta-paper "
                "(times the number of training images; the paper's are around 1)"
            )

    def _check_beta_schedule(self) -> None:
        lengths = {"beta_warm_up": ("linear", "cosine"), "beta_period": ("cyclical",)}
        for name, schedules in lengths.items():
            value, option = getattr(self, name), _option(name)
            if self.beta_schedule in schedules and value is None:
                raise ValueError(f"--beta-schedule {self.beta_schedule} needs its length: {option} EPOCHS")
            if self.beta_schedule not in schedules and value is not None:
                raise ValueError(
                    f"{option} {value:g} goes with --beta-schedule {' or '.join(schedules)}, and it is "
                    f"{self.beta_schedule}"
                )
            _require(value is None or 0 < value < math.inf, name, value, "positive and finite")
        _require(0 <= self.beta_start < math.inf, "beta_start", self.beta_start, "finite and not negative")
        if self.beta_schedule == "constant":
            _require(
                self.beta_start == 0, "beta_start", self.beta_start, "left alone without --beta-schedule"
            )

    def _check_site_values(self) -> None:
        for name in ("beta_factors", "gamma", "capacity", "free_nats"):
            value = getattr(self, name)
            for number in value.values() if isinstance(value, Mapping) else [value]:
                _require(number is None or 0 <= number < math.inf, name, number, "finite and not negative")
        if self.capacity is not None and self.free_nats is not None:
            raise ValueError(
                "--capacity draws the rate to its target and --free-nats lets it be; give one of them"
            )
        warm_up = self.capacity_warm_up
        _require(0 <= warm_up < math.inf, "capacity_warm_up", warm_up, "finite and not negative")
        if self.capacity is None and warm_up > 0:
            raise ValueError(
                f"--capacity-warm-up {warm_up:g} needs the target that it ends in: --capacity NATS"
            )

    def _check_drops(self) -> None:
        drops = self.lr_drops
        if drops is None:
            return
        increasing = all(first < second for first, second in zip(drops, drops[1:], strict=False))
        inside = all(1 <= drop < self.epochs for drop in drops)
        _require(increasing and inside, "lr_drops", drops, f"increasing and within [1, {self.epochs - 1}]")


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{_option(name)} must be {wanted}; got {value}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, Path) else value

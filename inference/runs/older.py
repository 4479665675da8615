"""Run folders of earlier versions: settings under other names, of what were two engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.runs.spec import RunSpec

__all__ = ["read_spec"]

# Settings of the paper's runs that have another name now.
_RENAMED = {
    "drops": "lr_drops",
    "train_images": "limit",
    "validation_images": "validation_limit",
    "test_images": "test_limit",
}
_SIZES = {"mlp": "hidden", "vae": "k"}


def read_spec(content: Mapping[str, Any]) -> RunSpec:
    """Read the run that a ``config.json`` of any version describes.

    Args:
        content: What the file holds.

    Raises:
        ValueError: If it holds no settings, or one that this version does not know.
    """
    settings = content.get("settings")
    if not isinstance(settings, dict):
        raise ValueError("it has no settings; it was not written by a fit")
    if "size" in settings:
        settings = _of_the_paper(settings, content)
    # Where the run lies was once one of its settings.
    return RunSpec.from_settings({name: value for name, value in settings.items() if name != "out"})


def _of_the_paper(settings: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run of the paper's figures: those that were not its defaults, which were others than ``fit``'s."""
    old = {"validation_images": 0, **settings}
    model, size, epochs = old["model"], old.pop("size"), old.get("epochs", 80)
    # What a run was for once set it apart from others, as a drop of the learning rate after its end did.
    old.pop("stage", None)
    old["drops"] = [drop for drop in old.get("drops", []) if drop < epochs]
    new = {_RENAMED.get(name, name): value for name, value in old.items()}
    new[_SIZES.get(model, "fraction")] = int(size) if model in _SIZES else size
    if old.get("dropout", "information") == "information" and "beta" not in old:
        new.setdefault("beta_paper", 0.0)
    if model == "vae":
        new["num_importance_samples"] = 0
        for name in ("dropout", "activation"):
            new.pop(name, None)
    return {
        **new,
        "stand_in": content.get("source") == "stand-in",
        "steady_priors": True,
        "optimizer": new.get("optimizer", "sgd"),
        "lr": new.get("lr", 0.07),
        "epochs": epochs,
        "checkpoint_every": max(1, epochs // 40),
        "eval_batch_size": 250 if str(model).startswith("all-cnn") else 1000,
        "validate_every_epoch": False,
    }

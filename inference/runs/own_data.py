"""Data of the user's own as the splits of a run: from a function of theirs, or from a folder of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ib_pyro.data import LabelledImages, load_image_folder
from ib_pyro.data.stratified_splits import hold_out, stratified_sample
from ib_pyro.training.dataset import Samples
from inference.runs.call_with_options import call_with_options
from inference.runs.own_function import OwnFunction
from inference.runs.settings import Scalar

__all__ = ["Part", "load_own"]

Part = LabelledImages | Samples

SPLITS = ("train", "validation", "test")
WANTED = 'a mapping such as {"train": (x, y), "test": (x, y)}'


def load_own(
    name: str,
    limits: Mapping[str, int | None],
    *,
    options: Mapping[str, Scalar],
    root: Path | None,
    seed: int,
    holdout: int | None,
) -> dict[str, Part | None]:
    """Load the splits of a set of one's own.

    Args:
        name: ``"module:function"``, or a folder of images.
        limits: At most how many samples of each split; 0 for one that is not wanted.
        options: Arguments of the function, or of ``ib_pyro.data.load_image_folder``.
        root: Folder of the data: offered to the function as ``root``, and where a folder of images lies.
        seed: Offered to the function as ``seed``, and draws what limits take.
        holdout: Samples held out of train for validation, where there are none of their own; None for none.

    Returns:
        ``LabelledImages`` where they are that, other samples as they are.

    Raises:
        ValueError: If the function does not return splits, or limits ask for more than they have.
        FileNotFoundError: If there is no such folder.
    """
    parts = _whole(name, options, root, seed)
    if "validation" in parts and holdout is not None:
        raise ValueError(
            f"--holdout {holdout} has no effect with --data {name}, which has a validation split of its own; "
            "leave it out"
        )
    if holdout:
        train = parts["train"]
        if holdout >= len(train):
            raise ValueError(
                f"--holdout {holdout} of the {len(train)} train samples of --data {name}; give fewer"
            )
        rest, held = hold_out(_strata(train), holdout)
        parts |= {"train": _subset(train, rest), "validation": _subset(train, held)}
    found: dict[str, Part | None] = {}
    for split, limit in limits.items():
        part = parts.get(split)
        if part is None and split == "validation" and limit:
            raise ValueError(
                f"--validation-limit {limit}: --data {name} has no validation split; add --holdout N"
            )
        found[split] = None if part is None or limit == 0 else _limited(part, limit, name, split, seed)
    return found


def _whole(name: str, options: Mapping[str, Scalar], root: Path | None, seed: int) -> dict[str, Part]:
    function = OwnFunction.of("data", name)
    call: Callable[..., Any] = load_image_folder if function is None else function.load()
    offered: dict[str, Any] = {"seed": seed}
    if function is None:
        offered = {"folder": (root or Path()) / name}
    elif root is not None:
        offered["root"] = root
    told = f"--data {name}"
    found = call_with_options(call, offered, options, called=told, option="--data-options")
    if not isinstance(found, Mapping) or not {"train", "test"} <= set(found) <= set(SPLITS):
        what = (
            f"a mapping of {', '.join(map(str, found))}"
            if isinstance(found, Mapping)
            else type(found).__name__
        )
        raise ValueError(f"{told} returns {what}; return {WANTED}, with validation too if there is one")
    return _labelled(told, {split: _part(told, split, value) for split, value in found.items()})


def _part(told: str, split: str, value: object) -> Part:
    """A split as tensors x and y."""
    if isinstance(value, LabelledImages):
        return value
    if hasattr(value, "x") and hasattr(value, "y"):
        value = (value.x, value.y)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{told}: its {split} split is {type(value).__name__}; return {WANTED}")
    try:
        x, y = (torch.as_tensor(part) for part in value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{told}: its {split} split is no pair of tensors or arrays ({error}); return {WANTED}"
        ) from error
    if x.dim() == 0 or y.dim() == 0 or len(x) != len(y) or len(x) == 0:
        sizes = f"x {list(x.shape)} and y {list(y.shape)}"
        raise ValueError(
            f"{told}: its {split} split has {sizes}; each needs the samples, as many, in its first dimension"
        )
    if not x.is_floating_point():
        raise ValueError(
            f"{told}: x of its {split} split is {x.dtype}; make it floating, such as x / 255 of bytes"
        )
    labels = not y.is_floating_point() and y.dtype != torch.bool
    return Samples(x, y.long() if labels else y)


def _labelled(told: str, parts: dict[str, Any]) -> dict[str, Part]:
    """Make labelled images of images with labels, of as many classes in each split."""
    shapes = {split: tuple(part.x.shape[1:]) for split, part in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{told}: its splits differ in the shape of x ({shapes}); make them the same")
    given = {part.classes for part in parts.values() if isinstance(part, LabelledImages)}
    if len(given) > 1:
        raise ValueError(f"{told}: its splits differ in their classes; make them the same")
    if not all(_has_labels(part) for part in parts.values()):
        return parts
    lowest = min(int(part.y.min()) for part in parts.values())
    if lowest < 0:
        raise ValueError(f"{told}: its labels y start at {lowest}; number the classes from 0")
    count = 1 + max(int(part.y.max()) for part in parts.values())
    classes = given.pop() if given else tuple(map(str, range(count)))
    if parts["train"].x.dim() != 4:
        return parts
    return {
        split: LabelledImages(part.x, part.y, classes) if isinstance(part, Samples) else part
        for split, part in parts.items()
    }


def _has_labels(part: Part) -> bool:
    return part.y.dtype == torch.int64 and part.y.dim() == 1


def _strata(part: Part) -> Tensor:
    """What a random choice of samples keeps the shares of: labels, where there are some."""
    return part.y if _has_labels(part) else torch.zeros(len(part), dtype=torch.int64)


def _subset(part: Part, index: Tensor) -> Part:
    if isinstance(part, LabelledImages):
        return part.subset(index)
    return Samples(part.x[index], part.y[index])


def _limited(part: Part, limit: int | None, name: str, split: str, seed: int) -> Part:
    if limit is None:
        return part
    option = "--limit" if split == "train" else f"--{split}-limit"
    if limit > len(part):
        raise ValueError(
            f"{option} {limit} of the {len(part)} {split} samples of --data {name}; give fewer, or leave it out"
        )
    return _subset(part, stratified_sample(_strata(part), limit, seed))

"""Programs, objectives, arguments and data with a mistake: each is refused by name, or its number is right."""

from __future__ import annotations

import math
import random
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyro
import torch
from torch import Tensor

from ib_pyro.capture import CaptureError
from inference.studies.attack.attempts import Kind, Silent
from inference.studies.attack.mistakes import MISTAKES, Draw, Wrong
from inference.studies.attack.mistakes.mistake import Answer

__all__ = ["WRONG_PROGRAMS", "judge"]

# What a user is told by; other errors are tracebacks from somewhere inside.
REFUSALS = (CaptureError, FloatingPointError, NotImplementedError, OSError, TypeError, ValueError)
# Standard errors by which means over draws may differ, and digits where there is no spread.
ERRORS, DIGITS = 6.0, 1e-4


def prepare(folder: Path) -> Path:
    """There is nothing to prepare."""
    return folder


def attempt(generator: random.Random, _prepared: Path, _folder: Path) -> Counter[str]:
    """Draw a mistake in one of its forms, and judge what comes of it."""
    name = generator.choice(sorted(MISTAKES))
    with pyro.get_param_store().scope(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.randrange(2**31))
        return Counter({judge(name, MISTAKES[name](Draw(generator))): 1})


def judge(name: str, wrong: Wrong) -> str:
    """Ask, and tell apart what is refused by name, what is right, and what is said to be none.

    Args:
        name: What the mistake is called.
        wrong: The mistake.

    Raises:
        Silent: If a number is wrong, or an error names nothing that its user knows.
    """
    try:
        answers, said = answered(wrong.answer, 1)
    except REFUSALS as error:
        if names_one_of(str(error), wrong.names):
            return "refused"
        raise Silent(f"{name}: names none of {wrong.names}: {type(error).__name__}: {error}") from error
    except Exception as error:
        raise Silent(f"{name}: {type(error).__name__}, which is a traceback: {error}") from error
    if not answers.isfinite().all() and names_one_of(said, wrong.names):
        return "said to be no number"
    if wrong.truth is None:
        raise Silent(f"{name}: taken, with {answers.flatten()[:3].tolist()}; said: {said or 'nothing'}")
    if wrong.draws > 1:
        answers, _ = answered(wrong.answer, wrong.draws)
    try:
        truths, _ = answered(wrong.truth, wrong.draws)
    except Exception as error:
        raise Silent(f"{name}: taken, though the densities have no number: {error}") from error
    difference = answers - truths
    mean = difference.mean(0)
    spread = difference.std(0) if wrong.draws > 1 else torch.zeros_like(mean)
    allowed = ERRORS * spread / math.sqrt(wrong.draws) + DIGITS * (1 + truths.abs().mean(0))
    if not bool((mean.abs() <= allowed).all()):
        worst = int((mean.abs() - allowed).nan_to_num(math.inf).argmax())
        found, right = answers.mean(0)[worst].item(), truths.mean(0)[worst].item()
        what = "value" if worst == 0 else f"gradient {worst}"
        raise Silent(f"{name}: {what} {found} for {right} (allowed {allowed[worst].item():.2g})")
    return "right"


def answered(answer: Answer, draws: int) -> tuple[Tensor, str]:
    """Ask under several seeds.

    Args:
        answer: Asks.
        draws: How many.

    Returns:
        The numbers, float64, ``[draws, n]``, and the warnings in one text.
    """
    found = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for seed in range(draws):
            torch.manual_seed(seed)
            found.append(answer().detach().double().flatten())
    return torch.stack(found), "; ".join(str(each.message) for each in said)


def names_one_of(text: str, names: Sequence[str]) -> bool:
    """Whether a text names something, as a word of its own."""
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) for name in names)


WRONG_PROGRAMS = Kind(
    "wrong-programs",
    "a program, objective, argument or set has a mistake: refused by its name, or right beside another computation",
    prepare,
    attempt,
)

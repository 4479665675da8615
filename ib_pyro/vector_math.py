"""PyTorch's vector functions at their full speed on a CPU, from the first step on."""

from functools import cache

import torch

__all__ = ["page_in_special_cases"]

# A vector of each: what a function has a rule of its own for, -0, -1 and infinities among them.
SPECIAL = (-0.0, 0.0, -1.0, -2.0, float("inf"), -float("inf"), float("nan"))
# Two vectors of the widest registers, which is as much as a loop takes at a time.
REPEATS = 32


@cache
def page_in_special_cases() -> None:
    """Meet the special cases of ``log1p`` and ``expm1`` once, so that their constants are in memory.

    With AVX-512, ``log1p`` of 16 numbers reads what it returns for special ones, such as -0, through a mask that is
    empty for the usual ones. An empty read raises no page fault, so it does not fetch the page of the constants from
    the library's file either: the processor resolves it anew each time, until some program happens to touch that
    page. That costs ten times the function, and a third of a step of a convolutional network with softplus. The
    numbers stay the same to the last bit. Called by fits and evaluations; does its work once in a process.
    """
    for dtype in (torch.float32, torch.float64):
        special = torch.tensor(SPECIAL, dtype=dtype, device="cpu").repeat_interleave(REPEATS)
        torch.log1p(special)
        torch.expm1(special)

"""``python -m inference bench``: what a step costs beside plain PyTorch."""

from __future__ import annotations

from argparse import Namespace

from inference.cli.arguments import Parser, typed, whole_numbers

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "time a training step beside a loop written by hand in PyTorch"


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument(
        "--hidden",
        type=typed("widths such as 64,512", whole_numbers),
        default=(64, 512),
        help="widths of the hidden layers",
    )
    parser.add_argument("--batch-size", type=int, default=100, help="images in a step")
    parser.add_argument("--steps", type=int, default=50, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=21, help="blocks of each kind, taken in turn")
    parser.add_argument("--target", type=float, default=1.5, help="greatest ratio to by-hand that passes")
    parser.add_argument(
        "--check", action="store_true", help="end with exit code 1 if a ratio is above the target"
    )


def run(options: Namespace) -> int:
    """Measure and print the ratios."""
    for name in ("batch_size", "steps", "blocks"):
        if getattr(options, name) < 2:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 2; got {getattr(options, name)}")
    import torch

    from inference.studies.step_cost import print_step_costs, step_cost

    torch.set_num_threads(1)
    sizes = {"batch_size": options.batch_size, "steps": options.steps, "blocks": options.blocks}
    costs = [step_cost(hidden, **sizes) for hidden in options.hidden]
    print_step_costs(costs, target=options.target)
    return int(options.check and any(cost.ratio > options.target for cost in costs))

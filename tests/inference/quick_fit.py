"""A fit from the command line that takes a second: the words of it that several tests share."""

__all__ = ["QUICK"]

QUICK = [
    "fit",
    "--hidden",
    "8",
    "--limit",
    "200",
    "--batch-size",
    "50",
    "--beta-paper",
    "1",
    "--threads",
    "1",
]

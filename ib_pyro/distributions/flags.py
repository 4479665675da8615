"""What an expanded distribution takes over from the one it is made of."""

from typing import TypeVar

from pyro.distributions.torch_distribution import TorchDistribution

__all__ = ["copy_flags"]

D = TypeVar("D", bound=TorchDistribution)


def copy_flags(source: TorchDistribution, new: D) -> D:
    """Give a distribution the validation of another, and its ``has_rsample_`` if that was called.

    A plate expands each distribution that it meets: without this, draws that were to be detached would not be.

    Args:
        source: The distribution that has the flags.
        new: The one that gets them, and is returned.
    """
    new._validate_args = source._validate_args
    if "has_rsample" in source.__dict__:
        new.has_rsample = source.has_rsample
    return new

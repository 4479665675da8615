"""Numbers of NumPy as Python's, which a file of tensors holds and which are told alike by any version."""

from typing import Any

import numpy as np

__all__ = ["plain"]


def plain(value: Any) -> Any:  # noqa: ANN401 (whatever may hold a number)
    """Return a value with the numbers of NumPy that it is, or that lists, tuples and dicts in it hold, as Python's.

    >>> plain({"lr": np.float64(0.1), "betas": (np.float32(0.5), 1)})
    {'lr': 0.1, 'betas': (0.5, 1)}
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {plain(key): plain(each) for key, each in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value

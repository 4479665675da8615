"""Choices by name, and the one sentence that refuses a name that is none of them."""

from collections.abc import Collection, Sequence, Set
from difflib import SequenceMatcher

__all__ = ["nearest", "require_known"]


def require_known(kind: str, name: str, known: Collection[str], *, otherwise: str = "") -> str:
    """Return ``name`` if it is known, and say the nearest ones and all there are if it is not.

    Args:
        kind: What stands before the name: what it is a name of (``"model"``), or the argument that it was given as
            (``"likelihood="``).
        name: What was given.
        known: The names that exist, said in this order; those of a set are sorted.
        otherwise: What may be done instead of choosing a name, as in "pass a function".

    Returns:
        The name itself.

    Raises:
        ValueError: If the name is unknown, or no string.

    >>> require_known("model", "mlp", ["mlp", "vae"])
    'mlp'
    >>> require_known("model", "mpl", ["mlp", "vae"])
    Traceback (most recent call last):
        ...
    ValueError: model 'mpl' is unknown; did you mean 'mlp'? Choose 'mlp' or 'vae'
    >>> require_known("activation=", "gauss", ["relu"], otherwise="pass a function")
    Traceback (most recent call last):
        ...
    ValueError: activation='gauss' is unknown; choose 'relu', or pass a function
    """
    if isinstance(name, str) and name in known:
        return name
    names = sorted(known) if isinstance(known, Set) else list(known)
    near = nearest(str(name), names)
    hint = f"did you mean {_any_of(near)}? Choose" if near else "choose"
    given = f"{kind}{'' if kind.endswith('=') else ' '}{name!r}"
    way_out = f"{hint} {_any_of(names)}" if names else "there is none to choose"
    raise ValueError(f"{given} is unknown; {way_out}{f', or {otherwise}' if otherwise else ''}")


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """Return at most three names that are most like one, whatever the case of their letters; none where all are alike.

    >>> nearest("batchsize", ["epochs", "batch-size", "lr"])
    ['batch-size']
    """
    alike = {other: SequenceMatcher(None, other.lower(), name.lower()).ratio() for other in known}
    near = sorted((other for other in known if alike[other] >= 0.5), key=lambda other: -alike[other])[:3]
    return near if len(near) < len(known) else []


def _any_of(names: list[str]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last

"""Ways to damage a file: bits, parts, foreign and malicious content."""

from __future__ import annotations

import json
import os
import pickle
import random
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Any

__all__ = ["DAMAGE", "Malicious", "edited_json"]


class Malicious:
    """Makes a folder ``ran`` where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, ("ran", 0o777, True)


def turned_bit(content: bytes, generator: random.Random) -> bytes:
    """One bit is another."""
    place = generator.randrange(max(1, len(content)))
    return (
        content[:place]
        + bytes([(content[place : place + 1] or b"\0")[0] ^ 1 << generator.randrange(8)])
        + (content[place + 1 :])
    )


def cut(content: bytes, generator: random.Random) -> bytes:
    """The end is missing."""
    return content[: generator.randrange(max(1, len(content)))]


def zeroed(content: bytes, generator: random.Random) -> bytes:
    """A stretch was never written, as after a power cut."""
    start = generator.randrange(max(1, len(content)))
    length = generator.randrange(1, max(2, len(content) - start))
    return content[:start] + bytes(length) + content[start + length :]


def noise(content: bytes, generator: random.Random) -> bytes:
    """Anything of the same length."""
    return generator.randbytes(len(content))


def empty(_content: bytes, _generator: random.Random) -> bytes:
    """Nothing."""
    return b""


def doubled(content: bytes, _generator: random.Random) -> bytes:
    """All of it twice."""
    return content + content


def in_another_encoding(content: bytes, _generator: random.Random) -> bytes:
    """As an editor of another system saves it."""
    return content.decode("latin-1").encode("utf-16")


def foreign_json(_content: bytes, generator: random.Random) -> bytes:
    """JSON of something else."""
    others: list[Any] = [
        None,
        3,
        "text",
        [],
        {},
        {"settings": 3},
        {"settings": {"epochs": "many"}},
        {"rows": []},
        {"settings": {}, "fingerprints": 3},
        {"settings": {}, "versions": ["1.0"], "device": 3},
        {"settings": {}, "sources": {"program": 3}},
        {"settings": {}, "sources": {"program": {}}},
        {"settings": {}, "sources": [3]},
        {"type": "ValueError", "message": 3},
    ]
    return json.dumps(generator.choice(others)).encode()


def deep(_content: bytes, generator: random.Random) -> bytes:
    """More brackets than a parser likes."""
    return generator.choice([b"[", b'{"a":']) * 200_000


def edited_json(content: bytes, generator: random.Random) -> bytes:
    """One value of a JSON object is another; of what is no JSON, one bit."""
    try:
        told = json.loads(content)
        place = generator.choice(
            [told, *(value for value in told.values() if isinstance(value, dict) and value)]
        )
        name = generator.choice(sorted(place))
    except (AttributeError, IndexError, TypeError, UnicodeDecodeError, ValueError):
        return turned_bit(content, generator)
    place[name] = generator.choice([None, -1, 0.123, "other", [], {}, True, 10**400])
    return json.dumps(told).encode()


def malicious(_content: bytes, generator: random.Random) -> bytes:
    """What runs a command where it is unpickled, as a pickle or in PyTorch's archive."""
    pickled = pickle.dumps({"program": Malicious(), "history": [], "rng": {}}, protocol=2)
    if generator.random() < 0.5:
        return pickled
    return _archive(pickled, zipfile.ZIP_STORED)


def bomb(_content: bytes, _generator: random.Random) -> bytes:
    """An archive that unpacks to very much more."""
    return _archive(bytes(30_000_000), zipfile.ZIP_DEFLATED)


def packed_bomb(_content: bytes, generator: random.Random) -> bytes:
    """A small file, of the kinds that are unpacked as they are read, that unpacks to a quarter of a gigabyte."""
    return generator.choice([_gzipped, _zipped])()


@lru_cache(maxsize=1)
def _gzipped() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    part = bytes(2**20)
    return b"".join([*(packer.compress(part) for _ in range(2**8)), packer.flush()])


@lru_cache(maxsize=1)
def _zipped() -> bytes:
    """As NumPy compresses arrays."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as entry:
        for _ in range(2**8):
            entry.write(bytes(2**20))
    return file.getvalue()


def _archive(pickled: bytes, how: int) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/version", "3\n")
    return file.getvalue()


Damage = Callable[[bytes, random.Random], bytes]
DAMAGE: dict[str, Damage] = {
    "turned bit": turned_bit,
    "cut": cut,
    "zeroed": zeroed,
    "noise": noise,
    "empty": empty,
    "doubled": doubled,
    "other encoding": in_another_encoding,
    "foreign JSON": foreign_json,
    "deep": deep,
    "edited JSON": edited_json,
    "malicious": malicious,
    "bomb": bomb,
    "packed bomb": packed_bomb,
}

"""One dialect of docstrings: Google's sections, types in the signature alone, code in double backticks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("ib_pyro", "models", "inference")
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example):$", flags=re.MULTILINE)
# Sphinx's fields, NumPy's underlined titles, and names that others give to the same sections.
FOREIGN = re.compile(
    r"^\s*:(param|arg|returns?|rtype|type|raises?)\b"
    r"|^\s*(Parameters|Returns|Raises|Yields|Examples?|Notes?|Attributes|References)\n\s*-{3,}$"
    r"|^\s*(Arguments|Parameters|Keyword Args|Return|Yield|Examples):$",
    flags=re.MULTILINE,
)
TYPE = re.compile(r"(None|Tensor|bool|dict|float|int|list|str|tuple)(\[[^]]*\])?( \| \w+)*:\s")
ROLE_OR_CODE = re.compile(r":\w+(:\w+)?:`[^`]+`|``.+?``|`[^`]+`_", flags=re.DOTALL)
# What an entry may begin with in lower case: a symbol.
SYMBOL = re.compile(r"[a-z]\b|(log|alpha|beta|gamma|lambda|sigma)\b|[a-z]\w*\(|(u?int|b?float)\d")


class Docstring(NamedTuple):
    """A docstring, where it stands, and the arguments that it is about."""

    place: str
    text: str
    arguments: frozenset[str]
    is_function: bool = False
    is_public: bool = True

    @property
    def prose(self) -> str:
        """What comes before the first section and the first example."""
        return re.split(SECTION.pattern + r"|^>>>", self.text, maxsplit=1, flags=re.MULTILINE)[0].strip()

    def body(self, section: str) -> str:
        match = re.search(rf"^{section}:\n((?:    .*\n|\n)*)", self.text + "\n", flags=re.MULTILINE)
        return match.group(1) if match else ""

    def entries(self, section: str) -> dict[str, str]:
        """What is said of each name in a section, the first line of it."""
        found = re.findall(r"^    (\S.*?):(?: (.*))?$", self.body(section), flags=re.MULTILINE)
        return {name.lstrip("*"): text for name, text in found}


def docstrings(source: str, place: str) -> Iterator[Docstring]:
    """Docstrings of a module: its own, and those of its functions, its classes and their methods."""
    tree = ast.parse(source)
    yield Docstring(place, ast.get_docstring(tree) or "", frozenset())
    yield from _within(tree.body, place, is_public=True)


def _within(body: list[ast.stmt], place: str, *, is_public: bool) -> Iterator[Docstring]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named, public = f"{place}:{node.name}", is_public and not node.name.startswith("_")
            is_function = isinstance(node, ast.FunctionDef)
            yield Docstring(named, ast.get_docstring(node) or "", _arguments(node), is_function, public)
            if isinstance(node, ast.ClassDef):
                yield from _within(node.body, named, is_public=public)


def _arguments(node: ast.FunctionDef | ast.ClassDef) -> frozenset[str]:
    """Of a function, of a class's constructor, or else the fields of a record."""
    if isinstance(node, ast.FunctionDef):
        given = node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        return frozenset({argument.arg for argument in named if argument}) - {"self", "cls"}
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _arguments(part)
    fields = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
    return frozenset({field.id for field in fields if isinstance(field, ast.Name)})


def faults(doc: Docstring) -> Iterator[str]:
    """What is wrong with a docstring in any room."""
    if FOREIGN.search(doc.text):
        yield "has a section of another dialect"
    for section in ("Args", "Attributes", "Raises"):
        for name, text in doc.entries(section).items():
            if name.endswith(")"):
                yield f"states a type in {section}: {name}"
            if re.match(r"[a-z]", text) and not SYMBOL.match(text):
                yield f"begins in lower case: {name}: {text}"
    for section in ("Returns", "Yields"):
        if TYPE.match(doc.body(section).lstrip()):
            yield f"states a type in {section}"
    described = doc.entries("Args").keys()
    if described and doc.arguments and described != doc.arguments:
        yield f"describes other arguments than there are: {', '.join(sorted(described ^ doc.arguments))}"


def faults_of_arguments(doc: Docstring) -> Iterator[str]:
    """What is wrong with its arguments and its code."""
    single = re.search(r"`[^`]*`", ROLE_OR_CODE.sub("", doc.text))
    if single:
        yield f"has single backticks: {single.group()}"
    needs = doc.is_function and doc.is_public and doc.arguments and "\n" in doc.prose
    if needs and not doc.body("Args") and "arguments are those of" not in doc.prose:
        yield f"has more than a line, and no Args: {', '.join(sorted(doc.arguments))}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_docstring_speaks_one_dialect(room: str) -> None:
    found = [
        f"{doc.place} {fault}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for doc in docstrings(path.read_text(), path.relative_to(ROOT).as_posix())
        for fault in (*faults(doc), *faults_of_arguments(doc))
    ]
    assert not found


RIGHT = '''
def mean(z, *, weights=None, **options):
    """Return the mean of z, as :func:`torch.mean` and ``numpy`` do.

    Over the batch.

    Args:
        z: A representation, ``[N, d]``: one a row.
        weights: w of each row.
        **options: Passed on.

    Returns:
        Float, ``[d]``.

    Raises:
        ValueError: If z is empty.
    """

class Means:
    """Means of z.

    Args:
        z: A representation.
    """

    def __init__(self, z):
        self.z = z

    def of(self, z):
        """Return the mean of z."""
'''


def found_in(source: str) -> list[str]:
    return [
        fault for doc in docstrings(source, "module") for fault in (*faults(doc), *faults_of_arguments(doc))
    ]


def test_the_dialect_is_no_fault() -> None:
    assert found_in(RIGHT) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("    Args:\n        z: A", "    :param z: A", "another dialect"),
        ("    Args:\n", "    Parameters\n    ----------\n", "another dialect"),
        ("    Args:\n", "    Arguments:\n", "another dialect"),
        ("z: A representation, ``", "z (Tensor): A representation, ``", "a type in Args"),
        ("        Float, ", "        Tensor: Float, ", "a type in Returns"),
        ("        Float, ", "        dict[str, int] | None: Float, ", "a type in Returns"),
        ("ValueError: If z", "ValueError: if z", "lower case"),
        ("**options: Passed", "**options: passed", "lower case"),
        ("        weights: w of each row.\n", "", "other arguments than there are: weights"),
        ("        weights: w", "        weight: w", "other arguments than there are: weight, weights"),
        ("    def __init__(self, z", "    def __init__(self, z, w", "other arguments than there are: w"),
        ("``numpy``", "`numpy`", "single backticks: `numpy`"),
        ('the mean of z."""', 'the mean of z.\n\n        Over the batch.\n        """', "no Args: z"),
    ],
)
def test_another_dialect_is_a_fault(right: str, wrong: str, fault: str) -> None:
    assert right in RIGHT
    assert any(fault in found for found in found_in(RIGHT.replace(right, wrong)))

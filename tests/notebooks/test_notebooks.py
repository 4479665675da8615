"""The committed notebooks: executed, small, in words first, and free of this machine; and that they run."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
RUN = ROOT / "notebooks" / "run.py"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [
    "01_writing_models",
    "02_comparing_elbos",
    "03_posterior_noise",
    "04_nuisances",
    "05_the_paper",
    "06_any_network",
]

# A folder of somebody's machine; inside of a word or behind a scheme a slash means something else.
PATHS = re.compile(r"(?<![\w.:/])/(home|root|Users|work|tmp|usr|opt|var|mnt)/\S+|[A-Z]:\\\\\S+|site-packages")

# What a clock, a progress bar or a warning leaves behind.
MOMENTS = re.compile(r"\d (s|sec|seconds?|min|minutes?) (left|elapsed)|\dit/s|\d%\||\w+Warning:")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def notebook(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell: NotebookNode) -> list[str]:
    """Everything that a cell printed or returned, but for its pictures."""
    found = []
    for output in cell.outputs:
        found += [output[key] for key in ("text", "evalue") if key in output]
        found += [str(text) for kind, text in output.get("data", {}).items() if not kind.startswith("image/")]
    return found


def test_all_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == NAMES


def test_is_valid_and_small(path: Path, notebook: NotebookNode) -> None:
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 30
    assert path.stat().st_size <= 1_000_000
    assert max(cell.source.count("\n") + 1 for cell in code(notebook)) <= 20


def test_opens_with_what_will_be_seen_and_closes_with_what_to_try(notebook: NotebookNode) -> None:
    first, last = notebook.cells[0], notebook.cells[-1]
    assert {first.cell_type, last.cell_type} == {"markdown"}
    assert first.source.startswith("# ")
    assert "ou will see" in first.source
    assert last.source.startswith("## What to try\n")
    headings = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert sum(source.startswith("# ") for source in headings) == 1


def test_was_executed_in_order_without_errors_or_warnings(notebook: NotebookNode) -> None:
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


def test_shows_figures_and_says_before_each_what_to_see(notebook: NotebookNode) -> None:
    pictured = [
        index
        for index, cell in enumerate(notebook.cells)
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
    ]
    assert pictured
    for index in pictured:
        before = [cell.cell_type for cell in notebook.cells[max(0, index - 2) : index]]
        assert "markdown" in before, f"cell {index} draws, and no prose is near before it"


def test_holds_nothing_of_the_machine_or_the_moment(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        for text in [cell.source, *(texts(cell) if cell.cell_type == "code" else [])]:
            assert not PATHS.search(text), PATHS.search(text)
            assert " at 0x" not in text
        for text in texts(cell) if cell.cell_type == "code" else []:
            assert not MOMENTS.search(text), MOMENTS.search(text)
        assert not cell.metadata
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.metadata.kernelspec.name == "python3"


def test_says_which_variables_choose_data_and_size(path: Path, notebook: NotebookNode) -> None:
    source = "\n".join(cell.source for cell in code(notebook))
    assert "IB_PYRO_NOTEBOOK_DATA" in source
    assert "IB_PYRO_NOTEBOOK_DATA" in notebook.cells[0].source
    # That one reads committed numbers, and fits nothing.
    assert "IB_PYRO_NOTEBOOK_SMOKE" in source or path.stem == "05_the_paper"


def test_imports_no_tests_and_reads_no_private_name(notebook: NotebookNode) -> None:
    for cell in code(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            names = []
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
            parts = [part for name in names for part in name.split(".")]
            assert not [part for part in parts if is_private(part)], ast.unparse(node)
            assert not (isinstance(node, ast.Import | ast.ImportFrom) and "tests" in parts), ast.unparse(node)


def is_private(name: str) -> bool:
    """Whether a name begins with an underscore that the language has not put there, as in `__version__`."""
    return name.startswith("_") and not name.endswith("__")


def run(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the command as `make notebooks` does, in an interpreter of its own."""
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    done = run("07")
    assert done.returncode == 2
    assert "no notebook begins with '07'" in done.stderr
    assert "05_the_paper" in done.stderr


@pytest.mark.slow
def test_a_failing_cell_is_shown_and_its_notebook_kept(tmp_path: Path) -> None:
    copy = tmp_path / "run.py"
    copy.write_text(RUN.read_text())
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("answer = 41\nassert answer == 42")])
    nbformat.write(broken, tmp_path / "broken.ipynb")
    before = (tmp_path / "broken.ipynb").read_bytes()
    command = [sys.executable, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "assert answer == 42" in done.stderr
    assert "failed: broken" in done.stderr
    assert (tmp_path / "broken.ipynb").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_runs_small_and_leaves_the_committed_file_alone(name: str) -> None:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    before = path.read_bytes()
    done = run("--smoke", name, timeout=float(os.environ.get("IB_PYRO_TEST_TIMEOUT", "600")))
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before

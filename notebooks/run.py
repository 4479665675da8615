"""Execute the notebooks: in place, or small and into a temporary folder with ``--smoke``.

    python notebooks/run.py [--smoke] [NAMES...]

A name is the beginning of a notebook's own, such as ``02`` or ``02_comparing_elbos``; without names all are run.
"""

import argparse
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

__all__ = ["SMOKE_VARIABLE", "execute", "main", "select", "tidy"]

FOLDER = Path(__file__).resolve().parent
SMOKE_VARIABLE = "IB_PYRO_NOTEBOOK_SMOKE"
SECONDS_A_CELL = 900
KERNEL_DEFAULTS = {
    # Networks this small lose time with more threads, and the numbers do not depend on the machine's cores.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # tqdm, which Pyro imports, asks for widgets; nothing here draws a bar.
    "PYTHONWARNINGS": "ignore:IProgress not found",
}
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def select(names: Sequence[str]) -> list[Path]:
    """Return the notebooks whose names begin with one of ``names``, in order; all if there are none.

    Raises:
        ValueError: If a name fits no notebook; says which there are.
    """
    every = sorted(FOLDER.glob("*.ipynb"))
    wanted = [name.removesuffix(".ipynb").removeprefix("notebooks/") for name in names]
    for name in wanted:
        if not any(path.stem.startswith(name) for path in every):
            raise ValueError(
                f"no notebook begins with {name!r}; there are {[path.stem for path in every]}"
            )
    return [path for path in every if not wanted or path.stem.startswith(tuple(wanted))]


def execute(path: Path, *, smoke: bool) -> NotebookNode:
    """Run a notebook from its first cell to its last in a fresh kernel of this interpreter.

    Args:
        path: The notebook; it is only read.
        smoke: Whether to set the variable that makes its cells small.

    Returns:
        The notebook with its outputs, tidied.

    Raises:
        CellExecutionError: If a cell fails.
        CellTimeoutError: If one does not end.
        DeadKernelError: If the kernel dies.
    """
    notebook = nbformat.read(path, as_version=4)
    environment = KERNEL_DEFAULTS | os.environ | {SMOKE_VARIABLE: "1" if smoke else ""}
    with tempfile.TemporaryDirectory() as scratch:
        client = NotebookClient(
            notebook,
            timeout=SECONDS_A_CELL,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute(env={**environment, "IPYTHONDIR": scratch})
    return tidy(notebook)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Take out of a notebook, in place, what differs between two runs of the same cells, and return it."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {k: v for k, v in cell.metadata.items() if k == "tags"}
        )
        for output in cell.get("outputs", []):
            _tidy_output(output)
    return notebook


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return how many notebooks failed, at most 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="beginnings of notebooks' names; default: all"
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="few epochs, and the committed files stay as they are",
    )
    options = parser.parse_args(arguments)
    try:
        paths = select(options.names)
    except ValueError as error:
        parser.error(str(error))
    failed = [path.stem for path in paths if not _run(path, smoke=options.smoke)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(path: Path, *, smoke: bool) -> bool:
    print(f"{path.name} ...", end=" ", flush=True)
    try:
        with _clock() as spent:
            notebook = execute(path, smoke=smoke)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print("FAILED", flush=True)
        print(f"{path.name}: {_describe(error)}", file=sys.stderr)
        return False
    with _destination(path, smoke=smoke) as target:
        nbformat.write(notebook, target)
        print(
            f"{spent[0]:.1f} s ({spent[1]:.1f} s of CPU), {target.stat().st_size / 1e6:.2f} MB",
            flush=True,
        )
    return True


@contextmanager
def _clock() -> Iterator[list[float]]:
    """Seconds by the wall, and of CPU in child processes, once the block is over."""
    spent: list[float] = []
    wall, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield spent
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    spent += [time.perf_counter() - wall, cpu]


@contextmanager
def _destination(path: Path, *, smoke: bool) -> Iterator[Path]:
    """The notebook itself, or a copy that goes away."""
    if not smoke:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / path.name


def _describe(error: Exception) -> str:
    """The failing cell with its error, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def _tidy_output(output: NotebookNode) -> None:
    output.pop("execution_count", None) if output.output_type != "execute_result" else None
    for holder, key in [
        (output, "text"),
        *((output.get("data", {}), k) for k in output.get("data", {})),
    ]:
        if isinstance(holder.get(key), str) and not key.startswith("image/"):
            holder[key] = ADDRESS.sub("", holder[key])


if __name__ == "__main__":
    sys.exit(main())

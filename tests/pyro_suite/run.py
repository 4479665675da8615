"""Run Pyro's own tests over our distributions and our ELBO: ``python tests/pyro_suite/run.py``.

The tests are those of the installed Pyro's version. They come from its source distribution, which pip downloads into a
folder outside of the repository, or from a checkout that ``--source`` or the variable ``PYRO_SOURCE`` names: source
distributions of Pyro so far leave most of its tests out, and then the run says so and ends with code 3. Nothing of
Pyro's is copied into the repository.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pyro

__all__ = ["NO_TESTS", "find_source", "main"]

HERE = Path(__file__).parent
NO_TESTS = 3
SUITES = {
    "distributions": [
        "tests/distributions/test_distributions.py",
        "tests/distributions/test_independent.py",
        "tests/distributions/test_mask.py",
        "tests/distributions/test_pickle.py",
    ],
    "elbo": [
        "tests/infer/test_valid_models.py",
        "tests/contrib/easyguide",
        "tests/poutine/test_counterfactual.py",
    ],
}
WHOLE = {
    "distributions": [],
    "elbo": [
        "tests/infer/test_gradient.py",
        "tests/infer/test_autoguide.py",
        "tests/infer/autoguide",
        "tests/infer/reparam",
        "tests/infer/test_inference.py",
    ],
}
"""What ``--whole`` adds, which takes an hour or more."""


def main(arguments: list[str] | None = None) -> int:
    """Run the suites; return 0 if nothing failed that is not expected to, ``NO_TESTS`` if there are none to run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=os.environ.get("PYRO_SOURCE") or None)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "ib_pyro-test-pyro")
    parser.add_argument("--whole", action="store_true", help="the long tests too")
    parser.add_argument("--suite", choices=sorted(SUITES), action="append")
    options = parser.parse_args(arguments)
    source = find_source(options.source, options.cache)
    if source is None:
        print(
            f"test-pyro: the source distribution of pyro-ppl {pyro.__version__} has no tests/distributions and no "
            "tests/infer; pass a checkout of that version:\n"
            "    git clone --depth 1 --branch "
            f"{pyro.__version__} https://github.com/pyro-ppl/pyro DIR && make test-pyro PYRO_SOURCE=DIR"
        )
        return NO_TESTS
    statuses = [_run(suite, source, options.whole) for suite in options.suite or SUITES]
    return max(statuses)


def find_source(given: Path | None, cache: Path) -> Path | None:
    """The folder that holds Pyro's tests: the one given, or the source distribution; None if it has too few of them.

    Raises:
        FileNotFoundError: If the folder given has no tests of Pyro's.
    """
    if given is not None:
        if not _has_tests(given):
            raise FileNotFoundError(
                f"{given} has no tests/infer and tests/distributions; name a checkout of Pyro"
            )
        return given.resolve()
    folder = cache / f"pyro_ppl-{pyro.__version__}"
    if not folder.is_dir():
        _download(cache)
    return folder if _has_tests(folder) else None


def _has_tests(folder: Path) -> bool:
    return all((folder / "tests" / room).is_dir() for room in ("distributions", "infer"))


def _download(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    wanted = f"pyro-ppl=={pyro.__version__}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(cache), wanted], check=True)
    with tarfile.open(next(cache.glob(f"pyro*{pyro.__version__}.tar.gz"))) as archive:
        archive.extractall(cache, filter="data")


def _run(suite: str, source: Path, whole: bool) -> int:
    files = SUITES[suite] + (WHOLE[suite] if whole else [])
    files = [file for file in files if (source / file).exists()]
    # Pyro's tree of tests comes first: ours has the same name.
    paths = [str(source), str(HERE), str(HERE.parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "CI": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "ib_pyro_suite", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(source), "--ib-pyro", suite, "--tb=short", "-rfE", *files]
    return subprocess.run(command, cwd=source, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""What ``import ib_pyro`` alone gives."""

import pkgutil
import subprocess
import sys

import pytest

import ib_pyro


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def public_modules():
    return {
        module.name for module in pkgutil.iter_modules(ib_pyro.__path__) if not module.name.startswith("_")
    }


def test_every_submodule_is_reached_and_listed():
    modules = public_modules() - {"bottleneck"}
    assert modules == ib_pyro.SUBMODULES
    assert modules <= set(dir(ib_pyro))
    code = f"import ib_pyro\nfor name in {sorted(modules)}: print(getattr(ib_pyro, name).__name__)"
    assert run(code) == [f"ib_pyro.{name}" for name in sorted(modules)]


def test_importing_it_imports_only_what_it_needs():
    code = (
        "import sys, ib_pyro\n"
        "def loaded(): return {name.split('.')[0] for name in sys.modules}\n"
        "print(*sorted(loaded() & {'numpy', 'pyro', 'torch'}))\n"
        "from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off, to_arviz\n"
        "print(*sorted(loaded() & {'arviz', 'matplotlib', 'xarray', 'sklearn'}))\n"
        "print(*(name for name in ('ib_pyro.data', 'ib_pyro.plots', 'ib_pyro.oracle') if name in sys.modules))"
    )
    assert run(code) == []


def test_its_own_names_are_those_of_their_homes():
    assert not {"Any", "HOMES", "TYPE_CHECKING", "import_module"} & {*dir(ib_pyro)}
    assert {*ib_pyro.HOMES, "__version__"} == {*ib_pyro.__all__} <= {*dir(ib_pyro)}
    for name, home in ib_pyro.HOMES.items():
        assert getattr(ib_pyro, name) is getattr(getattr(ib_pyro, home, None) or ib_pyro.bottleneck, name)


def test_an_unknown_name_is_refused_with_what_there_is():
    with pytest.raises(
        AttributeError, match=r"'ib_pyro' has no attribute 'diagnostic'; it has .*'diagnostics'"
    ):
        getattr(ib_pyro, "diagnostic")  # noqa: B009

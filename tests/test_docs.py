"""The documentation builds without a warning, forgets no public name, and its code and links work."""

import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pyro
import pytest

import ib_pyro

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SPECIAL_CASES = DOCS / "special_cases.md"
FOLDERS = ("", "guide/", "models/", "design/")
PAGES = sorted({SPECIAL_CASES}.union(*(DOCS.glob(f"{folder}*.md") for folder in FOLDERS)))
PROGRAMS = [page for page in PAGES if page.is_file() and "```python" in page.read_text()]
# Pages are named after their module, but for these.
SHARED_PAGES = {
    "closed_forms": "rates",
    "batch_norm": "program",
    "bottleneck": "program",
    "bounds": "diagnostics",
    "choices": "checks",
    "dependence": "traces",
    "encoding": "program",
    "handlers": "program",
    "inputs": "program",
    "inserted": "nn",
    "likelihoods": "program",
    "observing": "program",
    "parameters": "program",
    "particles": "program",
    "plain_values": "files",
    "provenance": "files",
    "pseudo_inputs": "program",
    "run_tables": "side_by_side",
    "sites": "traces",
    "subsamples": "traces",
    "tensor_files": "files",
    "vector_math": "precision",
}
MODULES = [info.name for info in pkgutil.iter_modules(ib_pyro.__path__) if not info.name.startswith("_")]
BUILDERS = ("sphinx", "furo", "myst_nb", "sphinx-mathjax-offline")


def name_of(page):
    return page.relative_to(DOCS).as_posix()


def names_on(page):
    """What an API page documents or lists, not what its prose happens to contain."""
    text = (DOCS / "api" / f"{page}.rst").read_text()
    documented = re.findall(r"^\.\. (?:auto\w+|py:\w+):: (\w+)(?:\(.*\))?$", text, flags=re.MULTILINE)
    listed = re.findall(r"^   (\w+)$", text, flags=re.MULTILINE)
    return {*documented, *listed}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_the_page_of_its_module(module):
    public = importlib.import_module(f"ib_pyro.{module}").__all__
    page = SHARED_PAGES.get(module, module)
    assert set(public) <= names_on(page), f"docs/api/{page}.rst lacks names of ib_pyro.{module}"


@pytest.mark.parametrize("module", ["capacity", "schedules"])
def test_modules_that_elbo_does_not_reexport_are_on_its_page(module):
    assert set(importlib.import_module(f"ib_pyro.elbo.{module}").__all__) <= names_on("elbo")


def test_every_name_of_the_package_itself_is_on_the_first_page():
    assert set(ib_pyro.__all__) - {"__version__"} <= names_on("index")


def test_every_model_has_a_page():
    modules = {path.stem for path in (ROOT / "models").glob("*.py")} - {"__init__"}
    text = "".join(path.read_text() for path in (DOCS / "models").glob("*.md"))
    assert modules == set(re.findall(r"automodule:: models\.(\w+)$", text, flags=re.MULTILINE))


@pytest.mark.parametrize("module", sorted(path.stem for path in (ROOT / "models").glob("[a-z]*.py")))
def test_a_models_page_documents_what_its_module_offers(module):
    text = "".join(path.read_text() for path in (DOCS / "models").glob("*.md"))
    ours = text.split(f"automodule:: models.{module}\n")[1].split("automodule::")[0]
    documented = re.findall(r"^\.\. (?:autofunction|autoclass|py:data):: (\w+)$", ours, flags=re.MULTILINE)
    assert sorted(documented) == sorted(importlib.import_module(f"models.{module}").__all__)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page):
    if not page.is_file():
        pytest.skip(f"no {name_of(page)} in this checkout")
    links = re.findall(r"\]\(<?([^)\s>#]+)(?:#[^)]*)?>?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken
    if page == SPECIAL_CASES:
        assert links


def blocks_of(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PROGRAMS, ids=name_of)
def test_programs_run_as_printed(page, monkeypatch):
    # A module, so that what a page defines can be pickled; its blocks go on from one another.
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks_of(page):
        exec(compile(block, str(page), "exec"), vars(module))


def elsewhere():
    lines = (DOCS / "elsewhere.txt").read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def test_the_names_of_others_exist_and_their_addresses_are_theirs():
    assert len({name for name, _ in elsewhere()}) == len(elsewhere())
    for name, address in elsewhere():
        module, _, attribute = name.rpartition(".")
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            continue  # an extra that is not installed
        assert hasattr(importlib.import_module(module), attribute), name
        page, _, fragment = address.partition("#")
        assert page.startswith("https://")
        assert page.endswith(".html")
        assert fragment.rpartition(".")[2] == attribute, address


# What is shown without a scroll bar between the two columns of a window of 1,400 pixels.
WIDTH_OF_CODE, WIDTH_OF_CELLS = 88, 96


def lines_of_code():
    """Each line of code on a page, and of a program that a page shows, with the file that it is from."""
    blocks = re.compile(r"^```(?:python|console|text)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for block in blocks.findall(page.read_text()):
            yield from ((page, line) for line in block.splitlines())
    shown = re.findall(r"literalinclude} (\S+\.py)", "".join(page.read_text() for page in PAGES))
    for path in {path for name in shown for path in (DOCS / name, DOCS / "design" / name) if path.exists()}:
        yield from ((path, line) for line in path.read_text().splitlines())


def lines_of_cells():
    """Each line of code of a notebook, with its file."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                yield from ((path, line) for line in "".join(cell["source"]).splitlines())


def test_code_is_read_without_scrolling():
    long = [(path.name, line) for path, line in lines_of_code() if len(line) > WIDTH_OF_CODE]
    long += [(path.name, line) for path, line in lines_of_cells() if len(line) > WIDTH_OF_CELLS]
    assert not long


def test_the_gallery_has_a_picture_of_every_plot_and_draws_each():
    page, program = (DOCS / "gallery.md").read_text(), (DOCS / "gallery.py").read_text()
    shown = re.findall(r"\(_static/gallery/(\w+)\.png\)", page)
    assert shown == re.findall(r":pyobject: (\w+)$", page, flags=re.MULTILINE)
    assert all((DOCS / "_static" / "gallery" / f"{name}.png").stat().st_size > 5_000 for name in shown)
    assert {path.stem for path in (DOCS / "_static" / "gallery").glob("*.png")} == set(shown)
    assert set(ib_pyro.plots.__all__) == set(re.findall(r"^    (plot_\w+)\(", program, flags=re.MULTILINE))
    assert set(ib_pyro.plots.__all__) <= set(re.findall(r"~ib_pyro\.plots\.(\w+)`", page))


@pytest.mark.slow
@pytest.mark.skipif(version("arviz").partition(".")[0] != "0", reason="drawn by ArviZ 0.23")
def test_the_gallery_is_drawn_anew(tmp_path):
    command = [sys.executable, DOCS / "gallery.py", "--out", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    committed = {path.name for path in (DOCS / "_static" / "gallery").glob("*.png")}
    assert {path.name for path in tmp_path.glob("*.png")} == committed


def test_a_noise_of_ones_own_is_short():
    distribution, divergence, layer, contracts, *_ = blocks_of(DOCS / "own_noise.md")
    lines = [
        line for block in (distribution, divergence, layer) for line in block.splitlines() if line.strip()
    ]
    assert len(lines) < 60
    assert all(f"check_{what}(" in contracts for what in ("distribution", "rate", "layer"))


@pytest.mark.slow
def test_the_jacobian_that_pyro_drops_is_as_printed(capsys):
    page = (DOCS / "design" / "pyro_traps.md").read_text()
    printed = re.search(r"```text\n(.*?)```", page, flags=re.DOTALL).group(1)
    if printed.splitlines()[0] != f"pyro-ppl {pyro.__version__}":
        pytest.skip(f"the page is about {printed.splitlines()[0]}, and this is {pyro.__version__}")
    path = DOCS / "design" / "jacobian_of_automatic_guides.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.main()
    there, here = rows(printed), rows(capsys.readouterr().out)
    assert here.keys() == there.keys()
    # In closed form: the loss at the right answer, and the location where each loss is least.
    exact = {"Trace_ELBO": (0, 1), "TraceMeanField_ELBO": (1, 0), "InformationBottleneckELBO": (0, 1)}
    for name, values in exact.items():
        assert here[name] == pytest.approx(values, abs=0.05)
        assert there[name] == pytest.approx(values, abs=0.05)


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    for name in BUILDERS:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install -e '.[docs]'")
    if not SPECIAL_CASES.is_file():
        pytest.skip(f"no {name_of(SPECIAL_CASES)} in this checkout")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "doctrees"]
    built = subprocess.run(
        [*command, DOCS, tmp_path / "html"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    for page, text in {
        "api/nn": "InformationDropout",
        "models/vae": "Bernoulli",
        "index": "bottleneck",
    }.items():
        assert text in (tmp_path / "html" / f"{page}.html").read_text()


def rows(text):
    found = re.findall(r"^(\w+ELBO)\s+(\S+)\s+(\S+)$", text, flags=re.MULTILINE)
    return {name: (float(loss), float(location)) for name, loss, location in found}

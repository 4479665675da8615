"""How Sphinx builds these pages: `make docs`, without a network, warnings as errors."""

import os
import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

# Before anything imports pyplot: no page needs a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

from ib_pyro import HOMES, __version__

DOCS = Path(__file__).resolve().parent
# Names of others, with their addresses; and those that annotations kept as text say in short.
ELSEWHERE = dict(
    line.split()
    for line in (DOCS / "elsewhere.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
SHORT_NAMES = {
    "Fabric": "lightning.fabric.fabric.Fabric",
    "LRScheduler": "torch.optim.lr_scheduler.LRScheduler",
    "Optimizer": "torch.optim.optimizer.Optimizer",
    "Path": "pathlib.Path",
    "Tensor": "torch.Tensor",
    "nn.Module": "torch.nn.modules.module.Module",
    "pd.DataFrame": "pandas.DataFrame",
    "pd.Series": "pandas.Series",
}
# What Sphinx makes of an alias within a union.
ALIAS = re.compile(r"TypeAliasForwardRef\('([\w.]+)'\)")
# Pages of what was measured, from the folder of what measures it.
RESULTS = ("RESULTS.md", "MNIST.md", "VAE.md", "studies/paper/RULES.md")

project = "ib_pyro"
author = "The ib_pyro authors"
copyright = "The ib_pyro authors, Apache-2.0"  # noqa: A001  (the name is Sphinx's)
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "myst_nb",
]
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]
# A checkout without notebooks still has documentation.
suppress_warnings = ["toc.empty_glob"]

# Single backticks are code, as in the rest of the project.
default_role = "literal"
# Literal blocks of docstrings hold mathematics as often as Python; examples with >>> are coloured all the same.
highlight_language = "none"

# The docstrings: Google's style, types in the signature only, members in the order of the source.
napoleon_numpy_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
# Aliases keep their names: written out, NumPy's ArrayLike takes nine lines of private names.
autodoc_type_aliases = {
    "ArrayLike": "numpy.typing.ArrayLike",
    "pd.DataFrame": "pandas.DataFrame",
    "pd.Series": "pandas.Series",
}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# Every reference must resolve, also those that leave this package: `elsewhere.txt` says where to.
nitpicky = True
nitpick_ignore_regex = [
    # Private classes that a signature shows.
    ("py:class", r"(.*\.)?_\w+"),
    # Kinds of arguments that a docstring says in words, and type variables.
    ("py:class", r"MakeOptimizer|MakeScheduler|Row|Schedule|Stateful|Transform|Weight"),
    ("py:class", r"ib_pyro\.batch_norm\.(Part|Program)"),
]

# Pages in Markdown; notebooks are shown as they were committed, never run.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"ib_pyro {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {"navigation_with_keys": True}


def copy_notebooks(app: Sphinx, config: object) -> None:
    """Copy the committed notebooks to where Sphinx looks for pages, and take away those that are gone."""
    source, target = DOCS.parent / "notebooks", Path(app.srcdir) / "notebooks"
    target.mkdir(exist_ok=True)
    names = {path.name for path in source.glob("*.ipynb")}
    for path in target.glob("*.ipynb"):
        if path.name not in names:
            path.unlink()
    for name in sorted(names):
        # Sphinx reads a page again if it is newer than the last build: an unchanged notebook keeps its age.
        shutil.copy2(source / name, target / name)


def copy_results(app: Sphinx, config: object) -> None:
    """Copy the pages and pictures of what was measured to where Sphinx looks for pages, links and all."""
    source, target = DOCS.parent / "inference", Path(app.srcdir) / "results"
    (target / "figures").mkdir(parents=True, exist_ok=True)
    for picture in (source / "figures").glob("*.png"):
        shutil.copy2(picture, target / "figures" / picture.name)
    for page in RESULTS:
        path = source / page
        if path.exists():
            text = path.read_text(encoding="utf-8")
            for other in RESULTS:
                text = text.replace(f"]({other})", f"]({Path(other).name})")
            copied = target / path.name
            # An unchanged page keeps its age, or Sphinx would read it again.
            if not copied.exists() or copied.read_text(encoding="utf-8") != text:
                copied.write_text(text, encoding="utf-8")


def readable_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write a signature as Sphinx can read it: aliases within unions, and the defaults of dataclasses."""
    texts = [text and ALIAS.sub(r"~\1", text) for text in (arguments, returns)]
    texts = [
        text and re.sub(r"(?<![\w.~])pandas\.", "~pandas.", text) for text in texts
    ]
    return texts[0] and texts[0].replace("<factory>", "..."), texts[1]


def find_reexported(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a name of ib_pyro that is documented once, from whatever module the text takes it."""
    package, name = (
        node["reftarget"].partition(".")[0],
        node["reftarget"].rpartition(".")[2],
    )
    if node.get("refdomain") != "py" or package not in ("ib_pyro", name):
        return None
    objects = env.domains.python_domain.objects
    # A name of the package itself is where it comes from; others may have such a name too.
    ending = (
        f"ib_pyro.{HOMES[name]}.{name}"
        if node["reftarget"] == f"ib_pyro.{name}" and name in HOMES
        else f".{name}"
    )
    found = {
        entry.docname: entry for full, entry in objects.items() if full.endswith(ending)
    }
    found = {doc: entry for doc, entry in found.items() if doc.startswith("api/")}
    if len(found) != 1:
        return None
    ((docname, entry),) = found.items()
    return make_refnode(app.builder, node["refdoc"], docname, entry.node_id, content)


def find_elsewhere(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a name of others: as it is written in full, or as this package imports it."""
    name = SHORT_NAMES.get(node["reftarget"], node["reftarget"])
    if node.get("refdomain") != "py" or name not in ELSEWHERE:
        return None
    package = name.partition(".")[0]
    return nodes.reference(
        "", "", content, refuri=ELSEWHERE[name], reftitle=f"in {package}"
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is above with Sphinx."""
    app.connect("config-inited", copy_notebooks)
    app.connect("config-inited", copy_results)
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("missing-reference", find_reexported)
    app.connect("missing-reference", find_elsewhere)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

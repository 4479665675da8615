"""The information bottleneck as probabilistic programs in Pyro."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ib_pyro._version import __version__

if TYPE_CHECKING:
    from ib_pyro.bottleneck import Bottleneck
    from ib_pyro.choosing import choose_beta
    from ib_pyro.elbo import InformationBottleneckELBO
    from ib_pyro.export import elpd, to_arviz
    from ib_pyro.handlers import noise_off
    from ib_pyro.saving import load, save
    from ib_pyro.side_by_side import sweep
    from ib_pyro.training import evaluate, fit

__all__ = [
    "Bottleneck",
    "InformationBottleneckELBO",
    "__version__",
    "choose_beta",
    "elpd",
    "evaluate",
    "fit",
    "load",
    "noise_off",
    "save",
    "sweep",
    "to_arviz",
]

SUBMODULES = frozenset(
    {
        "atoms",
        "attribution",
        "batch_norm",
        "bounds",
        "buffers",
        "capture",
        "checks",
        "choices",
        "choosing",
        "closed_forms",
        "data",
        "dependence",
        "diagnostics",
        "distributions",
        "elbo",
        "encoding",
        "export",
        "files",
        "handlers",
        "information",
        "inputs",
        "inserted",
        "likelihoods",
        "nn",
        "observing",
        "oracle",
        "parameters",
        "particles",
        "plain_values",
        "plots",
        "precision",
        "priors",
        "provenance",
        "pseudo_inputs",
        "rates",
        "run_tables",
        "saving",
        "side_by_side",
        "sites",
        "subsamples",
        "tensor_files",
        "testing",
        "traces",
        "training",
        "vector_math",
    }
)


# Where a name of the package itself comes from.
HOMES = {
    "Bottleneck": "bottleneck",
    "InformationBottleneckELBO": "elbo",
    "choose_beta": "choosing",
    "elpd": "export",
    "evaluate": "training",
    "fit": "training",
    "load": "saving",
    "noise_off": "handlers",
    "save": "saving",
    "sweep": "side_by_side",
    "to_arviz": "export",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a submodule, or what it has
    """Import what is looked at when it first is: PyTorch takes seconds, and not everybody needs it."""
    if name in SUBMODULES:
        return import_module(f"ib_pyro.{name}")
    if name in HOMES:
        globals()[name] = getattr(import_module(f"ib_pyro.{HOMES[name]}"), name)
        return globals()[name]
    raise AttributeError(
        f"module 'ib_pyro' has no attribute {name!r}; it has {sorted({*__all__, *SUBMODULES})}"
    )


def __dir__() -> list[str]:
    # What a reader may look for, and not what this file has beside it.
    return sorted({*__all__, *SUBMODULES, *(name for name in globals() if name.startswith("__"))})

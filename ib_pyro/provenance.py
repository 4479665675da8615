"""Who made a result, with which code and versions, and at which beta: what stands in files beside the numbers."""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ib_pyro._version import __version__

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["beta_attributes", "revision", "version_attributes", "versions"]


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of Python and of packages that numbers depend on; None where one is not installed.

    >>> sorted(versions("torch", "no-such-package"))
    ['no-such-package', 'python', 'torch']
    """
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def revision(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository that a folder of code lies in, and whether files of it were changed since.

    Args:
        folder: Where the code that made the result lies.

    Returns:
        ``{"commit": ..., "dirty": ...}``, or None outside of a repository or without git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def version_attributes() -> dict[str, str]:
    """Return who made a result, when, and with which versions, under the names that ArviZ reads."""
    libraries = {"inference_library": "pyro-ppl", "torch": "torch", "arviz": "arviz"}
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "creation_library": "ib_pyro",
        "creation_library_version": __version__,
        "inference_library": "pyro",
        **{f"{name}_version": _version(package) or "unknown" for name, package in libraries.items()},
    }


def beta_attributes(
    beta: "float | Tensor | Mapping[str, float | Tensor] | None", num_data: int | None
) -> dict[str, Any]:
    """Return beta per sample in nats, and ``beta_paper = beta * num_data`` where that is known.

    Args:
        beta: A number, a tensor or a mapping of sites, whose attributes end in the site's name.
        num_data: Number of training samples.

    Raises:
        ValueError: If beta is no weight of a rate.
    """
    # They import PyTorch, and who asks for a version does not need it.
    import numpy as np
    from torch import Tensor

    from ib_pyro.elbo.weights import check_weight

    if beta is None:
        return {}
    check_weight(beta, "beta")
    weights = {f"_{site}": b for site, b in beta.items()} if isinstance(beta, Mapping) else {"": beta}
    attrs: dict[str, Any] = {"beta_unit": "beta: per sample, in nats; beta_paper: beta times num_data"}
    for suffix, weight in weights.items():
        value = weight.tolist() if isinstance(weight, Tensor) else float(weight)
        attrs[f"beta{suffix}"] = value
        if num_data is not None:
            attrs[f"beta_paper{suffix}"] = (np.asarray(value) * num_data).tolist()
    return attrs


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

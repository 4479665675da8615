"""What stands in the attributes of a result: who made it, and with what."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from torch import Tensor

from ib_pyro._version import __version__
from ib_pyro.elbo.weights import Weight, check_weight

__all__ = ["beta_attributes", "version_attributes"]


def version_attributes() -> dict[str, str]:
    """Return who made the result, when, and with which versions."""
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "creation_library": "ib_pyro",
        "creation_library_version": __version__,
        "inference_library": "pyro",
        "inference_library_version": version("pyro-ppl"),
        "torch_version": version("torch"),
        "arviz_version": version("arviz"),
    }


def beta_attributes(beta: Weight | None, num_data: int | None) -> dict[str, Any]:
    """Return beta per sample in nats, and ``beta_paper = beta * num_data`` where that is known.

    Args:
        beta: A number, a tensor or a mapping of sites, whose attributes end in the site's name.
        num_data: Number of training samples.
    """
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

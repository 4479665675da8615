"""Effect handlers for noisy representations."""

from collections.abc import Iterator
from typing import Any

from pyro.distributions import MaskedDistribution
from pyro.distributions.torch_distribution import ExpandedDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Distribution, Independent

__all__ = ["noise_off", "unwrap"]


def unwrap(fn: Distribution) -> Distribution:
    """Return the distribution inside of any ``to_event``, ``mask`` and ``expand`` wrappers."""
    # By type: other distributions, such as transformed ones, have a base_dist that is not the same law.
    while isinstance(fn, Independent | MaskedDistribution | ExpandedDistribution):
        fn = fn.base_dist
    return fn


class noise_off(Messenger):  # noqa: N801  (handlers read as verbs, as Pyro's do)
    """Replace the noise of every noisy site by eps = 1, so that ``z = f(x)``.

    Works on any sample site whose distribution has an attribute ``noise_free``, the value of z without noise:
    all distributions of :mod:`ib_pyro.distributions` that multiply an activation. Other sites, and priors, are
    left alone. It is a switch of the noise only: batch norm has its own, ``program.train()`` and ``.eval()``.

    >>> import torch
    >>> from ib_pyro.nn import InformationDropout
    >>> layer = InformationDropout.linear(3, 2)
    >>> with noise_off():
    ...     torch.equal(layer(torch.ones(1, 3)), layer(torch.ones(1, 3)))
    True
    """

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["done"] or msg["is_observed"]:
            return
        value = getattr(unwrap(msg["fn"]), "noise_free", None)
        if value is not None:
            # The site's own shape: a wrapper may have expanded the distribution beyond the activation.
            msg["value"] = value.expand(msg["fn"].shape())
            msg["done"] = True


class SiteRecorder(Messenger):
    """Collect the value of every sample site that runs inside, by name, in order of execution."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        self.values[msg["name"]] = msg["value"]

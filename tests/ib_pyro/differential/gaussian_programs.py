"""Random linear-Gaussian specifications as Pyro programs, and their expected loss without Monte Carlo error."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor

from tests.ib_pyro.differential.grammar import Conditional, Site, Spec

__all__ = ["GaussianProgram", "expected_loss"]

NORMALS = ("torch.distributions.normal", "torch.distributions.multivariate_normal")


class GaussianProgram:
    """A specification's model and guide, with its numbers as leaf tensors."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.leaves = {
            name: torch.as_tensor(value).clone().requires_grad_(not name.startswith("y "))
            for name, value in spec.arrays.items()
        }

    def model(self) -> None:
        """Sample the latents in the model's order, and observe the data."""
        values: dict[str, Tensor] = {}
        for name, law in self.spec.model.items():
            site = self.spec.sites[name]
            data = _shaped(self.leaves[f"y {name}"], site) if name in self.spec.observed else None
            with self._around(site, on_side="model"):
                values[name] = pyro.sample(name, self._law("model", site, law, values), obs=data)

    def guide(self) -> None:
        """Sample the latents in the guide's order."""
        values: dict[str, Tensor] = {}
        for name, law in self.spec.guide.items():
            site = self.spec.sites[name]
            with self._around(site, on_side="guide"):
                if law.point:
                    values[name] = self._point(site, law, values)
                else:
                    infer = {"is_auxiliary": True} if name not in self.spec.model else {}
                    values[name] = pyro.sample(name, self._law("guide", site, law, values), infer=infer)

    def _law(
        self, side: str, site: Site, law: Conditional, values: Mapping[str, Tensor]
    ) -> dist.TorchDistribution:
        mean = self._mean(side, site, law, values)
        scale = self.leaves[f"{side} log_s {site.name}"].exp()
        if law.wrap == "full covariance":
            scale_tril = torch.diag(scale)
            if side == "guide":
                scale_tril = scale_tril + self.leaves[f"guide L {site.name}"]
            return dist.MultivariateNormal(mean, scale_tril=scale_tril)
        normal = dist.Normal(_shaped(mean, site), _shaped(scale, site))
        return _wrapped(normal, site, law.wrap)

    def _point(self, site: Site, law: Conditional, values: Mapping[str, Tensor]) -> Tensor:
        """``z = mean + s u`` for a standard normal auxiliary u, as a ``Delta`` with the log-density ``-log s``."""
        noise = dist.Normal(_shaped(torch.zeros(site.width), site), torch.ones(()))
        noise = noise.to_event(1) if site.shape == "event" else noise
        u = pyro.sample(f"{site.name}_noise", noise, infer={"is_auxiliary": True})
        log_s = _shaped(self.leaves[f"guide log_s {site.name}"], site)
        mean = _shaped(self._mean("guide", site, law, values), site)
        return pyro.sample(
            site.name, _wrapped(dist.Delta(mean + log_s.exp() * u, log_density=-log_s), site, law.wrap)
        )

    def _mean(self, side: str, site: Site, law: Conditional, values: Mapping[str, Tensor]) -> Tensor:
        mean = self.leaves[f"{side} b {site.name}"]
        for parent in law.parents:
            mean = mean + self.leaves[f"{side} W {site.name} {parent}"] @ values[parent].reshape(-1)
        return mean

    @contextmanager
    def _around(self, site: Site, *, on_side: str) -> Iterator[None]:
        with ExitStack() as stack:
            if site.shape == "plate":
                size = round(3 * self.spec.plate_factor)
                stack.enter_context(pyro.plate(f"plate of {site.name}", size, subsample=torch.arange(3)))
            if site.scale is not None:
                stack.enter_context(poutine.scale(scale=site.scale))
            if site.mask is not None:
                stack.enter_context(poutine.mask(mask=torch.tensor(site.mask)))
            if site.fault == "scale" and on_side == "guide":
                stack.enter_context(poutine.scale(scale=0.7))
            if site.fault == "mask" and on_side == "model":
                stack.enter_context(poutine.mask(mask=False))
            yield


def expected_loss(elbo: ELBO, program: GaussianProgram) -> tuple[float, dict[str, np.ndarray]]:
    """The expectation of an ELBO's loss and gradient over the guide's noise, exact for linear-Gaussian programs.

    There they are polynomials of degree two in the D standard normal draws, whose expectation is the mean over the 2 D
    points ``±sqrt(D) e_i``: a cubature rule of degree three.
    """
    total = _count_noise(program.guide)
    points = total**0.5 * torch.cat([torch.eye(total), -torch.eye(total)])
    leaves = {name: leaf for name, leaf in program.leaves.items() if leaf.requires_grad}
    loss = torch.zeros(())
    for point in points:
        with _noise(_Stream(point)):
            loss = loss + elbo.differentiable_loss(program.model, program.guide) / len(points)
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return loss.item(), {
        name: np.zeros(leaf.shape) if gradient is None else gradient.numpy()
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }


class _Stream:
    """Hands out the entries of a vector as the draws of standard normals; counts where it has none."""

    def __init__(self, values: Tensor | None = None) -> None:
        self.values, self.used = values, 0

    def __call__(self, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        if self.values is not None and self.used == len(self.values):
            self.used = 0  # a guide that runs once more sees the same noise
        start, self.used = self.used, self.used + torch.Size(shape).numel()
        if self.values is None:
            return torch.zeros(shape, dtype=dtype, device=device)
        return self.values[start : self.used].reshape(shape)


@contextmanager
def _noise(stream: _Stream) -> Iterator[None]:
    with ExitStack() as stack:
        for module in NORMALS:
            stack.enter_context(mock.patch(f"{module}._standard_normal", stream))
        yield


def _count_noise(guide: Callable[[], None]) -> int:
    stream = _Stream()
    with _noise(stream), poutine.block():
        poutine.trace(guide).get_trace()
    return stream.used


def _shaped(flat: Tensor, site: Site) -> Tensor:
    return flat[0] if site.shape == "scalar" else flat


def _wrapped(law: dist.TorchDistribution, site: Site, wrap: str) -> dist.TorchDistribution:
    if wrap == "expanded":
        law = law.expand(law.batch_shape)
    if site.shape == "event":
        law = law.to_event(1)
    if wrap == "in two steps":
        law = law.to_event(0)
    return law.mask(True) if wrap == "masked by True" else law

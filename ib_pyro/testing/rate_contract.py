"""What a registered KL divergence owes: it is the mean of log p - log q over draws, in a plate too."""

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import kl_divergence

from ib_pyro.handlers import unwrap
from ib_pyro.testing.requirements import parameter_tensors, require, says, undisturbed, with_leaves

__all__ = ["check_rate"]


def check_rate(
    posterior: TorchDistributionMixin,
    prior: TorchDistributionMixin,
    *,
    num_draws: int = 10_000,
    tolerance: float = 0.0,
    seed: int = 0,
) -> None:
    """Raise unless ``KL(posterior || prior)`` is registered, and is the mean of ``log p - log q`` over draws of z.

    Compared element by element of the batch, within five standard errors. It is also found after ``expand``, as in a
    plate, has the type of the parameters, and, where it is finite for all elements, finite gradients.

    Args:
        posterior: p, from which z is drawn.
        prior: q, with the same event dimensions; it need not be proper.
        num_draws: Number of draws of z.
        tolerance: Nats per element of z by which a divergence that is an approximation may be off besides.
        seed: Seed of the draws. The state of PyTorch's generators is restored.

    Raises:
        AssertionError: Says what is not as it should be, and the way out.

    >>> import pyro.distributions as dist
    >>> check_rate(dist.Normal(torch.zeros(3), 0.5), dist.Normal(0.0, 1.0))
    """
    p, q = type(unwrap(posterior)).__name__, type(unwrap(prior)).__name__
    name = f"KL({p} || {q})"
    with undisturbed(seed):
        closed = _closed_form(name, f"@register_kl({p}, {q})", posterior, prior)
        with says(f"{name}: log p - log q cannot be computed at draws of p"), torch.no_grad():
            z = posterior.sample(torch.Size([num_draws]))
            sampled = posterior.log_prob(z).double() - prior.log_prob(z).double()
        # At an atom of p the ratio to a density is no ratio of one measure, and finite where the divergence is not.
        on_atom = (z[0] == z[1]).reshape(*posterior.batch_shape, -1).any(-1)
        _compare(name, closed.detach().double(), sampled, on_atom, tolerance * posterior.event_shape.numel())
        _check_expansion(name, posterior, prior, closed)
        if closed.isfinite().all():
            _check_gradients(name, posterior, prior)


def _closed_form(
    name: str, register: str, posterior: TorchDistributionMixin, prior: TorchDistributionMixin
) -> Tensor:
    try:
        with says(f"{name} fails"):
            closed = kl_divergence(posterior, prior)
    except AssertionError as error:
        if isinstance(error.__cause__, NotImplementedError):
            raise AssertionError(
                f"{name} is not registered ({error.__cause__}); write it under {register}"
            ) from error
        raise
    shape = torch.broadcast_shapes(posterior.batch_shape, prior.batch_shape)
    require(
        closed.shape == shape,
        f"{name} has shape {tuple(closed.shape)} instead of the batch shape {tuple(shape)}; it is elementwise, and "
        "summed over the event",
    )
    dtypes = {v.dtype for fn in (posterior, prior) for v in parameter_tensors(unwrap(fn)).values()}
    require(
        not dtypes or closed.dtype in dtypes,
        f"{name} has the type {closed.dtype}, its parameters {sorted(map(str, dtypes))}; make constants from them",
    )
    require(not closed.isnan().any(), f"{name} is NaN")
    return closed


def _compare(name: str, closed: Tensor, sampled: Tensor, on_atom: Tensor, tolerance: float) -> None:
    mean, error = sampled.mean(0), sampled.std(0) / len(sampled) ** 0.5
    infinite = closed.isinf()
    require(
        not ((infinite ^ mean.isinf()) & ~(infinite & on_atom)).any(),
        f"{name} is infinite where the mean of log p - log q over {len(sampled)} draws is not, or the other way round "
        f"({closed.flatten()[:5].tolist()} and {mean.flatten()[:5].tolist()}, first elements)",
    )
    allowed = 5 * error + tolerance + 1e-5 * (1 + closed.abs())
    off = ((closed - mean).abs() > allowed) & ~infinite
    if off.any():
        index = int(off.flatten().nonzero()[0])
        value, wanted, spread = (t.flatten()[index].item() for t in (closed, mean, error))
        raise AssertionError(
            f"{name} is {value:.6g} nats, but the mean of log p - log q over {len(sampled)} draws is {wanted:.6g} +- "
            f"{spread:.2g} (element {index}); look at its constants and signs, or allow for an approximation by "
            "`tolerance`"
        )


def _check_gradients(name: str, posterior: TorchDistributionMixin, prior: TorchDistributionMixin) -> None:
    (p, of_p), (q, of_q) = with_leaves(posterior), with_leaves(prior)
    with says(f"{name} has no gradient"):
        closed = kl_divergence(p, q).sum()
        if closed.requires_grad:
            closed.backward()
    for side, leaves in (("p", of_p), ("q", of_q)):
        for parameter, leaf in leaves.items():
            off = ~(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).isfinite()
            require(
                not off.any(),
                f"{name}: its gradient in the {parameter} of {side} is not finite ({int(off.sum())} of {off.numel()}) "
                "though it is itself; mask what a function cannot take before it is applied",
            )


def _check_expansion(
    name: str, posterior: TorchDistributionMixin, prior: TorchDistributionMixin, closed: Tensor
) -> None:
    with says(f"{name} is not found after expand, as in a plate"):
        wide = kl_divergence(*(fn.expand(torch.Size([2, *closed.shape])) for fn in (posterior, prior)))
    require(
        wide.shape == (2, *closed.shape)
        and torch.allclose(wide[1].to(closed.dtype), closed, rtol=1e-4, atol=1e-5),
        f"{name} is another after expand, as in a plate",
    )

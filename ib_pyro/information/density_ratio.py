"""Total correlation by telling samples from permuted samples: a density-ratio critic."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro.precision import single_or_wider, without_autocast

__all__ = ["DensityRatioCritic", "critic_loss", "critic_step", "critic_total_correlation", "permute_dims"]


class DensityRatioCritic(nn.Module):
    r"""Network whose logit estimates :math:`\log q(z) - \sum_j \log q(z_j)`.

    Trained by :func:`critic_step` to tell samples of :math:`q(z)` from samples of the product of the
    marginals; at the optimum the logit *is* the log-ratio (Kim & Mnih 2018, FactorVAE, eq. 3).

    Args:
        num_units: Number of units d of z, flattened.
        hidden: Widths of the hidden layers, with leaky ReLUs between.
    """

    def __init__(self, num_units: int, *, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        if num_units < 1:
            raise ValueError(f"num_units must be at least 1; got {num_units}")
        widths = (num_units, *hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, z: Tensor) -> Tensor:
        """Logits ``[B]`` in nats of the samples ``[B, ...]``."""
        return self.network(z).squeeze(-1)


def permute_dims(z: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Samples of the product of the marginals: each unit is permuted over the batch on its own.

    Kim & Mnih (2018), algorithm 1.

    Args:
        z: Samples ``[B, ...]``.
        generator: Source of the permutations, on the device of ``z``; torch's ambient one if None.

    Returns:
        The same numbers, every unit's in another order, ``[B, ...]``. Differentiable.
    """
    keys = torch.rand(z.shape, generator=generator, device=z.device)
    return z.gather(0, keys.argsort(0))


def critic_loss(logits_joint: Tensor, logits_product: Tensor) -> Tensor:
    r"""Logistic loss of a critic that tells the joint from the product of the marginals.

    .. math::
        -\tfrac12 E_{q(z)} \log \sigma(T(z)) - \tfrac12 E_{\prod_j q(z_j)} \log (1 - \sigma(T(z)))

    minimal at the log-ratio T, where it is :math:`\log 2` minus the Jensen-Shannon divergence. A value of
    log 2 says that the critic sees no dependence.

    Args:
        logits_joint: T at samples of z, any shape.
        logits_product: T at samples of the product of the marginals, any shape.

    Returns:
        Scalar, nats per sample, in the type of the logits, but float32 for the half types.
    """
    logits_joint, logits_product = single_or_wider(logits_joint), single_or_wider(logits_product)
    return 0.5 * (F.softplus(-logits_joint).mean() + F.softplus(logits_product).mean())


def critic_total_correlation(critic: nn.Module, z: Tensor) -> Tensor:
    r"""Total correlation :math:`E_{q(z)}[T(z)]` as the critic sees it, to be minimised over z.

    Gradients reach ``z`` and not the critic's parameters, so that one backward pass of a loss that
    contains it leaves the critic alone.

    Args:
        critic: Module from ``[B, ...]`` to logits ``[B]``.
        z: Samples ``[B, ...]``.

    Returns:
        Scalar, nats per sample, in the type of the critic's parameters, but float32 for the half types: a critic of
        such a type is computed in float32, outside of autocast. Neither a lower nor an upper bound.
    """
    named = [*critic.named_parameters(), *critic.named_buffers()]
    frozen = {name: single_or_wider(value.detach()) for name, value in named}
    with without_autocast(z.device):
        logits = torch.func.functional_call(critic, frozen, (_as_critics(z, frozen.values()),))
        return single_or_wider(logits).mean()


def critic_step(
    critic: nn.Module,
    optimizer: torch.optim.Optimizer,
    z: Tensor,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Train the critic by one step on the samples at hand, alongside the training of the program.

    Args:
        critic: Module from ``[B, ...]`` to logits ``[B]``.
        optimizer: Optimiser over the critic's parameters only.
        z: Samples ``[B, ...]`` of the program; detached, so the program gets no gradient.
        generator: See :func:`permute_dims`.

    Returns:
        The detached loss before the step, nats per sample (scalar); see :func:`critic_loss` for its type.
    """
    z = _as_critics(z.detach(), critic.parameters())
    optimizer.zero_grad(set_to_none=True)
    with torch.enable_grad(), without_autocast(z.device):
        loss = critic_loss(critic(z), critic(permute_dims(z, generator=generator)))
    loss.backward()
    optimizer.step()
    return loss.detach()


def _as_critics(z: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Samples in the type of the critic's parameters; in float32 at least if it has none."""
    first = next((value for value in parameters if value.is_floating_point()), None)
    return single_or_wider(z) if first is None else z.to(first.dtype)

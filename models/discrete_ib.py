r"""A program with a discrete representation, whose Lagrangian Tishby's iterations bound from below.

Generative process, for each of N pairs of symbols x and y::

    z1 ~ OneHotCategorical(q)
    y  ~ Categorical(p(y | z1))

Guide, a table of ``p(z|x)``::

    z1 ~ OneHotCategorical(p(z1 | x))

with the tables p(z|x), p(y|z) and q learned. With decoder and prior at their optima the Lagrangian is
``H(y) - I(z; y) + beta I(x; z)`` (Tishby, Pereira & Bialek 1999): :func:`ib_pyro.oracle.discrete_ib` but for H(y).

A draw of z carries the gradient of its probabilities straight through. That is usually biased; here it is exact, since
the log-likelihood is linear in the one-hot z: its gradient does not depend on which z was drawn.
"""

import torch
from pyro.distributions import Categorical, OneHotCategorical, OneHotCategoricalStraightThrough
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.nn import functional as F
from torch.types import _size

from ib_pyro import Bottleneck
from ib_pyro.nn import StochasticLayer

__all__ = ["CategoricalCode", "DiscreteBottleneck"]


class CategoricalCode(StochasticLayer):
    """A one-hot z with probabilities given x, under a categorical prior that is learned.

    Args:
        logits: Network from x to the logits of p(z|x), ``[batch, num_states]``.
        num_states: Number of values of z.
        name: Name of the site.
    """

    def __init__(self, logits: nn.Module, num_states: int, *, name: str | None = None) -> None:
        super().__init__(logits, activation="identity", event_dim=1, name=name)
        self.prior_logits = nn.Parameter(torch.zeros(num_states))

    def posterior(self, x: Tensor) -> OneHotCategoricalStraightThrough:
        """Return ``p(z|x)``, whose event is the one-hot vector."""
        return _OneHotCode(logits=self.activation_of(x))

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return the learned categorical prior."""
        return OneHotCategorical(logits=self.prior_logits)


class _OneHotCode(OneHotCategoricalStraightThrough):
    """The law whose draws PyTorch makes with a look at their values, which no graph can be captured with; the same."""

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        index = Categorical(logits=self.logits, validate_args=False).sample(sample_shape)
        return torch.zeros_like(self.logits.expand(*index.shape, -1)).scatter(-1, index.unsqueeze(-1), 1.0)


class _Table(nn.Module):
    """Rows ``log p(y|z)``, picked by a one-hot z."""

    def __init__(self, num_states: int, num_y: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_states, num_y))

    def forward(self, z: Tensor) -> Tensor:
        return z @ F.log_softmax(self.logits, -1)


class _PickedCategorical(Categorical):
    """A categorical whose log probabilities are taken as they are: normalising them again would bend them in z."""

    def __init__(self, log_probs: Tensor, *, validate_args: bool | None = None) -> None:
        self.log_probs = log_probs
        super().__init__(logits=log_probs, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "_PickedCategorical":
        return _PickedCategorical(self.log_probs.expand(*batch_shape, -1), validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.log_probs.gather(-1, value.unsqueeze(-1)).squeeze(-1)


def DiscreteBottleneck(  # noqa: N802  (a program's constructor reads as a class)
    num_x: int, num_y: int, num_states: int | None = None
) -> Bottleneck:
    """Build the discrete program with the noisy site ``z1``.

    Args:
        num_x: Number of values of x.
        num_y: Number of values of y.
        num_states: Number of values of z; by default as many as x, which always suffices.

    Returns:
        A :class:`ib_pyro.Bottleneck`, called as ``program.model(x, y)`` with whole numbers x ``[N]`` and y ``[N]``.
    """
    states = num_x if num_states is None else num_states
    encoder = CategoricalCode(nn.Embedding(num_x, states), states)
    return Bottleneck(encoder, _Table(states, num_y), likelihood=_PickedCategorical)

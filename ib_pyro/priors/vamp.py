"""The aggregate of the encoder's posteriors at learned pseudo-inputs as a prior."""

from typing import NoReturn

import torch
from pyro.distributions import Categorical, MixtureSameFamily
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

__all__ = ["VampPrior"]


class VampPrior(nn.Module):
    r"""The mixture of posteriors at K pseudo-inputs, ``q(z) = sum_k pi_k p(z | u_k)``.

    Tomczak & Welling (2018), "VAE with a VampPrior", arXiv:1705.07120: an approximation of the aggregate
    posterior, under which the ELBO is largest, by K inputs that are learned instead of the N of the set. The
    pseudo-inputs go through the encoder of the program that the layer is in, so that a program alone has this prior.
    They do so in evaluation mode: batch norm has its running statistics, and ordinary dropout is off.

    A module, given to the layer that is first in an encoder as ``prior=``. The rate has no closed form; ask for that
    at the draw, ``InformationBottleneckELBO(on_no_closed_form="monte-carlo")``.

    Args:
        pseudo_inputs: Where ``u`` starts, ``[K, ...]``, of the shape of K inputs of the program: samples of the
            training set, or their mean with noise.
        learned: Learn the pseudo-inputs, or keep them as they are.
        weighted: Learn the weights pi too; by default all are 1 / K.
        bounds: Range that u is kept in, such as ``(0.0, 1.0)`` for images; by default there is none.

    Raises:
        ValueError: If there is no pseudo-input, or the range is empty.

    Example:
        >>> from ib_pyro import Bottleneck, InformationBottleneckELBO
        >>> from ib_pyro.nn import AdditiveNormal
        >>> x = torch.rand(20, 4)
        >>> layer = AdditiveNormal.linear(4, 2, prior=VampPrior(x[:5]))
        >>> program = Bottleneck(layer, nn.Linear(2, 4), likelihood="normal")
        >>> elbo = InformationBottleneckELBO(on_no_closed_form="monte-carlo")
        >>> elbo.terms(program.model, program.guide, x, x).estimator
        {'z1': 'monte-carlo'}
    """

    def __init__(
        self,
        pseudo_inputs: Tensor,
        *,
        learned: bool = True,
        weighted: bool = False,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(pseudo_inputs, Tensor) or pseudo_inputs.dim() < 2 or not len(pseudo_inputs):
            shape = tuple(getattr(pseudo_inputs, "shape", ()))
            raise ValueError(
                f"pseudo_inputs must be a tensor [K, ...] of inputs of the program, at least one; got shape {shape}"
            )
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds must be a range, as (0.0, 1.0); got {bounds}")
        if learned and not pseudo_inputs.is_floating_point():
            raise ValueError(
                f"pseudo_inputs are {pseudo_inputs.dtype}, which cannot be learned; pass real numbers, or "
                f"learned=False"
            )
        self.bounds = bounds
        values = pseudo_inputs.detach().clone()
        if learned:
            self.pseudo_inputs = nn.Parameter(values)
        else:
            self.register_buffer("pseudo_inputs", values)
        logits = torch.zeros(len(values))
        if weighted:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits, persistent=False)

    pseudo_inputs: Tensor
    logits: Tensor

    @property
    def inputs(self) -> Tensor:
        """The pseudo-inputs within their range, ``[K, ...]``."""
        return self.pseudo_inputs if self.bounds is None else self.pseudo_inputs.clamp(*self.bounds)

    def mixture_of(
        self, posterior: TorchDistributionMixin, event_shape: torch.Size
    ) -> TorchDistributionMixin:
        """Return q(z).

        Args:
            posterior: ``p(z | u_k)`` of every pseudo-input, of batch shape ``[K]``.
            event_shape: Shape of one sample of z, as the program's inputs have it.

        Raises:
            ValueError: If the posterior is of another shape.
        """
        if posterior.batch_shape != self.logits.shape or posterior.event_shape != torch.Size(event_shape):
            raise ValueError(
                f"the {len(self.logits)} pseudo-inputs have posteriors of batch shape {tuple(posterior.batch_shape)} "
                f"and event shape {tuple(posterior.event_shape)}, but one sample of z has shape {tuple(event_shape)}; "
                "give pseudo-inputs the shape of the program's inputs"
            )
        weights = Categorical(logits=self.logits, validate_args=False)
        return MixtureSameFamily(weights, posterior, validate_args=False)

    def forward(self, event_shape: torch.Size) -> NoReturn:
        """Refuse: q(z) is known where the encoder is.

        Args:
            event_shape: Shape of one sample of z.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "a VampPrior is made of the encoder's posteriors at its pseudo-inputs, which the layer alone does not "
            "know; run the model of a Bottleneck that holds the layer, or give the layer a MixturePrior"
        )

    def extra_repr(self) -> str:
        """Name the number of pseudo-inputs and their range."""
        return f"{len(self.logits)} pseudo-inputs {tuple(self.pseudo_inputs.shape[1:])}, bounds={self.bounds}"

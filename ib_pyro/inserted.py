"""The program of a network that exists, with noisy layers inserted."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from torch import nn

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.likelihoods import Likelihood, warn_if_squashed
from ib_pyro.nn.insertion import Insertion
from ib_pyro.nn.stochastic import StochasticLayer

__all__ = ["InsertedBottleneck"]


class InsertedBottleneck(Bottleneck):
    """A :class:`~ib_pyro.Bottleneck` around a network that exists; :func:`ib_pyro.nn.insert` makes one.

    The network runs once an evaluation of a loss, in the guide; a model that has other values than those of the
    guide's pass runs it again, with these.

    Args:
        encoder: The network with its layers.
        likelihood: As for :class:`~ib_pyro.Bottleneck`.
        **options: Its other options.
    """

    encoder: Insertion

    def __init__(
        self,
        encoder: Insertion,
        likelihood: str | Likelihood | Mapping[str, str | Likelihood] = "categorical",
        **options: Any,
    ) -> None:
        super().__init__(encoder, None, likelihood, **options)
        self._is_removed = False

    @property
    def network(self) -> nn.Module:
        """The network itself, without the layers."""
        return self.encoder.network

    def remove(self) -> nn.Module:
        """End the program, and return the network as it was before, in its gradients and modes too."""
        self.encoder.thaw()
        self._is_removed = True
        return self.network

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _encode(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (as the program's)
        if self._is_removed:
            raise RuntimeError(
                f"the layers {list(self.encoder.places)} were removed from the network; insert them anew, with "
                "insert(network, layers)"
            )
        return super()._encode(*args, **kwargs)


def insert(
    network: nn.Module,
    layers: Mapping[str, StochasticLayer],
    likelihood: str | Likelihood | Mapping[str, str | Likelihood] = "categorical",
    *,
    batch_dim: int | Mapping[str, int] = 0,
    frozen: bool = False,
    conditional: bool = False,
    **options: Any,
) -> InsertedBottleneck:
    """Make a program of a network that exists, with noisy layers behind some of its modules.

    ``insert(resnet, {"layer3": InformationDropout.after(256, "image")})`` is a :class:`~ib_pyro.Bottleneck` with the
    site ``layer3``: its guide runs the network, and its model goes on from the values. See :class:`Insertion` for what
    a place is. The network stays as it is, and may be used beside the program.

    Args:
        network: The network, trained or not. What it returns is the likelihood's parameter, such as logits.
        layers: The layer for each place.
        likelihood: As for :class:`~ib_pyro.Bottleneck`; a function takes the network's output apart if it is no
            tensor.
        batch_dim: Dimension of the batch at the places, one for all or by place.
        frozen: Train the layers alone; see :class:`Insertion`.
        conditional: Let x reach the output beside the sites too, as by a residual connection around a place; see
            :class:`~ib_pyro.Bottleneck`.
        **options: Other options of :class:`~ib_pyro.Bottleneck`: ``num_data``, ``class_weights``.

    Returns:
        The program. Its ``remove()``, and the end of a ``with`` block, put the network back as it was.

    Raises:
        TypeError: If something else than a layer is to be inserted.
        ValueError: If a module does not exist, or a layer is in two places.

    Example:
        >>> import torch
        >>> from ib_pyro.nn import AdditiveNormal
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        >>> program = insert(network, {"1": AdditiveNormal.after(8)}, frozen=True)
        >>> program.predict(torch.rand(5, 4)).shape, list(program.stochastic_layers)
        (torch.Size([5, 3]), ['1'])
    """
    encoder = Insertion(network, layers, batch_dim=batch_dim, frozen=frozen)
    warn_if_squashed(network, likelihood, stacklevel=2)
    return InsertedBottleneck(encoder, likelihood, conditional=conditional, **options)

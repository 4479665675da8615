"""The program of a network that exists, with noisy layers inserted."""

from types import TracebackType
from typing import Any, Self

from torch import nn

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.likelihoods import Likelihood
from ib_pyro.nn.insertion import Insertion

__all__ = ["InsertedBottleneck"]


class InsertedBottleneck(Bottleneck):
    """A :class:`~ib_pyro.Bottleneck` around a network that exists; :func:`ib_pyro.nn.insert` makes one.

    The network runs once an evaluation of a loss, in the guide; a model that has other values than those of the
    guide's pass runs it again, with these.

    Args:
        encoder: The network with its layers.
        likelihood: As for :class:`~ib_pyro.Bottleneck`.
        conditional: Likewise.
        num_data: Likewise.
    """

    encoder: Insertion

    def __init__(
        self,
        encoder: Insertion,
        likelihood: str | Likelihood = "categorical",
        *,
        conditional: bool = False,
        num_data: int | None = None,
    ) -> None:
        super().__init__(encoder, None, likelihood, conditional=conditional, num_data=num_data)
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

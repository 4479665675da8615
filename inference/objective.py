"""The mean Lagrangian of a batch, and the sums that its metrics are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ib_pyro.elbo import InformationBottleneckELBO

__all__ = ["Objective"]


class Objective(nn.Module):
    """Mean over a batch of ``-log p(y|z) + beta * rate``, in nats per sample.

    ``forward`` returns what a step needs in two tensors: the loss, and one vector of sums over the batch that
    stays on the device. So a step neither waits for the device nor builds Python numbers.

    Args:
        program: A `ib_pyro.Bottleneck`, or any module with ``model`` and ``guide``.
        elbo: The objective.
    """

    def __init__(self, program: nn.Module, elbo: InformationBottleneckELBO) -> None:
        super().__init__()
        self.program = program
        self.elbo = elbo
        self.columns: tuple[str, ...] = ()
        self._scores: Tensor | None = None
        decoder = getattr(program, "decoder", None)
        self._hook = decoder.register_forward_hook(self._keep_scores) if _classifies(program) else None

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate a batch.

        Args:
            x: Inputs, ``[B, ...]``.
            y: What is observed, ``[B, ...]``.

        Returns:
            The mean loss, a scalar with gradient, and the detached sums over the batch of `columns`.
        """
        terms = self.elbo.terms(self.program.model, self.program.guide, x, y)
        # Pyro's loss is a sum over the batch, or over the whole set of which the batch stands for a share.
        loss = terms.loss / (getattr(self.program, "num_data", None) or len(x))
        with torch.no_grad():
            rows = [terms.distortion, *terms.rate.values()]
            self.columns = ("loss", "distortion", *(f"rate/{site}" for site in terms.rate))
            if self._scores is not None:
                rows.append(self._scores.argmax(-1) != y)
                self.columns += ("error",)
                self._scores = None
            return loss, torch.cat([loss.reshape(1) * len(x), torch.stack(rows).sum(1)])

    def means(self, sums: Tensor, num_samples: int) -> dict[str, float]:
        """Turn sums into means per sample; the total ``rate`` is the sum over the sites.

        Args:
            sums: Sums of what `forward` returned.
            num_samples: Number of samples that went into them.

        Returns:
            ``loss``, ``distortion``, ``rate`` and ``rate/<site>`` in nats per sample, ``error`` as a share.

        Raises:
            FloatingPointError: If one of them is not finite; it names the sites.
        """
        values = dict(zip(self.columns, (sums / num_samples).tolist(), strict=True))
        rates = {name: value for name, value in values.items() if name.startswith("rate/")}
        bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            sites = [name.removeprefix("rate/") for name, value in rates.items() if not math.isfinite(value)]
            where = f"site {', '.join(map(repr, sites))}" if sites else "the likelihood of 'y'"
            raise FloatingPointError(f"{where}: not finite ({', '.join(bad)}, nats per sample)")
        error = {"error": values["error"]} if "error" in values else {}
        return {
            "loss": values["loss"],
            "distortion": values["distortion"],
            "rate": math.fsum(rates.values()),
            **rates,
            **error,
        }

    def release(self) -> None:
        """Take the hook off the program again."""
        if self._hook is not None:
            self._hook.remove()

    def _keep_scores(self, _module: nn.Module, _inputs: object, output: object) -> None:
        self._scores = output.detach() if isinstance(output, Tensor) else None


def _classifies(program: nn.Module) -> bool:
    return getattr(program, "likelihood", None) == "categorical" and isinstance(
        getattr(program, "decoder", None), nn.Module
    )

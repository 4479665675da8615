"""Predictive uncertainty, split into its aleatoric and its epistemic part."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.diagnostics._checks import check_probabilities, single

__all__ = ["PredictiveEntropy", "predictive_entropy"]


@dataclass(frozen=True)
class PredictiveEntropy:
    """Entropy of the posterior predictive and its two parts, each [N], nats per sample.

    Attributes:
        aleatoric: Expected entropy given a draw.
        epistemic: Mutual information between the prediction and the draw, >= 0.
    """

    aleatoric: Tensor
    epistemic: Tensor

    @property
    def total(self) -> Tensor:
        """Entropy of the posterior predictive, the sum of the two parts."""
        return self.aleatoric + self.epistemic


def predictive_entropy(probabilities: Tensor) -> PredictiveEntropy:
    r"""Split the entropy of the posterior predictive.

    With p_s = p(y | x, z_s) and their mean p:

    .. math::
        \underbrace{H[p]}_\text{total} = \underbrace{\frac1S \sum_s H[p_s]}_\text{aleatoric}
            + \underbrace{\frac1S \sum_s \mathrm{KL}(p_s \| p)}_\text{epistemic}

    Houlsby et al. (2011); Depeweg et al. (2018), "Decomposition of Uncertainty in Bayesian Deep Learning".
    The second part is I(y; z | x), what a draw of the noise would tell about the prediction. With noise on
    activations it is the uncertainty that the representation leaves about y; it is uncertainty about the
    *model*, as the word epistemic usually says, where the draws are of the weights. With S draws it is at
    most log S and biased downwards.

    Args:
        probabilities: Class probabilities of each draw, [S, N, K].

    Returns:
        Both parts; ``total`` is their sum exactly.

    Raises:
        ValueError: If the probabilities are none or have another shape.

    Example:
        >>> sure_but_split = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> predictive_entropy(sure_but_split).epistemic
        tensor([0.6931])
    """
    check_probabilities(probabilities, ("S", "N", "K"))
    probabilities = single(probabilities)
    mean = probabilities.mean(0)
    aleatoric = -torch.xlogy(probabilities, probabilities).sum(-1).mean(0)
    # The mean KL as a difference of p log p: p > 0 wherever some p_s > 0, so xlogy settles every 0 log 0.
    divergence = torch.xlogy(probabilities, probabilities) - torch.xlogy(probabilities, mean)
    return PredictiveEntropy(aleatoric=aleatoric, epistemic=divergence.sum(-1).mean(0).clamp_min(0.0))

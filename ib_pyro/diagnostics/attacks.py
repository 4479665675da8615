"""Perturbations of inputs: Gaussian noise and adversarial examples, through a stochastic predictor."""

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from ib_pyro.buffers import buffers_kept, modules_behind
from ib_pyro.diagnostics._checks import check_labels, check_probabilities, single

__all__ = ["Attack", "Predict", "fgsm", "gaussian_noise", "pgd"]

Predict = Callable[[Tensor], Tensor]
"""x [N, ...] -> class probabilities or log-probabilities, [N, K] or [S, N, K] for S draws of the noise."""


class Attack(Protocol):
    """What perturbs a batch of inputs; bind an attack's options with ``functools.partial``."""

    def __call__(self, predict: Predict, x: Tensor, y: Tensor, size: float, /) -> Tensor:
        """Return the perturbed inputs, of the shape of x."""
        ...


def gaussian_noise(
    predict: Predict,
    x: Tensor,
    y: Tensor,
    size: float,
    *,
    clip: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Add independent Gaussian noise to every pixel; ``predict`` and ``y`` are not used.

    .. math:: x' = \mathrm{clip}(x + \text{size} \cdot n), \quad n \sim N(0, 1)

    Hendrycks & Dietterich (2019) for the corruption; ``size`` is its standard deviation before clipping.

    Args:
        predict: Not used.
        x: Inputs, [N, ...].
        y: Not used.
        size: Standard deviation, in units of x.
        clip: Range of valid inputs; None: no limits.
        generator: Source of the noise; None: torch's own.

    Returns:
        The noisy inputs.

    Raises:
        ValueError: If the size is negative or x leaves the range.
    """
    _check_input(x, size, clip)
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return _clip(x + size * noise, clip)


def fgsm(
    predict: Predict,
    x: Tensor,
    y: Tensor,
    size: float,
    *,
    samples: int = 1,
    clip: tuple[float, float] | None = (0.0, 1.0),
) -> Tensor:
    r"""Fast gradient sign method: one step uphill in the loss, to the corner of the L-infinity ball.

    .. math::
        x' = \mathrm{clip}(x + \text{size} \cdot \mathrm{sign}\, g), \quad
        g = -\nabla_x \frac1M \sum_m \log p(y | x, z_m)

    Goodfellow, Shlens & Szegedy (2015), section 4. Averaging the gradient over the predictor's own noise is
    "expectation over transformation", Athalye, Carlini & Wagner (2018): a single noisy gradient would make
    a noisy network look more robust than it is.

    Args:
        predict: Class probabilities or log-probabilities of inputs, [N, K] or [S, N, K], differentiable in
            x, without dependence between samples (batch norm in evaluation mode). Prefer log-probabilities:
            the gradient of a probability that has rounded to 1 is zero, and the attack then finds nothing.
            Its noise is that of PyTorch's ambient generator; buffers of the modules that it calls stay as they are.
        x: Inputs, [N, ...].
        y: True classes, integer [N].
        size: Radius of the ball, in units of x.
        samples: Calls M of ``predict`` that the gradient is averaged over (times the S draws of each).
        clip: Range of valid inputs; None: no limits.

    Returns:
        The adversarial inputs, detached.

    Raises:
        ValueError: If an argument is out of range or ``predict`` cannot be differentiated.
    """
    _check_input(x, size, clip)
    _, gradient = _loss_and_gradient(predict, x, y, samples)
    return _clip(x.detach() + size * gradient.sign(), clip)


def pgd(
    predict: Predict,
    x: Tensor,
    y: Tensor,
    size: float,
    *,
    steps: int = 20,
    step_size: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    samples: int = 1,
    keep: Literal["best", "last"] = "best",
    clip: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Projected gradient ascent on the loss within the L-infinity ball.

    .. math::
        x_0 = x + \text{size} \cdot U(-1, 1), \quad
        x_{t+1} = \mathrm{clip}(\mathrm{project}(x_t + \text{step size} \cdot \mathrm{sign}\, g_t))

    Madry et al. (2018), "Towards Deep Learning Models Resistant to Adversarial Attacks", section 2.1, with
    the gradient averaged over the predictor's noise as in ``fgsm``.

    Args:
        predict: As in ``fgsm``.
        x: Inputs, [N, ...].
        y: True classes, integer [N].
        size: Radius of the ball, in units of x.
        steps: Steps a restart.
        step_size: In units of x; default: 2.5 * size / steps, which reaches the boundary from anywhere in
            the ball.
        random_start: Start anywhere in the ball; False starts at x.
        restarts: Independent starts (more than one only with ``random_start``); the most harmful result is
            taken.
        samples: Calls of ``predict`` that each loss and gradient is averaged over.
        keep: What a restart gives: its iterate of highest loss, or its last. Losses are as noisy as
            ``predict``: with few draws, "best" partly picks luck.
        clip: Range of valid inputs; None: no limits.
        generator: Source of the starts; None: torch's own.

    Returns:
        The adversarial inputs, detached, within ``size`` of x in every pixel.

    Raises:
        ValueError: If an argument is out of range or ``predict`` cannot be differentiated.
    """
    _check_input(x, size, clip)
    if steps < 1 or restarts < 1 or (restarts > 1 and not random_start) or keep not in ("best", "last"):
        raise ValueError(
            f"steps, restarts, random_start, keep: {steps}, {restarts}, {random_start}, {keep!r}; "
            "need steps >= 1, restarts >= 1 (1 without random_start), keep 'best' or 'last'"
        )
    x = x.detach()
    step = 2.5 * size / steps if step_size is None else step_size
    best_x, best_loss = x, single(x.new_full((len(x),), -torch.inf))
    for _ in range(restarts):
        current = x
        if random_start:
            uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            current = _clip(x + size * (2 * uniform - 1), clip)
        for t in range(steps + 1):
            loss, gradient = _loss_and_gradient(predict, current, y, samples)
            if keep == "best" or t == steps:
                better = loss > best_loss
                best_x = torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), current, best_x)
                best_loss = torch.where(better, loss, best_loss)
            moved = torch.clamp(current + step * gradient.sign(), x - size, x + size)
            current = _clip(moved, clip)
    return best_x


def log_probabilities(output: Tensor) -> Tensor:
    """Log-probabilities from what a predictor returned.

    Log-probabilities are told from probabilities by their sign: of two or more classes one has a negative
    one.

    Args:
        output: Probabilities or log-probabilities, [N, K] or [S, N, K].

    Returns:
        Log-probabilities, [S, N, K]; S = 1 where the output had no such dimension.

    Raises:
        ValueError: If it is neither, as logits are.
    """
    draws = output[None] if output.ndim == 2 else output
    is_log = bool((draws < 0).any())
    # Rounding log p by a share of itself moves the sum of p by that share of the entropy, at most log K.
    rounding = torch.finfo(draws.dtype).eps * (1 + is_log * math.log(draws.shape[-1] or 1))
    draws = single(draws)
    try:
        looked_at = draws.detach().exp() if is_log else draws.detach()
        check_probabilities(looked_at, ("S", "N", "K"), rounding=rounding)
    except ValueError as error:
        raise ValueError(
            f"predict: must return probabilities or log-probabilities, [N, K] or [S, N, K] ({error}); "
            "for logits return `logits.log_softmax(-1)`"
        ) from error
    # A floor keeps the loss finite where a probability has rounded to 0.
    return draws if is_log else draws.clamp_min(torch.finfo(draws.dtype).tiny).log()


def _loss_and_gradient(predict: Predict, x: Tensor, y: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Mean loss of each sample over draws, [N], nats, and its gradient in x."""
    if samples < 1:
        raise ValueError(f"samples: {samples}, must be >= 1")
    loss = single(x.new_zeros(len(x)))
    gradient = torch.zeros_like(x)
    with buffers_kept(modules_behind(predict)), torch.enable_grad():
        for _ in range(samples):
            point = x.detach().requires_grad_()
            log_p = log_probabilities(predict(point))
            labels = check_labels(y, *log_p.shape[1:])
            one = -log_p.gather(-1, labels.expand(len(log_p), -1)[..., None])[..., 0].mean(0)
            if not one.requires_grad:
                raise ValueError(
                    "predict: its output does not depend differentiably on x; drop torch.no_grad(), .detach() or "
                    "discrete draws inside of it (Bottleneck.predict has no gradient, .predictive has one), "
                    "or use gaussian_noise"
                )
            gradient += torch.autograd.grad(one.sum(), point)[0] / samples
            loss += one.detach() / samples
    return loss, gradient


def _clip(x: Tensor, clip: tuple[float, float] | None) -> Tensor:
    return x if clip is None else x.clamp(*clip)


def _check_input(x: Tensor, size: float, clip: tuple[float, float] | None) -> None:
    if not x.is_floating_point() or x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"x: expected non-empty floating-point [N, ...], got {x.dtype} {list(x.shape)}")
    if not size >= 0:
        raise ValueError(f"size: {size}, must be >= 0, in units of x")
    if clip is not None and not bool(((x >= clip[0]) & (x <= clip[1])).all()):
        low, high = x.min().item(), x.max().item()
        raise ValueError(
            f"x: values {low:.3g}..{high:.3g} leave clip={clip}; normalise inside of `predict`, "
            "or pass clip=None or the range of the normalised inputs"
        )

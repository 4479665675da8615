"""Rules that pick a beta from a held-out curve, each a function of its table."""

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

__all__ = ["knee_of", "largest_within", "one_standard_error_limit", "smallest_below_rate"]

LEAST_HEIGHT = 0.05
# Heights are told apart by no less, where seeds do not say by how much they vary.
LEAST_DIFFERENCE = 0.01


def largest_within(curve: pd.DataFrame, quantity: str, limit: float) -> int:
    """Return the row of the largest beta whose mean is at most a limit.

    Args:
        curve: Rows by ascending beta.
        quantity: Name of the mean.
        limit: What it may reach.

    Raises:
        ValueError: If none is within the limit, or a beta below the largest is clearly beyond it, by more than its own
            standard error, while a yet smaller one is within.
    """
    values = curve[quantity].to_numpy()
    within = np.flatnonzero(values <= limit)
    if not len(within):
        best = int(values.argmin())
        raise ValueError(
            f"no beta reaches a held-out {quantity} of {limit:.4g}; the best, {values[best]:.4g}, is at "
            f"{_beta(curve, best)}: allow more, or fit longer or a larger network"
        )
    excess = values - limit
    # Of one seed nothing is known of the spread: any excess is taken for one.
    tolerance = curve[f"{quantity}_se"].fillna(0.0).to_numpy()
    for row in range(within[0], within[-1]):
        if excess[row] > tolerance[row]:
            raise ValueError(
                f"the held-out {quantity} is within {limit:.4g} at {_beta(curve, within[0])} and "
                f"{_beta(curve, within[-1])}, and beyond it between them ({values[row]:.4g} at {_beta(curve, row)}): "
                "add seeds, or pass the rows on one side of it alone"
            )
    return int(within[-1])


def one_standard_error_limit(curve: pd.DataFrame, quantity: str) -> float:
    """Return the best mean plus its standard error over seeds.

    Raises:
        ValueError: If the best beta has one seed, of which there is no standard error.
    """
    best = int(curve[quantity].to_numpy().argmin())
    error = float(curve[f"{quantity}_se"].iloc[best])
    if not np.isfinite(error):
        raise ValueError(
            f"one_standard_error: the best beta, {curve['beta'].iloc[best]:.4g}, has one seed and so no standard "
            "error; sweep several seeds, or choose by target_error="
        )
    return float(curve[quantity].iloc[best]) + error


def smallest_below_rate(curve: pd.DataFrame, limit: float) -> int:
    """Return the row of the smallest beta from which on the mean rate is at most a limit.

    Raises:
        ValueError: If none is, or a larger beta is beyond it again by more than its standard error.
    """
    rates = curve["rate"].to_numpy()
    below = np.flatnonzero(rates <= limit)
    if not len(below):
        raise ValueError(
            f"no beta brings the held-out rate down to {limit:.4g} nats; the largest, {curve['beta'].iloc[-1]:.4g}, "
            f"leaves {rates[-1]:.4g}: sweep larger ones"
        )
    tolerance = curve["rate_se"].fillna(0.0).to_numpy()
    for row in range(below[0], len(rates)):
        if rates[row] - limit > tolerance[row]:
            raise ValueError(
                f"the held-out rate is below {limit:.4g} nats at {_beta(curve, below[0])} and above it again at "
                f"{_beta(curve, row)} ({rates[row]:.4g}): add seeds, or fit longer"
            )
    return int(below[0])


def knee_of(curve: pd.DataFrame) -> int:
    """Return the row farthest below the chord between the ends of the curve of distortion over rate.

    With rate and distortion scaled to [0, 1] over the betas that no other beats in both, the height is ``1 - rate -
    distortion`` (Satopää et al. 2011). On a curve whose slope is ``-beta``, as an exact one has, the knee is where
    beta is the slope of the chord: the mean exchange of distortion for rate between the ends.

    Args:
        curve: Rows by ascending beta, with means and standard errors of rate and distortion.

    Raises:
        ValueError: If there are fewer than three such betas, no knee, or two that are no neighbours and as good.
    """
    front = _unbeaten(curve)
    if len(front) < 3:
        raise ValueError(
            f"a knee needs three betas or more that no other beats in both held-out rate and distortion; there are "
            f"{len(front)}: sweep more of them, or choose by one_standard_error=True"
        )
    height, error = _heights(curve.iloc[front])
    best = int(height.argmax())
    if height[best] < LEAST_HEIGHT:
        raise ValueError(
            f"the held-out curve has no knee: it bends from its chord by {height[best]:.2g} of its size at most; "
            "sweep a wider range, or choose by target_error= or target_rate="
        )
    for other in np.argsort(-height)[1:]:
        tolerance = max(error[best], error[other], LEAST_DIFFERENCE)
        between = height[min(best, other) : max(best, other) + 1].min()
        if height[best] - height[other] < tolerance < height[other] - between:
            raise ValueError(
                f"the held-out curve has two knees that are as sharp, at {_beta(curve, front[best])} and "
                f"{_beta(curve, front[other])}: add seeds, or pass the rows around one of them alone"
            )
    return int(front[best])


def _unbeaten(curve: pd.DataFrame) -> list[int]:
    """Rows, by descending rate, that no other has both a smaller rate and a smaller distortion than."""
    rates, distortions = curve["rate"].to_numpy(), curve["distortion"].to_numpy()
    kept: list[int] = []
    for row in np.lexsort((distortions, rates)):
        if not kept or distortions[row] < distortions[kept[-1]]:
            kept.append(int(row))
    return kept[::-1]


def _heights(front: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    height, variance = np.ones(len(front)), np.zeros(len(front))
    for quantity in ("rate", "distortion"):
        values = front[quantity].to_numpy()
        size = np.ptp(values)
        height -= (values - values.min()) / size
        variance += np.square(front[f"{quantity}_se"].fillna(0.0).to_numpy() / size)
    return height, np.sqrt(variance)


def _beta(curve: pd.DataFrame, row: int) -> str:
    return f"beta = {curve['beta'].iloc[row]:.4g}"

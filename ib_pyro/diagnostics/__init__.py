"""Questions to programs, and measures of what they let through: in nats, but for those without unit."""

from importlib import import_module
from typing import Any

from ib_pyro.diagnostics.active_units import ActiveUnits, active_units, active_units_by_rate
from ib_pyro.diagnostics.attacks import Attack, Predict, fgsm, gaussian_noise, pgd
from ib_pyro.diagnostics.calibration import ReliabilityBins, expected_calibration_error, reliability_bins
from ib_pyro.diagnostics.corrected_total_correlation import TotalCorrelation, total_correlation
from ib_pyro.diagnostics.dci import DCI, dci
from ib_pyro.diagnostics.elementwise_rates import elementwise_rates
from ib_pyro.diagnostics.information_plane import InformationPlane, information_plane
from ib_pyro.diagnostics.marginal_likelihood import (
    importance_log_weights,
    importance_weighted_log_likelihood,
)
from ib_pyro.diagnostics.mutual_information_gap import MutualInformationGap, mutual_information_gap
from ib_pyro.diagnostics.out_of_distribution import out_of_distribution_auroc
from ib_pyro.diagnostics.predictive_entropy import PredictiveEntropy, predictive_entropy
from ib_pyro.diagnostics.rate_summaries import rate_by_class, rate_by_position, rate_by_unit
from ib_pyro.diagnostics.robustness import RobustnessCurve, robustness_curve
from ib_pyro.diagnostics.scores import brier_score, negative_log_likelihood
from ib_pyro.diagnostics.separated_predictability import SeparatedPredictability, separated_predictability

__all__ = [
    "DCI",
    "ActiveUnits",
    "Attack",
    "InformationPlane",
    "MutualInformationGap",
    "Predict",
    "PredictiveEntropy",
    "ReliabilityBins",
    "RobustnessCurve",
    "SeparatedPredictability",
    "TotalCorrelation",
    "active_units",
    "active_units_by_rate",
    "brier_score",
    "dci",
    "elementwise_rates",
    "expected_calibration_error",
    "fgsm",
    "gaussian_noise",
    "importance_log_weights",
    "importance_weighted_log_likelihood",
    "information_plane",
    "mutual_information_gap",
    "negative_log_likelihood",
    "out_of_distribution_auroc",
    "pgd",
    "predictive_entropy",
    "rate_by_class",
    "rate_by_position",
    "rate_by_unit",
    "reliability_bins",
    "robustness_curve",
    "separated_predictability",
    "total_correlation",
]

# Taken from here too, but at home in `information`.
OF_INFORMATION = (
    "RateDecomposition",
    "info_nce_lower_bound",
    "label_entropy",
    "leave_one_out_upper_bound",
    "predictive_information_lower_bound",
    "rate_decomposition",
)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has the name there
    if name in OF_INFORMATION:
        return getattr(import_module("ib_pyro.information"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")

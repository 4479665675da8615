"""What a trained network needs of one image: maps of information in nats, and what tells whether maps are right."""

from ib_pyro.attribution.degradation import DegradationCurves, degradation_curves, mean_interval
from ib_pyro.attribution.feature_statistics import FeatureStatistics, feature_statistics, features_at
from ib_pyro.attribution.image_maps import InformationMaps, share_inside, spread_over_pixels
from ib_pyro.attribution.interpolated_noise import InterpolatedNoise, interpolation_rate
from ib_pyro.attribution.per_sample import PerSampleAttribution
from ib_pyro.attribution.randomisation import randomised, rank_correlation
from ib_pyro.attribution.readout import ReadoutAttribution
from ib_pyro.attribution.restriction import NOISES, Restriction

__all__ = [
    "NOISES",
    "DegradationCurves",
    "FeatureStatistics",
    "InformationMaps",
    "InterpolatedNoise",
    "PerSampleAttribution",
    "ReadoutAttribution",
    "Restriction",
    "degradation_curves",
    "feature_statistics",
    "features_at",
    "interpolation_rate",
    "mean_interval",
    "randomised",
    "rank_correlation",
    "share_inside",
    "spread_over_pixels",
]

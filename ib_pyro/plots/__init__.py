"""Figures of a network and its noise: each draws into Matplotlib Axes, given or made, and returns them."""

from ib_pyro.plots.information_map import plot_information_map
from ib_pyro.plots.information_plane_path import plot_information_plane
from ib_pyro.plots.noise_scale import plot_alpha_by_class, plot_noise
from ib_pyro.plots.post_noise import plot_post_noise
from ib_pyro.plots.rate_distortion import plot_rate_distortion
from ib_pyro.plots.reliability import plot_reliability
from ib_pyro.plots.sample_images import plot_samples
from ib_pyro.plots.training_history import plot_training

__all__ = [
    "plot_alpha_by_class",
    "plot_information_map",
    "plot_information_plane",
    "plot_noise",
    "plot_post_noise",
    "plot_rate_distortion",
    "plot_reliability",
    "plot_samples",
    "plot_training",
]

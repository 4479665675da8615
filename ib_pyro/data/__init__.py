"""Images with labels and nuisances, in memory."""

from ib_pyro.data.batches import Batches, batches
from ib_pyro.data.image_folder import load_image_folder
from ib_pyro.data.labelled_images import LabelledImages
from ib_pyro.data.loading import DATASETS, load
from ib_pyro.data.whitening import ZCA, normalize_per_image

__all__ = [
    "DATASETS",
    "Batches",
    "LabelledImages",
    "ZCA",
    "batches",
    "load",
    "load_image_folder",
    "normalize_per_image",
]

"""Pictures of a few images of the paper's two generated sets: Occluded CIFAR (its Figure 4) and Cluttered MNIST."""

from __future__ import annotations

from pathlib import Path

from ib_pyro.data import load
from ib_pyro.plots import plot_samples
from inference.runs.stand_in import stand_in
from inference.studies.paper.drawing import new_figure
from inference.studies.paper.place import Place

__all__ = ["draw_samples"]

_NUM = 8
_SETS = {
    "occluded-cifar": "Occluded CIFAR, test images: the image's class, and the digit that occludes it",
    "cluttered-mnist": "Cluttered MNIST, test images: the digit's class and its box, among pieces of other digits",
}


def draw_samples(place: Place, out: Path) -> list[Path]:
    """Draw a few test images of each set with their labels and boxes.

    Args:
        place: Where the real images lie; without them stand-ins are drawn, and the titles say so.
        out: Folder of the pictures.

    Returns:
        ``samples-occluded-cifar.png`` and ``samples-cluttered-mnist.png`` in it.

    Raises:
        FileNotFoundError: If ``place.data_root`` lacks a set.
    """
    import matplotlib.pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, title in _SETS.items():
        if place.data_root is None:
            data, mark = stand_in(name, "test", _NUM), "STAND-IN images; "
        else:
            data, mark = load(name, "test", root=place.data_root, limit=_NUM), ""
        figure, ax = new_figure(1, 1, width=7.5, height=4.6)
        plot_samples(data, len(data), ax=ax)
        figure.suptitle(f"{mark}{title}", fontsize="small")
        paths.append(out / f"samples-{name}.png")
        figure.savefig(paths[-1], dpi=110)
        plt.close(figure)
    return paths

"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUICK", "WHOLE", "Effort"]


@dataclass(frozen=True)
class Effort:
    """Sizes of a benchmark.

    Args:
        widths: Widths of the MLP's hidden layers.
        steps: Steps in a block, for each of the widths.
        blocks: Blocks of each way of a step.
        threads: Numbers of threads that a step is measured with.
        fraction: Share of All-CNN-32's filters.
        cnn_steps: Steps in a block of All-CNN-32.
        cnn_blocks: Blocks of each of its ways.
        images: Images of the autoencoder's epoch.
        epochs: Epochs of each of its ways.
        beside_numpyro: Whether NumPyro's epoch is measured: compiling it takes a while.
        memory: Widths and batch sizes whose peak memory is compared.
        growth: Values on each axis along which a step grows.
        growth_blocks: Blocks for each of these values.
        runs: Numbers of betas that are trained side by side and one by one.
        compiled: Whether they are compiled too.
        imports: Fresh processes that import each package.
    """

    widths: tuple[int, ...]
    steps: tuple[int, ...]
    blocks: int
    threads: tuple[int, ...]
    fraction: float
    cnn_steps: int
    cnn_blocks: int
    images: int
    epochs: int
    beside_numpyro: bool
    memory: tuple[tuple[int, int], ...]
    growth: dict[str, tuple[int, ...]]
    growth_blocks: int
    runs: tuple[int, ...]
    compiled: bool
    imports: int


WHOLE = Effort(
    widths=(64, 512),
    steps=(50, 15),
    blocks=21,
    threads=(1, 2),
    fraction=0.25,
    cnn_steps=4,
    cnn_blocks=31,
    images=60_000,
    epochs=5,
    beside_numpyro=True,
    memory=((512, 2000),),
    growth={
        "width": (32, 64, 128, 256, 512, 1024),
        "batch": (25, 50, 100, 200, 400, 800, 1600, 3200),
        "sites": (1, 2, 4, 8, 16, 32),
        "particles": (1, 2, 4, 8, 16),
        "particles, vectorised": (1, 2, 4, 8, 16, 32),
        "betas, vectorised": (1, 2, 4, 8, 16, 24),
    },
    growth_blocks=5,
    runs=(8, 24),
    compiled=True,
    imports=7,
)

QUICK = Effort(
    widths=(16,),
    steps=(2,),
    blocks=2,
    threads=(1,),
    fraction=1 / 16,
    cnn_steps=2,
    cnn_blocks=2,
    images=512,
    epochs=2,
    beside_numpyro=False,
    memory=((16, 100),),
    growth={"width": (8, 16), "batch": (10, 20), "sites": (1, 2), "betas, vectorised": (1, 2)},
    growth_blocks=1,
    runs=(2,),
    compiled=False,
    imports=1,
)

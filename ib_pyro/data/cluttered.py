"""Cluttered MNIST: one digit among pieces of other digits, on a canvas of 96x96 pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ib_pyro.data.cache import fingerprint
from ib_pyro.data.idx import mnist_pool
from ib_pyro.data.image_pool import Pool
from ib_pyro.data.painted import painted
from ib_pyro.data.request import Request
from ib_pyro.data.sprites import deal, generator_for, ink_box

__all__ = ["Clutter", "cluttered_mnist_pool"]

# Part of the cache's key: raise it when the same seed gives other images.
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Clutter:
    """What is where in N cluttered images; ``paint`` paints them.

    Image n shows the whole digit ``digit[n]`` with its upper left corner at ``place[n]``, and for each
    distractor k the square of ``patch_size`` pixels at ``piece[n, k]`` of the digit ``donor[n, k]``, painted at
    ``spot[n, k]``. Where they overlap the intensities add up, at most to white. All places are ``(y, x)`` in
    pixels.

    The recipe is that of Mnih et al., "Recurrent models of visual attention" (2014), as Achille and Soatto
    use it.

    Args:
        digit: The whole digit of each image, int64, shape ``[N]``.
        place: Where its upper left corner goes, int64, shape ``[N, 2]``.
        donor: The digit that each distractor is cut from, int64, shape ``[N, K]``.
        piece: Where it is cut, int64, shape ``[N, K, 2]``.
        spot: Where it goes, int64, shape ``[N, K, 2]``.
        size: Height and width of the canvas.
        patch_size: Height and width of a distractor.
    """

    digit: Tensor
    place: Tensor
    donor: Tensor
    piece: Tensor
    spot: Tensor
    size: int = 96
    patch_size: int = 8

    @classmethod
    def draw(
        cls,
        num_images: int,
        digits: Tensor,
        generator: torch.Generator,
        *,
        num_distractors: int = 21,
        size: int = 96,
        patch_size: int = 8,
    ) -> Clutter:
        """Draw all places uniformly, and the digits such that none comes twice before each came once.

        Args:
            num_images: N.
            digits: The digits to draw from, shape ``[M, H, W]``.
            generator: Source of the draw.
            num_distractors: K.
            size: Height and width of the canvas.
            patch_size: Height and width of a distractor.

        Raises:
            ValueError: If a digit is larger than the canvas, or a distractor larger than a digit.
        """
        count, *shape = digits.shape
        if max(shape) > size or patch_size > min(shape):
            raise ValueError(f"size: {shape} digits and patch_size={patch_size} do not fit size={size}")

        def uniform(bounds: tuple[int, int], *leading: int) -> Tensor:
            drawn = [torch.randint(bound, leading, generator=generator) for bound in bounds]
            return torch.stack(drawn, -1)

        height, width = shape
        free = size - patch_size + 1
        return cls(
            digit=deal(num_images, count, generator),
            place=uniform((size - height + 1, size - width + 1), num_images),
            donor=torch.randint(count, (num_images, num_distractors), generator=generator),
            piece=uniform((height - patch_size + 1, width - patch_size + 1), num_images, num_distractors),
            spot=uniform((free, free), num_images, num_distractors),
            size=size,
            patch_size=patch_size,
        )

    def __getitem__(self, index: Tensor) -> Clutter:
        names = ("digit", "place", "donor", "piece", "spot")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def box(self, digits: Tensor) -> Tensor:
        """Return the box around the ink of each image's digit, int64, shape ``[N, 4]``, ``(x0, y0, x1, y1)``."""
        return ink_box(digits)[self.digit] + self.place.flip(1).repeat(1, 2)

    def paint(self, digits: Tensor) -> Tensor:
        """Paint the images.

        Args:
            digits: The digits that were drawn from, uint8, shape ``[M, H, W]``.

        Returns:
            The images, uint8, shape ``[N, 1, size, size]``.
        """
        num_images = len(self.digit)
        canvas = torch.zeros(num_images, self.size * self.size, dtype=torch.int32, device=digits.device)
        _add(canvas, self.size, digits, self.donor, self.piece, self.spot, self.patch_size, self.patch_size)
        whole = self.digit.unsqueeze(1)
        corner = torch.zeros_like(self.place).unsqueeze(1)
        _add(canvas, self.size, digits, whole, corner, self.place.unsqueeze(1), *digits.shape[1:])
        return canvas.clamp_(max=255).to(torch.uint8).view(num_images, 1, self.size, self.size)


def _add(
    canvas: Tensor,
    size: int,
    digits: Tensor,
    donor: Tensor,
    piece: Tensor,
    spot: Tensor,
    height: int,
    width: int,
) -> None:
    """Add K rectangles of digits to each canvas: ``piece`` is where they are cut, ``spot`` where they go."""
    rows = torch.arange(height, device=donor.device).view(1, 1, height, 1)
    columns = torch.arange(width, device=donor.device).view(1, 1, 1, width)

    def flat(corner: Tensor, stride: int) -> Tensor:
        y, x = corner[..., None, None].unbind(2)
        return (y + rows) * stride + (x + columns)

    pixels = digits.shape[1] * digits.shape[2]
    source = donor[..., None, None] * pixels + flat(piece, digits.shape[2])
    target = flat(spot, size).flatten(1)
    canvas.scatter_add_(1, target, digits.take(source).flatten(1).to(canvas.dtype))


def cluttered_mnist_pool(request: Request) -> Pool:
    """Generate Cluttered MNIST, one image for each digit of MNIST.

    That is 60,000 for training and validation and 10,000 to test. Image n is a function of the seed, n and
    MNIST alone. Whole sets are kept in the cache (550 MB a seed); of a limited one only what is asked for
    is painted.

    Args:
        request: What is asked for.

    Returns:
        The pool, images of shape ``[1, 96, 96]``, with boxes.
    """
    source = mnist_pool(replace(request, name="mnist"))
    digits = source.images(torch.arange(len(source.y))).squeeze(1)
    clutter = Clutter.draw(len(source.y), digits, generator_for(request.seed, request.part))

    def paint(index: Tensor) -> Tensor:
        return clutter[index].paint(digits)

    key = f"v{_VERSION}-seed{request.seed}-{fingerprint(digits, source.y)}"
    images = painted(request, key, len(digits), paint)
    return Pool(source.y[clutter.digit], images, source.classes, box=clutter.box(digits))

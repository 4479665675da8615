"""Per-image normalisation and ZCA whitening, the preparation of CIFAR-10."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from ib_pyro.data.cache import cached, fingerprint, save_atomically
from ib_pyro.tensor_files import load_tensors

__all__ = ["ZCA", "normalize_per_image"]

# Images whitened or summed up at a time: bounds the float64 copies.
_CHUNK = 4096


def normalize_per_image(x: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Give each image the mean 0 and the standard deviation 1 over all its channels and pixels.

    The variance is divided by ``C H W - 1``, as in the code of Achille and Soatto. An image whose standard
    deviation is below ``eps`` is centred only.

    Args:
        x: Images, floating, shape ``[N, C, H, W]``.
        eps: Below which an image counts as constant.

    Returns:
        Images of the same shape and dtype.
    """
    std, mean = torch.std_mean(x, dim=(1, 2, 3), correction=1, keepdim=True)
    return (x - mean) / torch.where(std >= eps, std, torch.ones_like(std))


class ZCA(nn.Module):
    """Full-rank ZCA whitening: a fitted, saved, reversible linear map of images.

    With the mean m and the covariance ``U diag(s²) U^T`` of the flattened training images (divided by N - 1),
    an image x becomes ``W (x - m)`` with ``W = U diag(1 / (s + eps)) U^T``: symmetric, hence of all the
    whitening maps the one that changes the images least (Bell and Sejnowski, 1997). ``eps = 1e-5`` on the
    *singular values* s is what the code of Achille and Soatto adds; it bounds W where images have no
    variance, so that :meth:`inverse`, which multiplies by ``U diag(s + eps) U^T``, undoes it exactly.

    Make one by :meth:`ZCA.fit`, :meth:`ZCA.fitted` or :meth:`ZCA.load`. It moves between devices and dtypes as any
    module.

    Args:
        mean: The mean m, with the shape of an image, ``[C, H, W]``.
        whitening: W, shape ``[D, D]``, D = C H W.
        colouring: The inverse of W, shape ``[D, D]``.

    Example:
        >>> x = torch.randn(500, 1, 2, 2, dtype=torch.float64) @ torch.rand(
        ...     2, 2, dtype=torch.float64
        ... )
        >>> zca = ZCA.fit(x)
        >>> torch.allclose(
        ...     zca(x).flatten(1).T.cov(), torch.eye(4, dtype=torch.float64), atol=1e-3
        ... )
        True
        >>> torch.allclose(zca.inverse(zca(x)), x)
        True
    """

    mean: Tensor
    whitening: Tensor
    colouring: Tensor

    def __init__(self, mean: Tensor, whitening: Tensor, colouring: Tensor) -> None:
        super().__init__()
        for name, matrix in (("whitening", whitening), ("colouring", colouring)):
            if tuple(matrix.shape) != (mean.numel(), mean.numel()):
                raise ValueError(
                    f"{name}: expected a matrix of {mean.numel()} rows and columns for images of shape "
                    f"{list(mean.shape)}, got {list(matrix.shape)}"
                )
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)
        self.register_buffer("colouring", colouring)

    @classmethod
    def fit(cls, x: Tensor, *, eps: float = 1e-5) -> ZCA:
        """Fit the map to training images.

        Everything is computed and kept in float64 whatever the dtype of ``x``. Where images have no variance
        (their mean, after :func:`normalize_per_image`) W has entries of 1 / eps, and float32 would lose what
        :meth:`inverse` needs.

        Args:
            x: Training images, floating, shape ``[N, C, H, W]``, N >= 2.
            eps: Added to the singular values, > 0.

        Returns:
            The fitted map, on the device of ``x``.

        Raises:
            ValueError: If there are fewer than two images, or eps <= 0.
        """
        if x.ndim != 4 or len(x) < 2:
            raise ValueError(f"x: expected at least two images, [N, C, H, W], got {list(x.shape)}")
        if not eps > 0:
            raise ValueError(f"eps: expected a positive number, got {eps}; 0 divides by zero where s = 0")
        mean, covariance = _mean_and_covariance(x.flatten(1))
        variances, vectors = torch.linalg.eigh(covariance)
        # Rounding makes a variance of zero slightly negative.
        scale = variances.clamp(min=0).sqrt() + eps
        whitening = (vectors / scale) @ vectors.T
        colouring = (vectors * scale) @ vectors.T
        return cls(mean.view(x.shape[1:]), whitening, colouring)

    def forward(self, x: Tensor) -> Tensor:
        """Whiten images (see :meth:`transform`)."""
        return self.transform(x)

    def transform(self, x: Tensor) -> Tensor:
        """Whiten images.

        Args:
            x: Images, floating, shape ``[N, C, H, W]``, on the device of the map.

        Returns:
            ``W (x - m)``, of the shape and dtype of ``x``.

        Raises:
            ValueError: If the images have another shape than those of the fit.
        """
        self._check_shape(x)
        parts = [self._multiply(part - self.mean, self.whitening).to(x.dtype) for part in x.split(_CHUNK)]
        return torch.cat(parts)

    def inverse(self, z: Tensor) -> Tensor:
        """Undo :meth:`transform`.

        Args:
            z: Whitened images, shape ``[N, C, H, W]``, on the device of the map.

        Returns:
            The images, of the shape and dtype of ``z``.

        Raises:
            ValueError: If the images have another shape than those of the fit.
        """
        self._check_shape(z)
        parts = [(self._multiply(part, self.colouring) + self.mean).to(z.dtype) for part in z.split(_CHUNK)]
        return torch.cat(parts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map to a file, from which :meth:`ZCA.load` makes it again."""
        save_atomically(dict(self.state_dict()), Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ZCA:
        """Read a map that :meth:`save` wrote, onto the CPU.

        Raises:
            ValueError: If the file has something else in it.
        """
        try:
            content = load_tensors(Path(path))
        except ValueError as error:
            raise ValueError(f"path: {error}; make it anew by ZCA.fit(x) and its save(path)") from error
        if not isinstance(content, dict) or set(content) != {"mean", "whitening", "colouring"}:
            raise ValueError(f"path: {path} holds no ZCA; make one by ZCA.fit(x) and its save(path)")
        wrong = [name for name, value in content.items() if not _is_finite(value)]
        if wrong:
            raise ValueError(
                f"path: {path} holds no ZCA: its {', '.join(wrong)} must be finite numbers; make one by ZCA.fit(x) "
                "and its save(path)"
            )
        return cls(**content)

    @classmethod
    def fitted(cls, x: Tensor, kept: str | os.PathLike[str], *, eps: float = 1e-5) -> ZCA:
        """Fit the map to training images, or read what was fitted to the same ones before.

        Args:
            x: Training images, floating, shape ``[N, C, H, W]``, N >= 2.
            kept: Folder of fitted maps, each under the fingerprint of its images; it is made if it is missing.
            eps: Added to the singular values, > 0.

        Returns:
            The fitted map, on the CPU. A file that is damaged or holds something else is made anew, with a warning.
        """
        path = Path(kept) / f"zca-{fingerprint(x, repr(eps))}.pt"
        size = x[0].numel()

        def is_right(content: dict[str, Tensor]) -> bool:
            shapes = {"mean": x.shape[1:], "whitening": (size, size), "colouring": (size, size)}
            whole = {name: value.shape for name, value in content.items()} == shapes
            return whole and all(v.dtype == torch.float64 and _is_finite(v) for v in content.values())

        return cls(**cached(path, lambda: dict(cls.fit(x.cpu(), eps=eps).state_dict()), is_right))

    @staticmethod
    def _multiply(x: Tensor, matrix: Tensor) -> Tensor:
        # The matrices are symmetric: rows times W is W times columns.
        return (x.flatten(1).to(matrix.dtype) @ matrix).view_as(x)

    def _check_shape(self, x: Tensor) -> None:
        if x.shape[1:] != self.mean.shape:
            raise ValueError(f"x: expected images of shape {list(self.mean.shape)}, got {list(x.shape[1:])}")


def _is_finite(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and bool(value.isfinite().all())


def _mean_and_covariance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean ``[D]`` and the unbiased covariance ``[D, D]`` of rows, in float64."""
    mean = torch.stack([part.sum(0, dtype=torch.float64) for part in x.split(_CHUNK)]).sum(0) / len(x)
    scatter = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for part in x.split(_CHUNK):
        centred = part.to(torch.float64) - mean
        scatter.addmm_(centred.T, centred)
    return mean, scatter / (len(x) - 1)

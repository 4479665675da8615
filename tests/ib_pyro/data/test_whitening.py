"""ZCA whitens, is symmetric and can be undone; images are normalised one by one."""

import numpy as np
import pytest
import torch

from ib_pyro.data import ZCA, load, normalize_per_image


@pytest.fixture
def x():
    mixing = torch.randn(27, 27, dtype=torch.float64)
    return (torch.randn(400, 27, dtype=torch.float64) @ mixing + 3).view(400, 3, 3, 3)


def test_each_image_gets_mean_zero_and_variance_one(x):
    z = normalize_per_image(x)
    flat = z.flatten(1)
    assert flat.mean(1).abs().max() < 1e-12
    # Divided by 26, not by 27.
    assert torch.allclose((flat**2).sum(1), torch.full((400,), 26.0, dtype=torch.float64))
    assert torch.allclose(z, normalize_per_image(5 * x + 2))


def test_constant_images_are_centred_only():
    z = normalize_per_image(torch.full((2, 1, 4, 4), 0.5))
    assert torch.equal(z, torch.zeros(2, 1, 4, 4))


def test_whitened_images_have_the_covariance_that_eps_leaves(x):
    eps = 0.3
    z = ZCA.fit(x, eps=eps)(x).flatten(1)
    assert z.mean(0).abs().max() < 1e-10
    # Independently: NumPy's singular values of the centred data over sqrt(N - 1).
    centred = (x.flatten(1) - x.flatten(1).mean(0)).numpy() / np.sqrt(len(x) - 1)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    expected = torch.from_numpy(vt.T * (s / (s + eps)) ** 2 @ vt)
    assert torch.allclose(z.T.cov(), expected, atol=1e-10)


def test_whitened_images_are_white(x):
    z = ZCA.fit(x)(x).flatten(1)
    assert torch.allclose(z.T.cov(), torch.eye(27, dtype=torch.float64), atol=1e-3)


def test_the_map_is_symmetric_and_positive(x):
    zca = ZCA.fit(x)
    assert torch.allclose(zca.whitening, zca.whitening.T)
    assert torch.linalg.eigvalsh(zca.whitening).min() > 0
    # Of all whitening maps the nearest to doing nothing: any rotation of it moves the images further.
    z, centred = zca(x).flatten(1), (x - zca.mean).flatten(1)
    for _ in range(5):
        rotation = torch.linalg.qr(torch.randn(27, 27, dtype=torch.float64)).Q
        assert (z @ rotation - centred).norm() > (z - centred).norm()


def test_can_be_undone(x):
    zca = ZCA.fit(x)
    new = torch.randn(10, 3, 3, 3, dtype=torch.float64)
    assert torch.allclose(zca.inverse(zca(new)), new)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_can_be_undone_where_images_have_no_variance(x, dtype):
    few = normalize_per_image(x[:20].to(dtype))
    zca = ZCA.fit(few)
    z = zca(few)
    assert z.dtype == dtype
    assert z.isfinite().all()
    assert torch.allclose(zca.inverse(z), few, atol=1e-5)


def test_the_fit_alone_decides(x):
    zca = ZCA.fit(x[:300])
    before = zca(x[:5])
    zca(100 * x)
    assert torch.equal(zca(x[:5]), before)
    assert torch.allclose(zca(x)[:5], before)


def test_is_saved_and_loaded(x, tmp_path):
    zca = ZCA.fit(x)
    zca.save(tmp_path / "deep" / "zca.pt")
    again = ZCA.load(tmp_path / "deep" / "zca.pt")
    assert torch.equal(again(x), zca(x))
    assert torch.equal(again.inverse(x), zca.inverse(x))


def test_chunks_change_nothing(x, monkeypatch):
    whole = ZCA.fit(x)
    monkeypatch.setattr("ib_pyro.data.whitening._CHUNK", 7)
    chunked = ZCA.fit(x)
    assert torch.allclose(chunked.whitening, whole.whitening)
    assert torch.allclose(chunked(x), whole(x))
    assert torch.allclose(chunked.inverse(x), whole.inverse(x))


def test_refuses_what_cannot_be_whitened(x, tmp_path):
    with pytest.raises(ValueError, match="at least two images"):
        ZCA.fit(x[:1])
    with pytest.raises(ValueError, match="eps: expected a positive number, got 0"):
        ZCA.fit(x, eps=0)
    with pytest.raises(ValueError, match=r"x: expected images of shape \[3, 3, 3\], got \[3, 3\]"):
        ZCA.fit(x)(x[0])
    with pytest.raises(ValueError, match="whitening: expected a matrix of 27 rows"):
        ZCA(x[0], torch.eye(9), torch.eye(27))
    torch.save({"y": x}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt holds no ZCA"):
        ZCA.load(tmp_path / "other.pt")


def test_digits_become_white():
    train = load("digits", "train")
    zca = ZCA.fit(normalize_per_image(train.x))
    variances = zca(normalize_per_image(train.x)).flatten(1).double().T.cov().diagonal()
    # Of 64 pixels a few never vary.
    assert (variances > 0.9).sum() < 64
    z = zca(normalize_per_image(load("digits", "test").x))
    assert torch.allclose(zca.inverse(z), normalize_per_image(load("digits", "test").x), atol=1e-4)


def test_an_image_of_one_number_is_centred():
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert normalize_per_image(torch.tensor([[[[3.0]]]])).item() == 0

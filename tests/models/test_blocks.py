"""Layers of any dropout by name."""

import pytest
import torch
from torch import nn

from ib_pyro.nn import BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout, StochasticLayer
from models.blocks import DROPOUTS, ImageInput, noisy_conv2d, noisy_linear

KINDS = {
    "information": InformationDropout,
    "binary": BinaryDropout,
    "gaussian": GaussianDropout,
    "constant": ConstantDropout,
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_each_name_builds_its_layer(name, kind):
    assert type(noisy_linear(name, 4, 3)) is kind
    assert type(noisy_conv2d(name, 2, 3, 3)) is kind


def test_the_names():
    assert set(DROPOUTS) == {*KINDS, "none"}


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("dropout", DROPOUTS)
def test_shapes_and_batch_norm(dropout, activation, batch_norm):
    linear = noisy_linear(dropout, 4, 3, activation=activation, batch_norm=batch_norm)
    conv = noisy_conv2d(dropout, 2, 3, 3, 2, padding=1, activation=activation, batch_norm=batch_norm)
    assert linear(torch.randn(5, 4)).shape == (5, 3)
    z = conv(torch.randn(5, 2, 8, 8))
    assert z.shape == (5, 3, 4, 4)
    assert (z >= 0).all() or dropout == "gaussian"
    for layer, norm in ((linear, nn.BatchNorm1d), (conv, nn.BatchNorm2d)):
        assert sum(isinstance(m, norm) for m in layer.modules()) == batch_norm


def test_without_dropout_there_is_no_noise():
    layer = noisy_linear("none", 4, 3, batch_norm=False)
    assert not any(isinstance(m, StochasticLayer) for m in layer.modules())
    x = torch.randn(5, 4)
    assert torch.equal(layer(x), layer(x))


def test_options_reach_the_layer():
    assert noisy_linear("binary", 4, 3, drop_prob=0.25).drop_prob == 0.25
    assert noisy_conv2d("information", 2, 3, 3, alpha_max=0.3).alpha_max == 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: noisy_linear("informatoin", 4, 3),
            "dropout='informatoin' is unknown; did you mean 'information'",
        ),
        (lambda: noisy_conv2d("zzz", 2, 3, 3), "choose 'information', 'binary'"),
        (lambda: noisy_linear("none", 4, 3, drop_prob=0.5), r"has no noise to set \['drop_prob'\] of"),
        (lambda: noisy_linear("none", 4, 3, activation="gelu"), "activation='gelu' is unknown"),
        (lambda: noisy_linear("information", 4, 3, activation="gelu"), "activation='gelu' is unknown"),
    ],
)
def test_unknown_names_and_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("flatten", [False, True])
def test_images_of_one_shape(flatten):
    layer = ImageInput((1, 4, 4), flatten=flatten)
    x = torch.randn(5, 1, 4, 4)
    assert torch.equal(layer(x), x.flatten(1) if flatten else x)
    for wrong in (x[:, 0], x.expand(-1, 3, -1, -1), torch.randn(5, 1, 8, 8), x[0]):
        with pytest.raises(ValueError, match=r"images have shape .*built for image_shape=\(1, 4, 4\)"):
            layer(wrong)

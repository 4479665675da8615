"""Networks as in the authors' code: layers with TensorFlow's defaults, and noise that is theirs."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro.elbo import InformationBottleneckELBO
from inference.runs.spec import RunSpec
from models.all_cnn import AllCNN32, AllCNN96
from models.authors import SamePadding


@pytest.fixture
def program():
    return AllCNN32(1 / 8, variant="authors")


def modules(program, *kinds):
    return [module for module in program.modules() if isinstance(module, kinds)]


def test_batch_norm_has_an_offset_and_no_scale(program):
    norms = modules(program, nn.BatchNorm2d)
    assert norms
    assert all(norm.weight is None and norm.bias.requires_grad and norm.eps == 1e-3 for norm in norms)
    assert not any("scale" in name for name, _ in program.named_parameters())


def test_weights_are_xaviers_and_biases_zero(program):
    for layer in modules(program, nn.Conv2d, nn.Linear):
        taps = layer.weight[0, 0].numel() if layer.weight.dim() > 2 else 1
        bound = math.sqrt(6 / (taps * sum(layer.weight.shape[:2])))
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.8 * bound
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("size", [4, 5, 8, 9, 32, 96])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (5, 3), (1, 2)])
def test_same_padding_gives_a_map_of_the_size_over_the_stride(size, kernel, stride):
    x = torch.rand(1, 1, size, size)
    padded = SamePadding(kernel, stride)(x)
    assert F.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=stride).shape[-1] == -(-size // stride)
    # The map stays whole, and what is odd is left over to the end.
    before = (padded.shape[-1] - size) // 2
    assert torch.equal(padded[..., before : before + size, before : before + size], x)
    assert padded.shape[-1] - size - before in (before, before + 1)


def test_a_convolution_of_even_maps_starts_at_their_first_value(program):
    x = torch.rand(2, 3, 32, 32)
    program.eval()
    stage = dict(program.encoder.named_children())
    padded = stage["padding1"](x)
    assert torch.equal(padded[..., 0, :-1], x[..., 0, :])
    assert not padded[..., -1, :].any()


def test_the_rate_of_a_unit_is_that_of_the_authors_code_also_where_it_is_off(program):
    program.double().eval()
    layer = program.stochastic_layers["z2"]
    h = torch.randn(4, 24, 17, 17, dtype=torch.float64)
    law = layer.posterior(h)
    alpha = 0.001 + 0.7 * torch.sigmoid(layer.noise(h))
    torch.testing.assert_close(law.alpha, alpha)
    assert (layer.features(h) <= 0).any()
    rate = torch.distributions.kl_divergence(law.to_event(3), layer.prior_distribution(law.batch_shape[1:]))
    torch.testing.assert_close(rate, -(alpha / 0.701).log().sum((1, 2, 3)))


def test_softplus_activations_are_bounded_below():
    layer = AllCNN32(1 / 8, activation="softplus", variant="authors").stochastic_layers["z1"]
    assert layer.activation_floor == 1e-4
    assert layer.alpha_max == pytest.approx(0.701)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize(("build", "image"), [(AllCNN32, (3, 32, 32)), (AllCNN96, (1, 96, 96))])
def test_takes_a_step(build, image, activation, channels_last):
    program = build(1 / 16, activation=activation, variant="authors", channels_last=channels_last)
    elbo = InformationBottleneckELBO(beta=1e-4)
    elbo(program.model, program.guide)(torch.rand(3, *image), torch.arange(3)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in program.parameters())


@pytest.mark.parametrize("dropout", ["binary", "none"])
def test_other_noise_has_the_same_layers(dropout):
    program = AllCNN32(1 / 8, dropout=dropout, variant="authors")
    assert all(norm.weight is None for norm in modules(program, nn.BatchNorm2d))


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant='author'.*authors"):
        AllCNN32(1 / 8, variant="author")


def test_a_setting_that_the_variant_has_anyway_is_refused():
    with pytest.raises(ValueError, match="--atom ignore is what --variant authors does anyway"):
        RunSpec.of(model="all-cnn-32", data="cifar10", variant="authors", atom="ignore", beta=1.0)
    with pytest.raises(ValueError, match="--variant authors has no effect with --model mlp"):
        RunSpec.of(variant="authors", beta=1.0)

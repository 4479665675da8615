"""The all-convolutional networks: their layers, sites and switches."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro import noise_off
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.nn import InformationDropout
from models.all_cnn import AllCNN32, AllCNN96, InputDropout

SMALL = 1 / 24
NETWORKS = [(AllCNN32, (3, 32, 32)), (AllCNN96, (1, 96, 96))]


@pytest.fixture(params=NETWORKS, ids=["32", "96"])
def network(request):
    return request.param


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def sites_of(program, x):
    with torch.no_grad():
        return program.latents(x)


def test_all_cnn_32_has_the_layers_of_table_2():
    program = AllCNN32()
    shapes = [tuple(c.weight.shape) for c in convolutions(program)]
    noisy = [(96, 96, 3, 3)] * 2, [(192, 192, 3, 3)] * 2
    assert shapes == [
        (96, 3, 3, 3),
        (96, 96, 3, 3),
        *noisy[0],
        (192, 96, 3, 3),
        (192, 192, 3, 3),
        *noisy[1],
        (192, 192, 3, 3),
        (192, 192, 1, 1),
        (10, 192, 1, 1),
    ]
    assert [c.stride for c in convolutions(program)].count((2, 2)) == 4


# Width, kernel and stride of each line of Table 2, but for the last convolution's classes.
TABLE_2 = {
    AllCNN32: [
        (96, 3, 1),
        (96, 3, 1),
        (96, 3, 2),
        (192, 3, 1),
        (192, 3, 1),
        (192, 3, 2),
        (192, 3, 1),
        (192, 1, 1),
    ],
    AllCNN96: [
        *[(32, 3, 1), (32, 3, 1), (32, 3, 2), (64, 3, 1), (64, 3, 1), (64, 3, 2)],
        *[(96, 3, 1), (96, 3, 1), (96, 3, 2), (192, 3, 1), (192, 3, 1), (192, 3, 2)],
        *[(192, 3, 1), (192, 1, 1)],
    ],
}


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_every_convolution_is_a_line_of_table_2_at_its_share_of_the_filters(network, fraction):
    build, (channels, *_) = network
    found = convolutions(build(fraction, "constant"))
    lines = [(int(fraction * width), kernel, stride) for width, kernel, stride in TABLE_2[build]]
    lines.append((10, 1, 1))
    assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in found] == lines
    assert [c.in_channels for c in found] == [channels, *(width for width, *_ in lines[:-1])]


def test_all_cnn_96_has_four_noisy_layers_that_halve_the_map():
    program = AllCNN96(fraction=1 / 32)
    shapes = {name: tuple(z.shape[1:]) for name, z in sites_of(program, torch.rand(2, 1, 96, 96)).items()}
    assert shapes == {"z1": (1, 48, 48), "z2": (2, 24, 24), "z3": (3, 12, 12), "z4": (6, 6, 6)}


@pytest.mark.parametrize("fraction", [0.25, 0.3, 1.0])
def test_the_fraction_scales_every_width_but_the_classes(fraction):
    widths = [c.out_channels for c in convolutions(AllCNN32(fraction).encoder)]
    assert widths == [int(96 * fraction)] * 4 + [int(192 * fraction)] * 4
    assert convolutions(AllCNN32(fraction).decoder)[-1].out_channels == 10


def test_a_fraction_without_filters_is_refused():
    with pytest.raises(ValueError, match="fraction=0.01 leaves no filter of 96"):
        AllCNN32(fraction=0.01)


def test_the_noise_branch_has_no_batch_norm_and_sees_the_input_of_the_features(network):
    build, shape = network
    program = build(SMALL).eval()
    layer = program.stochastic_layers["z1"]
    assert isinstance(layer, InformationDropout)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in layer.noise.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in layer.features.modules())
    seen = {}
    layer.features.register_forward_pre_hook(lambda _, inputs: seen.update(features=inputs[0]))
    layer.noise.register_forward_pre_hook(lambda _, inputs: seen.update(noise=inputs[0]))
    program.encoder(torch.rand(2, *shape))
    assert torch.equal(seen["features"], seen["noise"])


@pytest.mark.parametrize("dropout", ["information", "binary", "gaussian", "constant", "none"])
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_every_dropout_and_activation_gives_a_finite_lagrangian(network, dropout, activation):
    build, shape = network
    program = build(SMALL, dropout, activation)
    x, y = torch.rand(4, *shape), torch.tensor([0, 1, 2, 9])
    terms = InformationBottleneckELBO(beta=1e-4).terms(program.model, program.guide, x, y)
    assert terms.loss.isfinite()
    assert list(terms.rate) == ([] if dropout == "none" else list(program.stochastic_layers))


def test_the_rate_of_relu_is_that_of_the_formula():
    program = AllCNN32(SMALL).double().eval()
    x, y = torch.rand(3, 3, 32, 32, dtype=torch.float64), torch.tensor([1, 2, 3])
    inputs = {}
    for name, layer in program.stochastic_layers.items():
        layer.register_forward_pre_hook(lambda _, args, name=name: inputs.update({name: args[0]}))
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x, y)
    for name, layer in program.stochastic_layers.items():
        on = F.relu(layer.features(inputs[name])) > 0
        expected = ((0.7 / layer.alpha(inputs[name])).log() * on).sum((1, 2, 3))
        torch.testing.assert_close(terms.rate[name], expected)


def test_channels_last_changes_the_layout_and_not_the_numbers():
    plain, fast = AllCNN32(SMALL, input_dropout=0.0), AllCNN32(SMALL, input_dropout=0.0, channels_last=True)
    fast.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(fast.eval().predict(x, 0), plain.eval().predict(x, 0))
    z = sites_of(fast, x)["z2"]
    assert z.is_contiguous(memory_format=torch.channels_last)
    weights = convolutions(fast)[1].weight
    assert weights.is_contiguous(memory_format=torch.channels_last)


def test_without_the_final_linear_map_the_scores_are_spatial_averages_of_activations():
    with_map, without = AllCNN32(SMALL), AllCNN32(SMALL, final_linear=False)
    assert isinstance(with_map.decoder[-1], nn.Linear)
    assert not any(isinstance(m, nn.Linear) for m in without.modules())
    z = torch.rand(5, 8, 8, 8)
    scores = without.decoder(z)
    torch.testing.assert_close(scores, without.decoder[:-1](z).mean((2, 3)))
    assert (scores >= 0).all()


def test_input_dropout_is_on_in_training_with_noise_only():
    layer, x = InputDropout(0.5), torch.ones(1000)
    assert set(layer(x).unique().tolist()) == {0.0, 2.0}
    with noise_off():
        assert torch.equal(layer(x), x)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize(
    ("build", "shape", "dropped"), [(*NETWORKS[0], 0.2), (*NETWORKS[1], 0.0)], ids=["32", "96"]
)
def test_the_first_convolution_sees_the_input_with_the_authors_share_dropped(build, shape, dropped):
    program, seen = build(SMALL), []
    convolutions(program)[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.ones(4, *shape)
    with torch.no_grad():
        program.encoder(x)
        program.eval().encoder(x)
    training, evaluation = seen
    assert (training == 0).float().mean().item() == pytest.approx(dropped, abs=0.02)
    kept = training[training != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - dropped)))
    assert torch.equal(evaluation, x)


def test_without_noise_in_training_mode_nothing_is_drawn():
    program = AllCNN32(SMALL)
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(program.predict(x, 0), program.predict(x, 0))


def test_an_option_of_another_noise_is_refused():
    with pytest.raises(ValueError, match="prior='log-uniform' is an option of information dropout"):
        AllCNN32(SMALL, "binary", prior="log-uniform")
    with pytest.raises(ValueError, match="input_dropout=1"):
        AllCNN32(SMALL, input_dropout=1.0)


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"image_shape=\(3, 32, 32\)"):
        AllCNN32(SMALL).predict(torch.rand(2, 3, 28, 28))

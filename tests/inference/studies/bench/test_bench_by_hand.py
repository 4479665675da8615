"""What is written by hand is the same computation as the program that it is measured beside."""

from collections.abc import Callable, Iterator

import pyro
import pytest
import torch
from torch import Tensor, nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.training.objective import Objective
from inference.studies.bench.all_cnn_by_hand import AllCNNByHand
from inference.studies.bench.loops import epoch_by_hand, fit_block, hand_block, pyro_block
from inference.studies.bench.mlp_by_hand import MLPByHand
from inference.studies.bench.noise_by_hand import noisy
from inference.studies.bench.vae_by_hand import VAEByHand
from models.all_cnn import AllCNN32
from models.mlp import MLP
from models.vae import VAE

Pairs = list[tuple[nn.Module, nn.Module]]


def mlp() -> tuple[Bottleneck, MLPByHand, Pairs, Tensor, Tensor]:
    program, network = MLP(hidden=[6, 5, 7], image_shape=(1, 4, 4)), MLPByHand([6, 5, 7], inputs=16)
    pairs: Pairs = [(program.decoder, network.head)]
    layers = (program.encoder.z1, program.encoder.z2, program.encoder.z3)
    pairs += noisy_pairs(layers, network)
    return program, network, pairs, torch.rand(20, 1, 4, 4), torch.randint(10, (20,))


def all_cnn() -> tuple[Bottleneck, AllCNNByHand, Pairs, Tensor, Tensor]:
    program, network = AllCNN32(fraction=1 / 16), AllCNNByHand(1 / 16)
    encoder, decoder = program.encoder, program.decoder
    pairs: Pairs = [(decoder[-1], network.head)]
    plain = (
        encoder.conv1a,
        encoder.conv1b,
        encoder.conv2a,
        encoder.conv2b,
        decoder[0],
        decoder[1],
        decoder[2],
    )
    written = (*network.first, *network.second, *network.top)
    for ours, theirs in zip(plain, written, strict=True):
        pairs += list(zip(ours[0], theirs, strict=False))
    pairs += noisy_pairs((encoder.z1, encoder.z2), network)
    return program, network, pairs, torch.rand(6, 3, 32, 32), torch.randint(10, (6,))


def vae() -> tuple[Bottleneck, VAEByHand, Pairs, Tensor, Tensor]:
    program = VAE(latent="gaussian", image_shape=(1, 4, 4), num_latent=3, hidden=8)
    network = VAEByHand(hidden=8, latent=3, pixels=16)
    layer = program.encoder.z1
    pairs: Pairs = [
        (program.encoder.hidden[0], network.hidden),
        (layer.features, network.loc),
        (layer.noise, network.scale),
        (program.decoder[0], network.decoder[0]),
        (program.decoder[2], network.decoder[2]),
    ]
    x = (torch.rand(20, 1, 4, 4) < 0.3).float()
    return program, network, pairs, x, x


def noisy_pairs(layers: tuple[nn.Module, ...], network: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    for index, layer in enumerate(layers):
        yield layer.features[0], network.features[index]
        yield layer.features[1], network.norms[index]
        yield layer.noise, network.noise[index]


BUILDERS = {"mlp": mlp, "all-cnn": all_cnn, "vae": vae}


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("way", ["uncaptured", "captured"])
def test_loss_and_gradients_are_those_of_the_program(name: str, way: str) -> None:
    program, network, pairs, x, y = BUILDERS[name]()
    program.double(), network.double()
    for ours, theirs in pairs:
        theirs.load_state_dict(ours.state_dict())
    named = {id(p) for ours, _ in pairs for p in ours.parameters()}
    assert named == {id(p) for p in program.parameters()}
    x, y = x.double(), y.double() if y.is_floating_point() else y
    objective = Objective(program, InformationBottleneckELBO(beta=0.3))
    torch.manual_seed(0)
    if way == "captured":
        objective.replay(x, y)
        program.zero_grad()
        torch.manual_seed(0)
        objective.means.reset()
        objective.replay(x, y)
        loss = torch.tensor(objective.means.compute()["loss"], dtype=torch.float64)
    else:
        loss = objective(x, y)
        loss.backward()
    torch.manual_seed(0)
    by_hand = network.loss(x, y, 0.3)
    by_hand.backward()
    torch.testing.assert_close(loss, by_hand.detach(), check_dtype=False)
    for ours, theirs in pairs:
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad)


def test_without_the_atom_units_that_are_off_pay_too() -> None:
    f, logits = torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2)
    (_, exact), (_, without) = (noisy(f, logits, atom=atom) for atom in (True, False))
    torch.testing.assert_close(without, 2 * exact)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_an_epoch_by_hand_moves_every_parameter(name: str) -> None:
    _, network, _, x, y = BUILDERS[name]()
    before = [p.detach().clone() for p in network.parameters()]
    total = epoch_by_hand(
        network, torch.optim.SGD(network.parameters(), lr=0.1), x, y, batch_size=3, beta=0.1
    )
    assert total.isfinite()
    assert all((p != old).any() for p, old in zip(network.parameters(), before, strict=True))


def test_an_epoch_by_hand_learns() -> None:
    y = torch.arange(60) % 2
    x = torch.rand(60, 1, 4, 4) + y.view(-1, 1, 1, 1)
    network = MLPByHand(8, inputs=16)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = [epoch_by_hand(network, optimizer, x, y, batch_size=20, beta=0.0).item() for _ in range(10)]
    assert losses[-1] < 0.3 * losses[0]


def test_blocks_of_every_way_take_a_step_on_all_batches() -> None:
    x, y = torch.rand(12, 1, 4, 4), torch.randint(10, (12,))
    program = MLP(hidden=4, image_shape=(1, 4, 4))
    counted: list[Callable[[], object]] = [
        fit_block(program, x, y, 5, capture="off"),
        hand_block(MLPByHand(4, inputs=16), x, y, 5),
    ]
    counted.append(pyro_block(MLP(hidden=4, image_shape=(1, 4, 4)), x, y, 5))
    for block in counted:
        batches = count_batches(block)
        assert batches == 3


def count_batches(block: Callable[[], object]) -> int:
    """Batches that an epoch normalises, by the first layer's batch norm."""
    found = []

    def count(module: nn.Module, *_: object) -> None:
        if isinstance(module, nn.BatchNorm1d) and module.training:
            found.append(module)

    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        with pyro.get_param_store().scope():
            block()
    finally:
        handle.remove()
    return len(found) // 3

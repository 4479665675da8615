"""The loop written by hand is the same computation as the fit that it is measured beside."""

import pytest
import torch
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from inference.fit.objective import Objective
from inference.studies.step_cost import HandWritten, hand_written_epoch, step_cost
from models.mlp import MLP


def test_hand_written_loss_and_gradients_are_those_of_the_program() -> None:
    program, network = MLP(hidden=6, image_shape=(1, 4, 4)).double(), HandWritten(6, inputs=16).double()
    layers = (program.encoder.z1, program.encoder.z2, program.encoder.z3)
    pairs = [(program.decoder, network.head)]
    for index, layer in enumerate(layers):
        pairs += [
            (layer.features[0], network.features[index]),
            (layer.features[1], network.norms[index]),
            (layer.noise, network.noise[index]),
        ]
    for ours, theirs in pairs:
        theirs.load_state_dict(ours.state_dict())
    x, y = torch.rand(20, 1, 4, 4, dtype=torch.float64), torch.randint(10, (20,))
    torch.manual_seed(0)
    loss = Objective(program, InformationBottleneckELBO(beta=0.3))(x, y)
    torch.manual_seed(0)
    logits, rate = network(x)
    by_hand = F.cross_entropy(logits, y) + 0.3 * rate.mean()
    torch.testing.assert_close(loss, by_hand)
    loss.backward()
    by_hand.backward()
    for ours, theirs in pairs:
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad)


def test_hand_written_epoch_learns() -> None:
    y = torch.arange(60) % 2
    x = torch.rand(60, 1, 4, 4) + y.view(-1, 1, 1, 1)
    network = HandWritten(8, inputs=16)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = [hand_written_epoch(network, optimizer, x, y, batch_size=20, beta=0.0).item() for _ in range(10)]
    assert losses[-1] < 0.3 * losses[0]


def test_costs_are_measured() -> None:
    cost = step_cost(4, batch_size=4, steps=2, blocks=3)
    assert cost.fit > 0
    assert cost.by_hand > 0
    assert cost.spread[0] <= cost.ratio <= cost.spread[1]
    assert cost.ratio == pytest.approx(cost.fit / cost.by_hand, rel=0.9)

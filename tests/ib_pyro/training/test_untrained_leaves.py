"""A fit trains all that its loss depends on, or says what it does not know of."""

import functools
import types
from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, fit
from ib_pyro.elbo import CriticTotalCorrelation
from ib_pyro.information import DensityRatioCritic
from ib_pyro.nn import InformationDropout
from ib_pyro.training.graph_leaves import leaves_behind, strangers

X = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long()
my_nets = types.ModuleType("my_nets")


class Nets:
    decoder: nn.Module


@functools.lru_cache(maxsize=1)
def cached() -> nn.Module:
    return nn.Linear(3, 2)


def pair(decode: Callable[[Tensor], Tensor]) -> tuple[Callable[..., None], Callable[..., None]]:
    layer = InformationDropout.linear(4, 3, batch_norm=True, name="z")

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = layer.sample_prior(torch.Size([3]))
            pyro.sample("y", dist.Categorical(logits=decode(z)), obs=y)

    def guide(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            layer(x)

    return model, guide


def run(program: object, **options: Any) -> Any:
    elbo = {} if "elbo" in options else {"beta": 0.1}
    return fit(program, (X, Y), epochs=1, batch_size=8, progress=False, **elbo, **options)


def hidden(kind: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A decoder that no search through closures finds, and a tensor of it."""
    if kind == "a module's attribute":
        my_nets.decoder = nn.Linear(3, 2)
        return lambda z: my_nets.decoder(z), my_nets.decoder.weight
    if kind == "a class's attribute":
        Nets.decoder = nn.Linear(3, 2)
        return lambda z: Nets.decoder(z), Nets.decoder.weight
    if kind == "what a cached function returns":
        cached.cache_clear()
        return lambda z: cached()(z), cached().weight
    weight = torch.randn(2, 3, requires_grad=True)
    return lambda z: z @ weight.T, weight


HIDDEN = "a module's attribute", "a class's attribute", "what a cached function returns", "a tensor"


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_nobody_trains_is_refused_and_nothing_has_moved(kind: str) -> None:
    decode, weight = hidden(kind)
    program, state = pair(decode), torch.get_rng_state()
    with pytest.raises(
        ValueError, match=r"shape .*\(2, 3\).*none of the modules found behind.*closure.*requires_grad_"
    ):
        run(program, order=torch.Generator())
    assert weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    [layer] = {cell.cell_contents for cell in program[1].__closure__ or ()}
    assert int(next(b for name, b in layer.named_buffers() if "num_batches" in name)) == 0


@pytest.mark.parametrize("kind", HIDDEN)
def test_it_may_be_frozen_or_somebody_elses(kind: str) -> None:
    decode, weight = hidden(kind)
    layer_first = pair(decode)
    leaves = [weight] if kind == "a tensor" else list(_module_of(kind).parameters())
    before = weight.detach().clone()
    run(layer_first, also={"mine": torch.optim.SGD(leaves, lr=0.1)})
    assert torch.equal(weight, before)
    run(layer_first, optimizer=lambda parameters: torch.optim.SGD([*parameters, *leaves], lr=0.1))
    assert not torch.equal(weight, before)
    for leaf in leaves:
        leaf.requires_grad_(False)
    run(layer_first)


def _module_of(kind: str) -> nn.Module:
    return {HIDDEN[0]: lambda: my_nets.decoder, HIDDEN[1]: lambda: Nets.decoder, HIDDEN[2]: cached}[kind]()


def test_a_module_is_asked_as_well() -> None:
    other = nn.Linear(2, 2)
    program = Bottleneck(
        InformationDropout.linear(4, 3), nn.Linear(3, 2), lambda out: dist.Categorical(logits=other(out))
    )
    with pytest.raises(ValueError, match="none of the modules of the program.*nn.Parameter"):
        run(program)


def test_what_data_or_a_transform_came_from_is_not_asked_for() -> None:
    features = nn.Linear(4, 4)
    program = pair(nn.Linear(3, 2))
    fit(program, (X.clone().requires_grad_(), Y), epochs=1, beta=0.1, progress=False)
    run(program, transform=lambda x, y: (features(x).detach(), y))


@pytest.mark.filterwarnings("ignore:Converting a tensor")  # of the history's column beta
def test_a_critic_of_the_objective_is_known() -> None:
    critic = DensityRatioCritic(3, hidden=(4,))
    elbo = InformationBottleneckELBO(0.1, 0.5, total_correlation=CriticTotalCorrelation(critic))
    with pytest.warns(UserWarning, match="nobody took one"):
        run(Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2)), elbo=elbo)
    weight = torch.tensor(0.1, requires_grad=True)
    run(pair(nn.Linear(3, 2)), elbo=InformationBottleneckELBO(weight))


def test_leaves_of_a_graph() -> None:
    one, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    loss = (one * torch.ones(2)).sum() + (one + other).prod()
    assert {id(leaf) for leaf in leaves_behind(loss)} == {id(one), id(other)}
    assert [id(leaf) for leaf in strangers(loss, [one])] == [id(other)]
    assert list(leaves_behind(torch.ones(()))) == []


def test_an_input_that_asks_for_gradients_in_place_is_none() -> None:
    layer = InformationDropout.linear(4, 3, name="z")
    decoder = nn.Linear(3, 2)

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = layer.sample_prior(torch.Size([3]))
            pyro.sample("y", dist.Categorical(logits=decoder(z)), obs=y)

    def guide(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            layer(x.requires_grad_())

    run((model, guide))


def test_a_tensor_of_what_learns_beside_is_known() -> None:
    class Multiplier:
        def __init__(self) -> None:
            self.theta = torch.zeros((), requires_grad=True)
            self.optimizer = torch.optim.SGD([self.theta], 0.1)

        def state_dict(self) -> dict[str, Any]:
            return {"theta": self.theta.detach()}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.theta.data.copy_(state["theta"])

    multiplier = Multiplier()

    class Weighted(InformationBottleneckELBO):
        def differentiable_loss(self, *args: Any, **kwargs: Any) -> Tensor:
            return super().differentiable_loss(*args, **kwargs) * multiplier.theta.exp()

    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="also="):
        run(program, elbo=Weighted(beta=0.1))
    run(program, elbo=Weighted(beta=0.1), also={"multiplier": multiplier})

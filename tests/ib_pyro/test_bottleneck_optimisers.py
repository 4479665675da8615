"""The two ways to train a program, Pyro's and PyTorch's, and what they leave behind."""

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import BinaryDropout, InformationDropout

ELBOS = [InformationBottleneckELBO(beta=0.1), TraceMeanField_ELBO(), Trace_ELBO()]


def make(width=3):
    encoder = nn.Sequential(
        InformationDropout.linear(4, width, batch_norm=True),
        InformationDropout.linear(width, 2, activation="softplus", prior="log-normal"),
    )
    return Bottleneck(encoder, nn.Linear(2, 2))


@pytest.fixture
def batch():
    x = torch.randn(20, 4)
    return x, (x[:, 0] > 0).long()


@pytest.mark.parametrize("elbo", ELBOS, ids=lambda e: type(e).__name__)
def test_svi_trains_and_stores_every_parameter(batch, elbo):
    program = make()
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.03}), elbo)
    losses = [svi.step(*batch) for _ in range(40)]
    assert sum(losses[-5:]) < sum(losses[:5])
    stored = dict(pyro.get_param_store().named_parameters())
    expected = {name.replace(".", "$$$", 1): value for name, value in program.named_parameters()}
    assert stored.keys() == expected.keys()
    assert all(stored[name] is value for name, value in expected.items())


@pytest.mark.parametrize("elbo", ELBOS, ids=lambda e: type(e).__name__)
def test_the_module_way_leaves_the_store_empty(batch, elbo):
    program = make()
    loss = elbo(program.model, program.guide)
    assert {id(p) for p in loss.parameters()} == {id(p) for p in program.parameters()}
    optimiser = torch.optim.SGD(loss.parameters(), lr=0.01)
    before = {name: value.clone() for name, value in program.named_parameters()}
    value = loss(*batch)
    value.backward()
    optimiser.step()
    assert not list(pyro.get_param_store().keys())
    for name, parameter in program.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_both_ways_take_the_same_steps(batch):
    elbo = InformationBottleneckELBO(beta=0.1)
    program = make().double()
    twin = make().double()
    twin.load_state_dict(program.state_dict())
    x, y = batch[0].double(), batch[1]
    svi = SVI(program.model, program.guide, pyro.optim.SGD({"lr": 0.01}), elbo)
    loss = elbo(twin.model, twin.guide)
    optimiser = torch.optim.SGD(loss.parameters(), lr=0.01)
    for seed in range(5):
        torch.manual_seed(seed)
        value = svi.step(x, y)
        torch.manual_seed(seed)
        optimiser.zero_grad()
        expected = loss(x, y)
        expected.backward()
        optimiser.step()
        assert value == expected.item()
    for a, b in zip(program.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_evaluating_does_not_touch_the_store(batch):
    program = make()
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.1}), InformationBottleneckELBO())
    svi.evaluate_loss(*batch)
    InformationBottleneckELBO().terms(program.model, program.guide, *batch)
    program.predict(batch[0])
    assert not list(pyro.get_param_store().keys())


@pytest.mark.parametrize("width", [3, 5])
def test_a_second_program_is_not_given_the_firsts_parameters(batch, width):
    """Pyro's store goes by name; with other parameters under the same names it would train those."""
    elbo, optim = InformationBottleneckELBO(), pyro.optim.Adam({"lr": 0.01})
    first, second = make(), make(width)
    SVI(first.model, first.guide, optim, elbo).step(*batch)
    weights = [p.clone() for p in second.parameters()]
    svi = SVI(second.model, second.guide, optim, elbo)
    with pytest.raises(RuntimeError, match=r"already holds encoder.*another program.*clear_param_store"):
        svi.step(*batch)
    assert all(torch.equal(a, b) for a, b in zip(weights, second.parameters(), strict=True))
    with pyro.get_param_store().scope():
        svi.step(*batch)
    pyro.clear_param_store()
    svi.step(*batch)


def test_the_same_program_may_be_fitted_again(batch):
    program = make()
    for elbo in (InformationBottleneckELBO(), InformationBottleneckELBO(beta=0.5)):
        SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.01}), elbo).step(*batch)


def test_parameters_may_be_kept_out_of_the_global_store(batch):
    with pyro.settings.context(module_local_params=True):
        program = make()
        svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.03}), InformationBottleneckELBO())
        before = program.decoder.weight.clone()
        svi.step(*batch)
        assert not torch.equal(program.decoder.weight, before)


def test_gradients_accumulate_as_in_pytorch(batch):
    program, elbo = make().double(), InformationBottleneckELBO()
    x, y = batch[0].double(), batch[1]
    for seed in (1, 1):
        torch.manual_seed(seed)
        elbo.loss_and_grads(program.model, program.guide, x, y)
        grads = [p.grad.clone() for p in program.parameters()]
    program.zero_grad()
    torch.manual_seed(1)
    elbo(program.model, program.guide)(x, y).backward()
    for twice, p in zip(grads, program.parameters(), strict=True):
        torch.testing.assert_close(twice, 2 * p.grad, rtol=1e-6, atol=1e-9)


def test_a_program_without_noise_or_without_a_parameter_in_one_half(batch):
    """A decoder may be a mere function of z."""
    program = Bottleneck(BinaryDropout.linear(4, 2, activation="identity"), nn.Identity())
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.03}), InformationBottleneckELBO())
    svi.step(*batch)
    assert set(pyro.get_param_store().keys()) == {"encoder$$$features.weight", "encoder$$$features.bias"}


def test_a_reloaded_store_says_how_to_take_it_over(batch, tmp_path):
    path, elbo = str(tmp_path / "store"), InformationBottleneckELBO()
    first = make()
    SVI(first.model, first.guide, pyro.optim.Adam({"lr": 0.01}), elbo).step(*batch)
    pyro.get_param_store().save(path)
    pyro.clear_param_store()
    pyro.get_param_store().load(path)
    second = make()
    svi = SVI(second.model, second.guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    with pytest.raises(
        RuntimeError, match=r"loaded from a file.*pyro.module\('encoder', program.encoder, update_mod"
    ):
        svi.step(*batch)
    for half in ("encoder", "decoder"):
        pyro.module(half, getattr(second, half), update_module_params=True)
    for name, value in first.named_parameters():
        assert torch.equal(dict(second.named_parameters())[name], value)
    before = {name: value.clone() for name, value in second.named_parameters()}
    svi.step(*batch)
    assert any(not torch.equal(value, before[name]) for name, value in second.named_parameters())


def test_a_clash_leaves_the_store_as_it_was(batch):
    first, second = make(), make(5)
    second.encoder[0].register_parameter("extra", nn.Parameter(torch.zeros(())))
    elbo, optim = InformationBottleneckELBO(), pyro.optim.Adam({"lr": 0.01})
    SVI(first.model, first.guide, optim, elbo).step(*batch)
    names = set(pyro.get_param_store().keys())
    with pytest.raises(RuntimeError, match="another program"):
        SVI(second.model, second.guide, optim, elbo).step(*batch)
    assert set(pyro.get_param_store().keys()) == names


def test_each_parameter_is_in_the_module_tree_of_a_side_once():
    program = make()
    for side in (program.model, program.guide):
        assert side.program is program
        names = [name for name, _ in side.named_parameters(remove_duplicate=False)]
        assert names == [name for name, _ in program.named_parameters()]
    assert program.model.encoder is program.guide.encoder is program.encoder

"""A captured loss is the loss: its value, its gradients, its statistics and what it draws, step for step."""

import copy

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.capture import CaptureError
from ib_pyro.elbo.penalties import Capacity
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout

LAYERS = {
    "information": InformationDropout,
    "binary": BinaryDropout,
    "constant": ConstantDropout,
    "gaussian": GaussianDropout,
    "additive": AdditiveNormal,
}


def program_of(kind="information", **options):
    layer = LAYERS[kind]
    norm = {} if kind == "additive" else {"batch_norm": True}
    return Bottleneck(
        nn.Sequential(layer.linear(6, 5, **norm, **options), layer.linear(5, 4, **norm, **options)),
        nn.Linear(4, 3),
    )


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 6, generator=generator)
    return x, torch.randint(3, (20,), generator=generator)


def step(loss, program, data, seed):
    """Return the loss; gradients stay with the parameters."""
    program.zero_grad()
    torch.manual_seed(seed)
    value = loss(*data)
    value.backward()
    return value.detach(), torch.get_rng_state()


def require_same(one, other):
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0)
    for a, b in zip(one.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_steps_are_the_same_to_the_last_digit(kind, data):
    program = program_of(kind)
    twin = copy.deepcopy(program)
    elbo = InformationBottleneckELBO(0.1)
    captured = elbo.capture(program.model, program.guide)

    def eager(x, y):
        return elbo.differentiable_loss(twin.model, twin.guide, x, y)

    optimizers = [torch.optim.SGD(p.parameters(), lr=0.1, momentum=0.9) for p in (program, twin)]
    for seed in range(4):
        value, state = step(captured, program, data, seed)
        expected, expected_state = step(eager, twin, data, seed)
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
        assert torch.equal(state, expected_state)
        require_same(program, twin)
        for optimizer in optimizers:
            optimizer.step()


def compare(captured, elbo, program, twin, data, seed=7):
    value, _ = step(captured, program, data, seed)
    expected, _ = step(lambda *a: elbo.differentiable_loss(twin.model, twin.guide, *a), twin, data, seed)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    require_same(program, twin)


CHANGES = {
    "evaluation mode": lambda p: p.eval(),
    "another batch norm momentum": lambda p: setattr(p.encoder[0].features[1], "momentum", 0.5),
    "another range of noise": lambda p: setattr(p.encoder[0], "alpha_max", 0.3),
    "another activation": lambda p: setattr(p.encoder[1], "activation", "softplus"),
    "a frozen layer": lambda p: p.encoder[0].requires_grad_(False),
    "no bias": lambda p: setattr(p.decoder, "bias", None),
    "another size of the set": lambda p: setattr(p, "num_data", 500),
    "other weights": lambda p: p.load_state_dict({k: v + 1 for k, v in p.state_dict().items()}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_between_steps_counts(change, data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    twin = copy.deepcopy(program)
    captured = elbo.capture(program.model, program.guide)
    compare(captured, elbo, program, twin, data)
    for one in (program, twin):
        CHANGES[change](one)
    compare(captured, elbo, program, twin, data)


def test_double_precision_after_a_capture_in_single(data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    captured = elbo.capture(program.model, program.guide)
    captured(*data)
    program.double()
    assert captured(data[0].double(), data[1]).dtype == torch.float64


@pytest.mark.parametrize(
    "betas", [(0.1, 0.2, 0.3), (0.1, 0.0, 0.1), (1.0, 0.5, 1.0), ({"z1": 0.5}, {"z1": 0.7}, 0.2)]
)
def test_beta_may_be_set_between_steps(betas, data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    twin = copy.deepcopy(program)
    captured = elbo.capture(program.model, program.guide)
    for beta in betas:
        elbo.beta = beta
        compare(captured, elbo, program, twin, data)


def test_a_moving_beta_is_recorded_twice_and_no_more(data, monkeypatch):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    captured = elbo.capture(program.model, program.guide)
    runs = []
    inner = type(elbo).terms
    monkeypatch.setattr(type(elbo), "terms", lambda self, *a, **k: (runs.append(1), inner(self, *a, **k))[1])
    for number in range(12):
        elbo.beta = 0.1 + number / 100
        captured(*data)
    assert len(runs) == 4


def test_batches_of_another_size_are_recorded_too(data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    twin = copy.deepcopy(program)
    captured = elbo.capture(program.model, program.guide)
    for size in (20, 7, 20, 7):
        compare(captured, elbo, program, twin, [part[:size] for part in data])


def test_terms_are_those_of_the_objective(data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    captured = elbo.capture(program.model, program.guide)
    torch.manual_seed(3)
    terms = captured.terms_and_grads(*data)
    torch.manual_seed(3)
    expected = elbo.terms(program.model, program.guide, *data)
    torch.testing.assert_close(terms.distortion, expected.distortion.detach())
    assert terms.rate.keys() == expected.rate.keys()
    assert terms.estimator == expected.estimator
    assert not terms.loss.requires_grad


def test_gradients_accumulate_and_scale(data):
    program, elbo = program_of("additive"), InformationBottleneckELBO(0.1)
    captured = elbo.capture(program.model, program.guide)
    torch.manual_seed(0)
    captured(*data).backward()
    once = [p.grad.clone() for p in program.parameters()]
    torch.manual_seed(0)
    (2 * captured(*data)).backward()
    for parameter, gradient in zip(program.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 3 * gradient)


def test_a_second_derivative_is_refused(data):
    program, elbo = program_of("additive"), InformationBottleneckELBO(0.1)
    loss = elbo.capture(program.model, program.guide)(*data)
    weight = program.decoder.weight
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|does not require grad"):
        gradient.sum().backward()


def test_an_argument_that_requires_a_gradient_is_refused(data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    with pytest.raises(CaptureError, match="detach it"):
        elbo.capture(program.model, program.guide)(data[0].requires_grad_(), data[1])


def test_a_penalty_put_in_later_is_looked_into(data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    twin = copy.deepcopy(program)
    captured = elbo.capture(program.model, program.guide)
    compare(captured, elbo, program, twin, data)
    elbo.penalty = Capacity(2.0)
    compare(captured, elbo, program, twin, data)
    elbo.penalty.target = 5.0
    compare(captured, elbo, program, twin, data)


def test_a_nesting_that_is_guessed_by_drawing_is_refused(data):
    program = program_of("additive")
    elbo = InformationBottleneckELBO(0.1, num_particles=3, vectorize_particles=True)
    with pytest.raises(CaptureError, match="give it max_plate_nesting="):
        elbo.capture(program.model, program.guide)(*data)


def test_a_copy_is_of_the_copied_program(data):
    program, elbo = program_of(), InformationBottleneckELBO(0.1)
    captured = elbo.capture(program.model, program.guide)
    captured(*data)
    other = copy.deepcopy(captured)
    torch.manual_seed(0)
    expected = captured(*data).detach()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.zero_()
    torch.manual_seed(0)
    torch.testing.assert_close(other(*data).detach(), expected)


class Product(nn.Module):
    """A linear map whose weight gets a gradient that lies transposed in memory."""

    def __init__(self, width_in, width_out):
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(width_out, width_in))

    def forward(self, x):
        return torch.einsum("bi,oi->bo", x, self.weight)


def test_fused_optimisers_find_gradients_in_the_layout_of_their_parameters(data):
    program = Bottleneck(InformationDropout(Product(6, 5), Product(6, 5), event_dim=1), Product(5, 3))
    twin = copy.deepcopy(program)
    elbo = InformationBottleneckELBO(0.1)
    captured = elbo.capture(program.model, program.guide)
    optimizers = [torch.optim.SGD(p.parameters(), lr=0.1, momentum=0.9, fused=True) for p in (program, twin)]
    for seed in range(3):
        program.zero_grad()
        torch.manual_seed(seed)
        captured.loss_and_grads(*data)  # autograd, which would lay them out, has no part in it
        step(lambda *a: elbo.differentiable_loss(twin.model, twin.guide, *a), twin, data, seed)
        for optimizer in optimizers:
            optimizer.step()
        for one, other in zip(program.parameters(), twin.parameters(), strict=True):
            assert one.grad.stride() == one.stride()
            torch.testing.assert_close(one, other)

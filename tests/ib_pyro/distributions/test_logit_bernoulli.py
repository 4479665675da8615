"""The density of binary values as one operation: its numbers, its gradients, and what PyTorch does with it."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from ib_pyro.distributions.logit_bernoulli import LogitBernoulli, bernoulli_log_density

INF = math.inf
# What PyTorch says of itself when it first takes a forward gradient.
FORWARD_GRADIENTS = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
EDGES = [0.0, 1e-30, 1e-8, 1e-3, 1.0, 5.0, 20.0, 80.0, 1e4, 1e30]


def exact(logits: Tensor, value: Tensor) -> Tensor:
    """``y log sigma(x) + (1 - y) log sigma(-x)`` in float64, by functions whose own tails are exact."""
    x, y = logits.double(), value.double()
    return torch.special.xlogy(y, 0 * x + math.e) * F.logsigmoid(x) + (1 - y) * F.logsigmoid(-x)


def pairs(*shape: int) -> tuple[Tensor, Tensor]:
    return 3 * torch.randn(*shape, dtype=torch.float64), torch.rand(*shape, dtype=torch.float64)


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0, 1.5])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 3e-7), (torch.float64, 1e-13)])
def test_it_is_exact_to_rounding(value: float, dtype: torch.dtype, digits: float) -> None:
    edges = torch.tensor(EDGES, dtype=dtype)
    logits = torch.cat([edges, -edges, torch.linspace(-80, 80, 4001, dtype=dtype)])
    found = bernoulli_log_density(logits, torch.full_like(logits, value))
    expected = exact(logits, torch.full_like(logits, value))
    assert found.dtype == dtype
    # The density of a value beyond [0, 1] passes through zero, where what is left of a difference is rounding.
    largest = 1.0 if value > 1 else 0.0
    torch.testing.assert_close(found.double(), expected, rtol=digits, atol=largest * digits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_infinite_logit_is_certain(dtype: torch.dtype) -> None:
    logits = torch.tensor([INF, INF, INF, -INF, -INF, -INF], dtype=dtype, requires_grad=True)
    value = torch.tensor([1.0, 0.0, 0.5, 0.0, 1.0, 0.5], dtype=dtype)
    found = bernoulli_log_density(logits, value)
    assert found.tolist() == [0.0, -INF, -INF, 0.0, -INF, -INF]
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.tolist() == [0.0, -1.0, -0.5, 0.0, 1.0, 0.5]


def test_nan_stays_nan() -> None:
    logits, value = torch.tensor([math.nan, 1.0, INF]), torch.tensor([1.0, math.nan, math.nan])
    assert bernoulli_log_density(logits, value).isnan().all()


def test_its_numbers_and_gradients_are_pytorchs() -> None:
    logits, value = 3 * torch.randn(50, 4, 6), torch.rand(50, 4, 6)
    found, expected = [], []
    for results, density in (
        (found, lambda x, y: bernoulli_log_density(x, y, 2)),
        (
            expected,
            lambda x, y: -F.binary_cross_entropy_with_logits(x, y, reduction="none").sum((1, 2)),
        ),
    ):
        x, y = logits.clone().requires_grad_(), value.clone().requires_grad_()
        total = density(x, y)
        results += [total, *torch.autograd.grad((total * torch.arange(50)).sum(), (x, y))]
    torch.testing.assert_close(found, expected)


@FORWARD_GRADIENTS
@pytest.mark.parametrize("event_dim", [0, 1, 2])
def test_gradients_of_both_orders_are_those_of_the_formula(event_dim: int) -> None:
    given = tuple(each.requires_grad_() for each in pairs(3, 2, 4))
    assert torch.autograd.gradcheck(
        lambda x, y: bernoulli_log_density(x, y, event_dim), given, check_forward_ad=True
    )
    assert torch.autograd.gradgradcheck(lambda x, y: bernoulli_log_density(x, y, event_dim), given)


def test_gradients_of_what_is_broadcast_are_summed() -> None:
    logits = torch.randn(2, dtype=torch.float64, requires_grad=True)
    value = torch.rand(3, 4, 1, dtype=torch.float64, requires_grad=True)
    assert bernoulli_log_density(logits, value, 1).shape == (3, 4)
    assert torch.autograd.gradcheck(lambda x, y: bernoulli_log_density(x, y, 1), (logits, value))


@pytest.mark.parametrize("batched", [(0, 0), (0, None), (None, 0), (1, 0)])
def test_it_is_mapped(batched: tuple[int | None, int | None]) -> None:
    shapes = [(4, 3, 5) if dim == 0 else (3, 4, 5) if dim == 1 else (3, 5) for dim in batched]
    given = [pairs(*shape)[n] for n, shape in enumerate(shapes)]

    def density(x: Tensor, y: Tensor) -> Tensor:
        return bernoulli_log_density(x, y, 1)

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        return torch.func.grad(lambda logits: density(logits, y).sum())(x)

    for function in (density, gradient):
        found = torch.func.vmap(function, batched)(*given)
        for run in range(4):
            one = [x if dim is None else x.select(dim, run) for x, dim in zip(given, batched, strict=True)]
            torch.testing.assert_close(found[run], function(*one))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_summed_in_float32(dtype: torch.dtype) -> None:
    logits, value = torch.randn(5, 3000).to(dtype).requires_grad_(), torch.ones(5, 3000, dtype=dtype)
    found = bernoulli_log_density(logits, value, 1)
    wide = logits.detach().float().requires_grad_()
    expected = bernoulli_log_density(wide, value.float(), 1)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype), rtol=0, atol=0)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(logits.grad, wide.grad.to(dtype), rtol=0, atol=0)


def test_automatic_casting_leaves_it_in_float32() -> None:
    logits, value = torch.randn(5, 300).bfloat16(), torch.ones(5, 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = bernoulli_log_density(logits, value.bfloat16(), 1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, bernoulli_log_density(logits.float(), value, 1))


@FORWARD_GRADIENTS
def test_forward_gradients_of_one_argument() -> None:
    (logits, value), (change, _) = pairs(3, 4), pairs(3, 4)
    for n, slope in enumerate((value - logits.sigmoid(), logits)):
        with forward_ad.dual_level():
            given = [logits, value]
            given[n] = forward_ad.make_dual(given[n], change)
            tangent = forward_ad.unpack_dual(bernoulli_log_density(*given, 1)).tangent
        torch.testing.assert_close(tangent, (slope * change).sum(1))


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14),
    reason="its compiler warns before PyTorch 2.14",
)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_it_is_compiled_whole(backend: str) -> None:
    given = [each.requires_grad_() for each in pairs(3, 4)]

    def gradients(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(bernoulli_log_density(x, y, 1).sum(), (x, y))

    compiled = torch.compile(lambda x, y: bernoulli_log_density(x, y, 1), backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(*given), bernoulli_log_density(*given, 1))
    found = torch.autograd.grad(compiled(*given).sum(), given)
    torch.testing.assert_close(found, gradients(*given))


def test_the_law_is_a_bernoulli_with_an_event() -> None:
    logits = torch.randn(5, 2, 3)
    law, pyros = LogitBernoulli(logits=logits), dist.Bernoulli(logits=logits)
    value = pyros.sample()
    for one, other in (
        (law, pyros),
        (law.to_event(0), pyros.to_event(0)),
        (law.to_event(2), pyros.to_event(2)),
        (law.to_event(), pyros.to_event()),
        (law.to_event(1).to_event(1), pyros.to_event(2)),
        (law.to_event(2).expand((4, 5)), pyros.to_event(2).expand((4, 5))),
        (law.expand((4, 5, 2, 3)).to_event(2), pyros.expand((4, 5, 2, 3)).to_event(2)),
        (law.to_event(2).mask(False), pyros.to_event(2).mask(False)),
    ):
        assert (one.batch_shape, one.event_shape) == (other.batch_shape, other.event_shape)
        torch.testing.assert_close(one.log_prob(value), other.log_prob(value))
        torch.testing.assert_close(one.mean, other.mean)
    expanded = law.to_event(2).expand((4, 5))
    assert type(expanded) is type(law.to_event(2))
    assert isinstance(expanded.base_dist, LogitBernoulli)
    assert torch.distributions.kl_divergence(law, pyros).abs().max() < 1e-6


def test_values_are_checked_where_asked() -> None:
    law = LogitBernoulli(logits=torch.zeros(3, 2), validate_args=True)
    for one in (law, law.to_event(1)):
        with pytest.raises(ValueError, match="support"):
            one.log_prob(torch.full((3, 2), 0.5))
    unchecked = LogitBernoulli(logits=torch.zeros(3, 2), validate_args=False).to_event(1)
    assert unchecked.log_prob(torch.full((3, 2), 0.5)).isfinite().all()

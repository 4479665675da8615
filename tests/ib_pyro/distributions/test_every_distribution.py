"""What every distribution owes to Pyro: shapes, wrappers, copies, dtypes and refusals."""

import copy
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from ib_pyro.distributions import ZeroInflatedLogUniform

SHAPES = [torch.Size(), torch.Size([5]), torch.Size([4, 5])]


def value_of(case, dtype=torch.float64, sample_shape=()):
    """A value inside of the support, drawn where the distribution can draw."""
    d = case.build(dtype)
    return d.sample(sample_shape) if case.proper else torch.full((*sample_shape, 3), 0.7, dtype=dtype)


def test_shapes(case):
    d = case.build()
    batch = torch.Size([3])[: 1 - case.event_dim]
    assert (d.batch_shape, d.event_shape) == (batch, torch.Size([3])[len(batch) :])
    for shape in SHAPES:
        value = value_of(case, sample_shape=shape)
        assert value.shape == shape + (3,)
        assert d.log_prob(value).shape == shape + batch


def test_values_lie_in_the_support(case):
    d = case.build()
    value = value_of(case, sample_shape=(500,))
    assert d.support.check(value).all()
    assert d.log_prob(value).isfinite().all()


@pytest.mark.parametrize("batch_shape", [(3,), (1, 3), (5, 3), (4, 1, 3)])
def test_expand_keeps_the_class_and_the_density(case, batch_shape):
    batch_shape = batch_shape[: len(batch_shape) - case.event_dim]
    d = case.build(validate_args=True)
    wide = d.expand(batch_shape)
    assert type(wide) is case.cls
    assert wide.batch_shape == batch_shape
    assert wide.event_shape == d.event_shape
    assert wide._validate_args
    value = value_of(case, sample_shape=(2, *batch_shape[: len(batch_shape) - 1 + case.event_dim]))
    torch.testing.assert_close(wide.log_prob(value), d.log_prob(value).expand(2, *batch_shape))


def test_expand_of_an_expansion(case):
    d = case.build()
    twice = d.expand((5, *d.batch_shape)).expand((2, 5, *d.batch_shape))
    value = value_of(case)
    assert twice.batch_shape == (2, 5, *d.batch_shape)
    torch.testing.assert_close(
        twice.log_prob(value.expand(2, 5, 3)), d.log_prob(value).expand(twice.batch_shape)
    )


def test_a_plate_expands_without_a_wrapper(case):
    value = value_of(case).expand(5, 3)

    def program():
        with pyro.plate("data", 5, dim=-1):
            return pyro.sample("z", case.build().to_event(1 - case.event_dim), obs=value)

    fn = poutine.trace(program).get_trace().nodes["z"]["fn"]
    while isinstance(fn, dist.Independent):
        fn = fn.base_dist
    assert type(fn) is case.cls
    assert fn.batch_shape[0] == 5


def test_to_event_sums(case):
    d, value = case.build(), value_of(case, sample_shape=(4,))
    whole = d.to_event(len(d.batch_shape))
    assert (whole.batch_shape, whole.event_shape) == ((), (3,))
    expected = d.log_prob(value) if case.event_dim else d.log_prob(value).sum(-1)
    torch.testing.assert_close(whole.log_prob(value), expected)


def test_mask_silences(case):
    d, value = case.build(), value_of(case)
    mask = torch.tensor([True, False, True]) if d.batch_shape else torch.tensor(False)
    expected = torch.where(mask, d.log_prob(value), 0.0)
    torch.testing.assert_close(d.mask(mask).log_prob(value), expected)
    assert (d.mask(False).log_prob(value) == 0).all()


def test_infer_shapes(case):
    names = [name.removeprefix("log_activation") or "activation" for name in case.params]
    inferred = case.cls.infer_shapes(**{name: torch.Size([3]) for name in names})
    d = case.build()
    assert inferred == (d.batch_shape, d.event_shape)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_are_the_same_distribution(case, duplicate):
    d = case.build()
    twin, value = duplicate(d), value_of(case, sample_shape=(7,))
    assert type(twin) is case.cls
    assert torch.equal(twin.log_prob(value), d.log_prob(value))
    if case.proper:
        with torch.random.fork_rng():
            expected = d.sample((3,))
        assert torch.equal(twin.sample((3,)), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(case, dtype):
    d, value = case.build(dtype), value_of(case, dtype)
    assert value.dtype == dtype
    assert d.log_prob(value).dtype == dtype
    torch.testing.assert_close(
        d.log_prob(value).double(), case.build().log_prob(value.double()), rtol=1e-4, atol=1e-4
    )
    if case.proper:
        assert {d.mean.dtype, d.variance.dtype, d.entropy().dtype} == {dtype}


def test_parameters_broadcast(case):
    tensors = case.tensors()
    first, *rest = tensors
    narrow = {first: tensors[first][:, None, None], **{name: tensors[name][1] for name in rest}}
    d = case.make(**narrow, **case.options)
    assert d.batch_shape + d.event_shape == (3, 1, 1)
    one = case.make(
        **{name: value.reshape(value.shape[:1]) for name, value in narrow.items()}, **case.options
    )
    value = torch.full((3,), 0.5, dtype=torch.float64)
    if case.cls.__name__ == "MultiplicativeBernoulli":
        value = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(d.log_prob(value[:, None, None]).flatten(), one.log_prob(value).flatten())


def test_numbers_are_accepted(case):
    d = case.cls(*(0.5 for _ in case.params)) if len(case.params) < 3 else case.cls(0.5, 1.0, 2.0)
    assert (d.batch_shape, d.event_shape) == ((), ())
    assert d.expand((5,)).batch_shape == (5,)


def test_invalid_parameters_are_refused(case):
    for wrong, message in case.invalid:
        params = {**case.tensors(), **{k: torch.tensor([0.5, v, 0.5]) for k, v in wrong.items()}}
        with pytest.raises(ValueError, match=message):
            case.make(**params, **case.options, validate_args=True)


def test_values_outside_of_the_support_are_refused(case):
    value = torch.full((3,), case.outside, dtype=torch.float64)
    with pytest.raises(ValueError, match="support"):
        case.build(validate_args=True).log_prob(value)
    unchecked = case.build(validate_args=False).log_prob(value)
    assert (unchecked.isnan() | (unchecked == -torch.inf)).all()


def test_a_program_samples_and_scores_it(proper_case):
    def program():
        with pyro.plate("data", 5, dim=-1):
            return pyro.sample("z", proper_case.build().to_event(1 - proper_case.event_dim))

    trace = poutine.trace(program).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"].shape == (5, 3)
    assert trace.nodes["z"]["log_prob"].shape == (5,)


@pytest.mark.parametrize("value", [True, False])
def test_has_rsample_can_be_set_and_survives_a_plate(case, value):
    d = case.build()
    assert d.has_rsample_(value) is d
    for same in (d, d.expand((5, *d.batch_shape)), d.expand_by([2]), copy.deepcopy(d), d.to_event(0)):
        assert same.has_rsample is value
    assert case.build().has_rsample is (case.cls is not ZeroInflatedLogUniform)
    with pytest.raises(ValueError, match="Expected value in"):
        d.has_rsample_(1)


def test_draws_that_were_to_be_detached_are_detached_in_a_plate(reparameterised_case):
    params = {
        name: v.requires_grad_(name != "drop_prob") for name, v in reparameterised_case.tensors().items()
    }
    d = reparameterised_case.make(**params, **reparameterised_case.options)
    for value in (True, False):
        with pyro.plate("data", 5, dim=-1 - len(d.batch_shape)):
            assert pyro.sample("z", d.has_rsample_(value)).requires_grad is value


def test_shapes_of_the_mixin(case):
    d = case.build()
    assert d.shape((4,)) == (4, 3)
    wide = d.expand_by([6])
    assert (wide.batch_shape, wide.event_shape) == ((6, *d.batch_shape), d.event_shape)
    assert d.event_dim == case.event_dim
    assert not d.has_enumerate_support
    with pytest.raises(Exception, match="renamed"):
        d.reshape((4,))

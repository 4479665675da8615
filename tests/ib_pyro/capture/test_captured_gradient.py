"""What a captured function keeps, moves or reads: it has the function's numbers, or is refused with all put back."""

import copy
import random
import threading
import types

import numpy as np
import pytest
import torch
from torch import nn

from ib_pyro.capture import CapturedGradient, CaptureError

GENERATOR = torch.Generator()
SCALE = 1.0


class Program(nn.Module):
    """A layer, a buffer, and settings kept in several ways."""

    def __init__(self, body):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.ones(()))
        self.numbers, self.table, self.config = [1.0], {"a": 1.0}, types.SimpleNamespace(a=1.0)
        self.count, self.plain = 0, None
        self.body = body

    def forward(self, *args):
        return self.body(self, *args)


def _with(statement, value="p.layer(x).square().mean()"):
    """Return a body that runs a statement, p and x given, and returns a value."""
    scope = dict(globals())
    lines = "\n    ".join(statement.split("; "))
    exec(f"def body(p, x):\n    {lines}\n    return {value}", scope)
    return scope["body"]


def _generators():
    return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002


def _seed(number):
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002


def captured(program):
    return CapturedGradient(lambda numbers, *args: (program(*args), {}), [program])


def require_the_same(body, steps=3, between=lambda program, step: None, arguments=None):
    program = Program(body)
    twin = copy.deepcopy(program)
    replayed = captured(program)
    for step in range(steps):
        args = arguments(step) if arguments else (torch.randn(6, 4),)
        for one in (program, twin):
            one.zero_grad()
        torch.manual_seed(step)
        replay = replayed.accumulate(*args)
        state = torch.get_rng_state()
        torch.manual_seed(step)
        loss = twin(*args)
        loss.backward()
        torch.testing.assert_close(replay.loss, loss.detach())
        assert torch.equal(state, torch.get_rng_state())
        for ours, theirs in zip(program.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
            torch.testing.assert_close(ours.detach(), theirs.detach())
        torch.testing.assert_close(program.mean, twin.mean)
        for one in (program, twin):
            torch.nn.utils.clip_grad_norm_(one.parameters(), 0.5)
            between(one, step)


LEFT = {
    "statistics in place": "p.mean.mul_(0.9).add_(0.1 * x.mean())",
    "a parameter clamped": "p.layer.weight.data.clamp_(-0.1, 0.1)",
    "a parameter that shrinks": "p.layer.weight.data.mul_(0.9)",
    "draws without use": "torch.randn(3); torch.rand(2)",
}


@pytest.mark.parametrize("what", LEFT)
def test_what_a_run_leaves_behind_is_left_by_a_replay(what):
    require_the_same(_with(LEFT[what]))


VALUES = {
    "a read on both sides of a write to a part": "p.layer(x).sum() * (lambda z: z.sum() + 2 * z.add_(z.chunk(2)[0]"
    ".add_(1).sum()).sum())(torch.zeros(6))",
    "a gradient that is one number": "p.layer.weight.sum() * p.scale * x.mean()",
    "equal gradients": "(p.layer.bias + p.scale).sum()",
    "noise": "(p.layer(x) * torch.rand(6, 3)).mean()",
    "a mask": "p.layer(x).masked_fill(x[:, :3] > 0, 0.0).sum()",
}


@pytest.mark.parametrize("what", VALUES)
def test_values_are_those_of_the_function(what):
    require_the_same(_with("pass", VALUES[what]))


CHANGED = {
    "a number in a list": ("p.numbers[0]", lambda p, s: p.numbers.__setitem__(0, s + 2.0)),
    "a number in a mapping": ("p.table['a']", lambda p, s: p.table.__setitem__("a", s + 2.0)),
    "a number of an object": ("p.config.a", lambda p, s: setattr(p.config, "a", s + 2.0)),
    "a number among the globals": ("SCALE", lambda p, s: p.body.__globals__.__setitem__("SCALE", s + 2.0)),
    "strides of a weight": (
        "p.layer.weight.as_strided((2, 2), (1, 1)).sum()",
        lambda p, s: setattr(p.layer.weight, "data", p.layer.weight.detach().T.contiguous().T),
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_what_is_changed_between_calls_counts(what):
    factor, change = CHANGED[what]
    require_the_same(_with("pass", f"p.layer(x).sum() * {factor}"), between=change)


def test_one_tensor_as_two_arguments_is_not_two_tensors():
    def arguments(step):
        x = torch.randn(6, 4)
        return (x, x) if step % 2 == 0 else (x, torch.randn(6, 4))

    require_the_same(lambda p, x, y: p.layer(x).sum() * y.sum(), steps=4, arguments=arguments)


def test_zeros_of_both_signs_are_two_arguments():
    require_the_same(
        lambda p, x, sign: p.layer(x).sum() * float(np.copysign(1.0, sign)),
        arguments=lambda step: (torch.randn(6, 4), 0.0 * (-1) ** step),
    )


def test_automatic_casting_without_arguments_counts():
    program = Program(lambda p: p.layer(torch.full((2, 4), 0.3)).float().sum())
    replayed = captured(program)
    plain = replayed().loss
    with torch.autocast("cpu", torch.bfloat16):
        cast, expected = replayed().loss, program().detach()
    torch.testing.assert_close(cast, expected, rtol=0, atol=0)
    assert cast != plain


REFUSED = {
    "Python's random numbers": ("random.random()", "Python's random numbers"),
    "NumPy's random numbers": ("np.random.rand()", "NumPy's random numbers"),
    "a counter": ("p.count += 1", r"Program.count \(1 to 2\)"),
    "a counter in a list": ("p.numbers[0] += 1", r"list\[0\]"),
    "a counter in a mapping": ("p.table['a'] += 1", "dict.a"),
    "a counter in an object": ("p.config.a += 1", "SimpleNamespace.a"),
    "a list that grows": ("p.numbers.append(1)", r"list\[2\]"),
    "a buffer that is replaced": ("p.mean = p.mean * 0.9", "buffer 'mean'"),
    "data put in a parameter": ("p.layer.bias.data = p.layer.bias * 2", "in the place of a parameter's"),
    "a write to an argument": ("x.add_(1)", "argument in place"),
    "a write to a part of an argument": ("x.unbind()[0].zero_()", "argument in place"),
    "a write to a tensor of a mapping": (
        "p.table.setdefault('t', torch.ones(3)); p.table['t'].add_(1)",
        "a buffer",
    ),
    "backward": ("p.layer(x).sum().backward()", "accumulates gradients itself"),
    "a seed": ("torch.manual_seed(3)", "random generator"),
    "the seed as a number": ("x = x * (1 + torch.initial_seed() % 7)", "reads or sets the seed"),
    "a branch by the seed": ("x = 2 * x if torch.initial_seed() % 2 else x", "reads or sets the seed"),
    "a generator seeded by the seed": (
        "x = x * torch.rand(1, generator=torch.Generator().manual_seed(torch.initial_seed()))",
        "cannot be",
    ),
    "the generator's state as numbers": ("x = x * (1 + torch.get_rng_state()[0])", "reads or sets the seed"),
    "a generator put back": (
        "s = torch.get_rng_state(); torch.rand(1); torch.set_rng_state(s)",
        "random generator",
    ),
    "tensors in a list": ("x = x * torch.tensor([x.mean(), x.sum()]).sum()", r"tensor\(\[...\]\)"),
    "the text of a tensor": ("x = x * len(repr(x))", "__repr__"),
    "the memory of a tensor": ("x = x * len(x.untyped_storage())", "untyped_storage"),
    "a value": ("x = x * float(x.mean())", "reads a value"),
    "a shape": ("x = x[x[:, 0] > 0]", "shape depends on values"),
    "a compiled function": ("x = torch.compile(torch.tanh, backend='eager')(x)", "cannot be recorded"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_replay_would_not_do_is_refused_and_put_back(what):
    statement, message = REFUSED[what]
    program, x = Program(_with(statement)), torch.randn(6, 4)
    tensors = [*program.parameters(), *program.buffers(), x]
    before = [tensor.detach().clone() for tensor in tensors]
    held = copy.deepcopy((program.numbers, program.config, program.count))
    _seed(5)
    state = _generators()
    with pytest.raises(CaptureError, match=message):
        captured(program)(x)
    assert all(map(torch.equal, before, tensors))
    assert held == (program.numbers, program.config, program.count)
    assert list(program.buffers())[0] is tensors[-2]
    assert all(parameter.grad is None for parameter in program.parameters())
    now = _generators()
    assert torch.equal(now[0], state[0])
    assert now[1:] == state[1:]


HOOKS = {
    "forward": lambda p: p.layer.register_forward_hook(lambda module, args, out: 2 * out),
    "before forward": lambda p: p.layer.register_forward_pre_hook(lambda module, args: None),
    "backward": lambda p: p.layer.register_full_backward_hook(lambda module, given, out: None),
    "of a gradient": lambda p: p.layer.weight.register_hook(lambda gradient: 2 * gradient),
    "after accumulation": lambda p: p.layer.weight.register_post_accumulate_grad_hook(lambda parameter: None),
}


@pytest.mark.parametrize("before", [True, False], ids=["there before", "added"])
@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_are_refused(kind, before):
    program = Program(lambda p, x: p.layer(x).sum())
    replayed, x = captured(program), torch.randn(6, 4)
    if not before:
        replayed(x)
    handle = HOOKS[kind](program)
    with pytest.raises(CaptureError, match="has a hook"):
        replayed(x)
    handle.remove()
    replayed(x)


def test_an_argument_that_comes_to_require_a_gradient_is_refused():
    replayed = captured(Program(lambda p, x: p.layer(x).sum()))
    replayed(torch.randn(6, 4))
    with pytest.raises(CaptureError, match="detach it"):
        replayed(torch.randn(6, 4).requires_grad_())


def test_inference_mode_is_refused_and_leaves_nothing():
    program, x = Program(lambda p, x: p.layer(x).sum()), torch.randn(6, 4)
    replayed = captured(program)
    with torch.inference_mode(), pytest.raises(CaptureError, match="inference mode"):
        replayed(x)
    assert replayed(x).gradients[1] is not None


def test_a_number_that_changes_at_every_step_is_refused_in_the_end():
    replayed = captured(Program(lambda p, x, n: n * p.layer(x).sum()))
    for step in range(8):
        replayed(torch.ones(6, 4), step)
    with pytest.raises(CaptureError, match="hand numbers that change over as tensors"):
        replayed(torch.ones(6, 4), 8)
    replayed(torch.ones(6, 4), 7)


def test_objects_as_arguments_are_refused():
    with pytest.raises(CaptureError, match="an argument is a Linear"):
        captured(Program(lambda p, x, f: f(x).sum()))(torch.ones(6, 4), nn.Linear(4, 3))


def test_sparse_gradients_are_refused():
    table = nn.Embedding(5, 3, sparse=True)
    replayed = CapturedGradient(lambda numbers, i: (table(i).sum(), {}), [table])
    with pytest.raises(CaptureError, match="sparse_coo"):
        replayed(torch.arange(4))


def test_lazy_modules_are_refused_until_they_have_run():
    layer = nn.LazyLinear(3)
    replayed = CapturedGradient(lambda numbers, x: (layer(x).sum(), {}), [layer])
    with pytest.raises(CaptureError, match="run the program once before"):
        replayed(torch.ones(2, 4))
    layer(torch.ones(2, 4))
    replayed(torch.ones(2, 4))


def test_gradients_accumulate_in_place_as_backward_does():
    program, x = Program(lambda p, x: p.layer(x).sum()), torch.randn(6, 4)
    replayed = captured(program)
    replayed.accumulate(x)
    first = program.layer.weight.grad
    once = first.clone()
    replayed.accumulate(x)
    assert program.layer.weight.grad is first
    torch.testing.assert_close(first, 2 * once)


@pytest.mark.parametrize("run", [1, 2])
def test_an_interrupted_recording_moves_nothing(run):
    runs = []

    def body(p, x):
        p.mean.add_(x.mean())
        loss = (p.layer(x) * torch.rand(6, 3)).sum()
        runs.append(1)
        if len(runs) == run:
            raise KeyboardInterrupt
        return loss

    program = Program(body)
    buffer, state = program.mean, torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        captured(program)(torch.randn(6, 4, generator=torch.Generator()))
    assert program.mean is buffer
    assert buffer == 1
    assert torch.equal(state, torch.get_rng_state())


def test_threads_share_a_recording():
    replayed, x = captured(Program(lambda p, x: p.layer(x).sum())), torch.randn(6, 4)
    found = []
    threads = [threading.Thread(target=lambda: found.append(replayed(x).loss)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(map(float, found))) == 1


def test_a_copy_is_refused():
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.deepcopy(captured(Program(lambda p, x: p.layer(x).sum())))

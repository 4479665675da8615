"""Networks and programs under compilers, exporters and transforms, which have no values to look at."""

import warnings

import pyro
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout

# Before that the compiler does not know how to enter a plate of ours.
WHOLE_GRAPHS = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14), reason="whole graphs take PyTorch 2.14"
)
BATCH, WIDTH = 6, 5
LAYERS = {
    "information": lambda: InformationDropout.linear(4, WIDTH),
    "softplus": lambda: InformationDropout.linear(4, WIDTH, activation="softplus", prior="log-normal"),
    "floor": lambda: InformationDropout.linear(4, WIDTH, activation=torch.square, activation_floor=1e-4),
    "binary": lambda: BinaryDropout.linear(4, WIDTH),
    "constant": lambda: ConstantDropout.linear(4, WIDTH),
    "gaussian": lambda: GaussianDropout.linear(4, WIDTH),
    "additive": lambda: AdditiveNormal.linear(4, WIDTH),
}
X, Y = torch.linspace(-1, 1, BATCH * 4).reshape(BATCH, 4), torch.arange(BATCH) % 3


@pytest.fixture(params=LAYERS)
def program(request):
    return Bottleneck(LAYERS[request.param](), nn.Linear(WIDTH, 3))


@pytest.fixture(autouse=True)
def _tracers_may_warn():
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def seeded(function, *args):
    torch.manual_seed(7)
    return function(*args)


def test_compiled_network(program):
    network = nn.Sequential(program.encoder, program.decoder)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(seeded(compiled, X), seeded(network, X))


def test_compiled_program(program):
    assert torch.equal(seeded(torch.compile(program, backend="eager"), X), seeded(program, X))


@pytest.mark.parametrize(
    "kind", ["information", *(pytest.param(k, marks=pytest.mark.slow) for k in list(LAYERS)[1:])]
)
def test_compiled_objective(kind):
    program = Bottleneck(LAYERS[kind](), nn.Linear(WIDTH, 3))
    loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
    compiled = torch.compile(loss, backend="eager")
    value = seeded(compiled, X, Y)
    value.backward()
    assert torch.equal(value, seeded(loss, X, Y))
    assert all(p.grad is not None for p in program.parameters())
    # Nothing of the tracer's is kept.
    twin = Bottleneck(program.encoder, program.decoder)
    assert torch.equal(
        seeded(loss, X, Y), seeded(InformationBottleneckELBO(0.1)(twin.model, twin.guide), X, Y)
    )


@pytest.mark.slow
def test_compiled_objective_and_prediction_ahead_of_time(program):
    loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
    value = seeded(torch.compile(loss, backend="aot_eager"), X, Y)
    value.backward()
    torch.testing.assert_close(value, seeded(loss, X, Y))
    for backend in ("eager", "aot_eager"):
        predict = torch.compile(program.predict, backend=backend)
        torch.testing.assert_close(seeded(predict, X), seeded(program.predict, X))


TARGETS = {"categorical": Y, "bernoulli": torch.arange(BATCH * 3).reshape(BATCH, 3) % 2.0, "normal": X[:, :3]}


def gradients_of(loss, parameters, *args):
    value = seeded(loss, *args)
    return [value, *torch.autograd.grad(value, parameters, allow_unused=True)]


WHOLE = [(kind, "categorical", "eager") for kind in LAYERS]
WHOLE += [
    ("additive", "bernoulli", "aot_eager"),
    ("additive", "normal", "eager"),
    ("softplus", "normal", "aot_eager"),
]


# Compiling takes seconds.
@WHOLE_GRAPHS
@pytest.mark.parametrize(
    ("kind", "likelihood", "backend"),
    [
        WHOLE[0],
        WHOLE[-3],
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (*WHOLE[1:-3], *WHOLE[-2:])),
    ],
)
def test_objective_and_prediction_are_whole_graphs_without_validation(kind, likelihood, backend):
    layers = nn.Sequential(LAYERS[kind](), AdditiveNormal.linear(WIDTH, WIDTH))
    program = Bottleneck(layers, nn.Linear(WIDTH, 3), likelihood)
    loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
    y, parameters = TARGETS[likelihood], list(program.parameters())
    with pyro.validation_enabled(False):
        # PyTorch looks for the rule of a pair's divergence once, in a way that its compiler does not follow.
        expected = gradients_of(loss, parameters, X, y)
        whole = {"backend": backend, "fullgraph": True}
        found = gradients_of(torch.compile(loss, **whole), parameters, X, y)
        torch.testing.assert_close(found, expected)
        for function in (program, program.predict):
            torch.testing.assert_close(seeded(torch.compile(function, **whole), X), seeded(function, X))


@WHOLE_GRAPHS
def test_one_compiled_graph_serves_other_values():
    program = Bottleneck(LAYERS["information"](), nn.Linear(WIDTH, 3))
    loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
    with pyro.validation_enabled(False):
        loss(X, Y)
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        for scale in (1.0, 0.5, 2.0):
            with torch.no_grad():
                program.decoder.weight.mul_(scale)
            assert torch.equal(seeded(compiled, X * scale, Y), seeded(loss, X * scale, Y))
        other = X[:4], Y[:4]
        assert torch.equal(seeded(compiled, *other), seeded(loss, *other))


@pytest.mark.parametrize("strict", [False, True])
def test_exported_network(program, strict):
    network = nn.Sequential(program.encoder, program.decoder)
    exported = torch.export.export(network, (X,), strict=strict).module()
    assert torch.equal(seeded(exported, X), seeded(network, X))


def test_exported_program(program):
    exported = torch.export.export(program, (X,)).module()
    assert torch.equal(seeded(exported, X), seeded(program, X))


def test_traced_network(program):
    network = nn.Sequential(program.encoder, program.decoder)
    traced = torch.jit.trace(network, (X,), check_trace=False)
    assert torch.equal(seeded(traced, X), seeded(network, X))


def test_vmap_over_inputs(program):
    draws = torch.func.vmap(program, randomness="different")(X.expand(3, BATCH, 4))
    assert draws.shape == (3, BATCH, 3)
    assert not torch.equal(draws[0], draws[1])
    loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
    losses = torch.func.vmap(lambda x: loss(x, Y), randomness="different")(X.expand(3, BATCH, 4))
    assert losses.shape == (3,)
    assert losses.isfinite().all()


def test_gradients_of_a_functional_call(program):
    def total(parameters):
        torch.manual_seed(7)
        return torch.func.functional_call(program, parameters, (X,)).square().sum()

    gradients = torch.func.grad(total)(dict(program.named_parameters()))
    seeded(program, X).square().sum().backward()
    for name, parameter in program.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradients[name], expected)


@pytest.mark.parametrize("trace", ["export", "vmap", "grad"])
def test_nothing_of_the_trace_stays_in_the_program(program, trace):
    loss = InformationBottleneckELBO(0.1)(program.model, program.guide)
    if trace == "export":
        torch.export.export(program, (X,))
    elif trace == "vmap":
        torch.func.vmap(lambda x: loss(x, Y), randomness="different")(X.expand(3, BATCH, 4))
    else:
        torch.func.grad(lambda x: loss(x, Y))(X)
    twin = Bottleneck(program.encoder, program.decoder)
    expected = seeded(InformationBottleneckELBO(0.1)(twin.model, twin.guide), X, Y)
    assert torch.equal(seeded(loss, X, Y), expected)
    loss(X, Y).backward()


def test_values_are_checked_again_afterwards():
    program = Bottleneck(LAYERS["information"](), nn.Linear(WIDTH, 3))
    torch.export.export(program, (X,))
    with pytest.raises(ValueError, match="site 'z1'.*NaN"):
        program(X * float("nan"))

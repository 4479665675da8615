"""Programs inside of Pyro's effect handlers and reparameterisations, and as modules."""

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.contrib import gp
from pyro.contrib.autoname import scope
from pyro.infer import autoguide, reparam
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn

from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Handlers, reparameterisations and modules"
X = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)


def pair(new: Leaves):
    """``a -> b -> x`` with a guide in the model's order."""
    loc = new(2)

    def model():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 3):
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 0.5), obs=X)

    def guide():
        a = pyro.sample("a", dist.Normal(loc[0], 0.5))
        with pyro.plate("data", 3):
            pyro.sample("b", dist.Normal(a + loc[1], 0.7))

    return model, guide


def local_guide(new: Leaves):
    loc = new(3)

    def guide():
        with pyro.plate("data", 3):
            pyro.sample("b", dist.Normal(loc, 0.7))

    return guide


HALF = torch.tensor(0.5, dtype=torch.float64)


@program(SECTION, "poutine.condition on a site, which the guide then leaves out")
def _(new: Leaves):
    model, _ = pair(new)
    return poutine.condition(model, data={"a": HALF}), local_guide(new)


@program(SECTION, "pyro.condition on data that the model samples")
def _(new: Leaves):
    own = new(3)

    def run(law, observed):
        with pyro.plate("data", 3):
            z = pyro.sample("z", law)
            if observed:
                pyro.sample("x", dist.Normal(z, 0.5))

    model = pyro.condition(lambda: run(dist.Normal(0.0, 1.0), True), data={"x": X})
    return model, lambda: run(dist.Normal(own, 0.6), False)


@program(SECTION, "poutine.do on a site, which stays latent")
def _(new: Leaves):
    model, _ = pair(new)
    local, loc = local_guide(new), new()

    def guide():
        pyro.sample("a", dist.Normal(loc, 0.5))
        local()

    return poutine.do(model, data={"a": HALF}), guide


@program(SECTION, "poutine.block of a site on both sides", nesting=None)
def _(new: Leaves):
    """A hidden site is noise of the program: its rate is not charged, as in ``Trace_ELBO``."""
    model, guide = pair(new)

    def blocked(run):
        return poutine.block(run, hide=["a"])

    return blocked(model), blocked(guide)


@program(SECTION, "poutine.substitute of a parameter", nesting=0)
def _(new: Leaves):
    loc = new()

    def model():
        z = pyro.sample("z", dist.Normal(pyro.param("shift", torch.tensor(0.1)), 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=X[0])

    return poutine.substitute(model, data={"shift": HALF}), lambda: pyro.sample("z", dist.Normal(loc, 0.5))


@program(SECTION, "poutine.lift of a parameter to a site", nesting=0)
def _(new: Leaves):
    loc = new(2)

    def model():
        shift = pyro.param("shift", torch.tensor(0.1))
        z = pyro.sample("z", dist.Normal(shift, 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=X[0])

    def guide():
        shift = pyro.sample("shift", dist.Normal(loc[0], 0.3))
        pyro.sample("z", dist.Normal(loc[1] + shift, 0.5))

    return poutine.lift(model, prior={"shift": dist.Normal(0.0, 1.0)}), guide


@program(SECTION, "scope of pyro.contrib.autoname")
def _(new: Leaves):
    model, guide = pair(new)
    return scope(model, prefix="outer"), scope(guide, prefix="outer")


@program(SECTION, "poutine.uncondition makes data latent", refused=r"differ: \['x'\] only in the model")
def _(new: Leaves):
    model, guide = pair(new)
    return poutine.uncondition(model), guide


@program(SECTION, "poutine.infer_config on both sides")
def _(new: Leaves):
    model, guide = pair(new)
    return poutine.infer_config(model, config_fn=lambda site: {"note": 1}), guide


@program(
    SECTION,
    "poutine.equalize of two sites",
    nesting=0,
    refused=r"site 'b': the model observes it, but the guide samples it",
)
def _(new: Leaves):
    loc = new(2)

    def model():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(a + b, 0.5), obs=X[0])

    def guide():
        pyro.sample("a", dist.Normal(loc[0], 0.5))
        pyro.sample("b", dist.Normal(loc[1], 0.5))

    return poutine.equalize(model, ["a", "b"]), guide


@program(SECTION, "poutine.broadcast", nesting=1)
def _(new: Leaves):
    model, guide = pair(new)
    return poutine.broadcast(model), poutine.broadcast(guide)


CENTERED = {"the centring learned": None, "decentred": 0.0}
for name, centered in CENTERED.items():

    @program(SECTION, f"LocScaleReparam, {name}", nesting=None)
    def _(new: Leaves, centered=centered):
        model, _ = pair(new)
        model = poutine.reparam(model, config={"b": reparam.LocScaleReparam(centered=centered)})
        return model, autoguide.AutoNormal(model)


@program(SECTION, "LocScaleReparam, guide by hand over the decentred site")
def _(new: Leaves):
    model, _ = pair(new)
    loc, own = new(), new(3)

    def guide():
        pyro.sample("a", dist.Normal(loc, 0.5))
        with pyro.plate("data", 3):
            pyro.sample("b_decentered", dist.Normal(own, 0.7))

    return poutine.reparam(model, config={"b": reparam.LocScaleReparam(centered=0.0)}), guide


def log_normal_model():
    with pyro.plate("data", 3):
        base = dist.Normal(0.0, 1.0)
        s = pyro.sample("s", dist.TransformedDistribution(base, [dist.transforms.ExpTransform()]))
        pyro.sample("x", dist.Normal(0.0, s), obs=X)


@program(SECTION, "TransformReparam, guide by hand over the base")
def _(new: Leaves):
    own = new(3)

    def guide():
        with pyro.plate("data", 3):
            pyro.sample("s_base", dist.Normal(own, 0.7))

    return poutine.reparam(log_normal_model, config={"s": reparam.TransformReparam()}), guide


@program(SECTION, "TransformReparam under AutoNormal", nesting=None)
def _(new: Leaves):
    model = poutine.reparam(log_normal_model, config={"s": reparam.TransformReparam()})
    return model, autoguide.AutoNormal(model)


@program(SECTION, "AutoReparam under AutoMultivariateNormal", nesting=None)
def _(new: Leaves):
    model = reparam.AutoReparam()(pair(new)[0])
    return model, autoguide.AutoMultivariateNormal(model)


@program(SECTION, "CircularReparam and ProjectedNormalReparam under AutoNormal", nesting=None)
def _(new: Leaves):
    def model():
        direction = pyro.sample("direction", dist.ProjectedNormal(torch.ones(2)))
        pyro.sample("x", dist.Normal(direction[..., 0], 0.5), obs=X[0])

    model = poutine.reparam(model, config={"direction": reparam.ProjectedNormalReparam()})
    return model, autoguide.AutoNormal(model)


@program(SECTION, "SplitReparam under AutoNormal", nesting=None)
def _(new: Leaves):
    def model():
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=X)

    model = poutine.reparam(model, config={"z": reparam.SplitReparam([1, 2], -1)})
    return model, autoguide.AutoNormal(model)


@program(SECTION, "StructuredReparam over AutoStructured", nesting=None)
def _(new: Leaves):
    plain = pair(new)[0]
    first = autoguide.AutoStructured(plain)
    first()
    model = reparam.StructuredReparam(first).reparam(plain)
    return model, autoguide.AutoNormal(model)


@program(SECTION, "NeuTraReparam over AutoIAFNormal", nesting=None)
def _(new: Leaves):
    plain = pair(new)[0]
    first = autoguide.AutoIAFNormal(plain, hidden_dim=[6])
    first()
    model = reparam.NeuTraReparam(first).reparam(plain)
    return model, autoguide.AutoDiagonalNormal(model)


class Regression(PyroModule):
    """Weights as ``PyroSample``, a learned width as ``PyroParam``."""

    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](2, 1)
        self.linear.weight = PyroSample(dist.Normal(torch.zeros(1, 2), 1.0).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(torch.zeros(1), 2.0).to_event(1))
        self.width = PyroParam(torch.tensor(0.7), constraint=dist.constraints.positive)

    def forward(self, x, y):
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(mean, self.width), obs=y)


@program(SECTION, "PyroModule with PyroSample and PyroParam, AutoNormal", nesting=None)
def _(new: Leaves):
    model = Regression()
    return model, autoguide.AutoNormal(model), torch.randn(3, 2), X


@program(SECTION, "PyroModule with PyroSample and PyroParam, guide by hand", nesting=None)
def _(new: Leaves):
    loc, bias = new(1, 2), new(1)

    def guide(x, y):
        pyro.sample("linear.weight", dist.Normal(loc, 0.4).to_event(2))
        pyro.sample("linear.bias", dist.Normal(bias, 0.5).to_event(1))

    return Regression(), guide, torch.randn(3, 2), X


@program(SECTION, "a guide that is a PyroModule with PyroSample", nesting=0)
def _(new: Leaves):
    class Guide(PyroModule):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(0.3))
            self.z = PyroSample(lambda own: dist.Normal(own.loc, 0.5))

        def forward(self):
            return self.z

    def model():
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 0.5), obs=X[0])

    return model, Guide()


@program(SECTION, "pyro.random_module's successor: to_pyro_module_ under AutoNormal", nesting=None)
def _(new: Leaves):
    network = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
    pyro.nn.module.to_pyro_module_(network)
    for module in network.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            law = dist.Normal(torch.zeros(value.shape), 1.0).to_event(value.dim())
            setattr(module, name, PyroSample(law))

    def model():
        mean = network(X.unsqueeze(-1)).squeeze(-1)
        with pyro.plate("data", 3):
            pyro.sample("y", dist.Normal(mean, 0.5), obs=X)

    return model, autoguide.AutoNormal(model)


def inputs():
    return torch.linspace(0, 1, 4).unsqueeze(-1), torch.tensor([0.1, 0.9, 0.4, -0.3])


def kernel():
    return gp.kernels.RBF(1, torch.tensor(1.3), torch.tensor(0.4))


@program(SECTION, "variational Gaussian process, with its own guide", nesting=None)
def _(new: Leaves):
    x, y = inputs()
    process = gp.models.VariationalGP(x, y, kernel(), gp.likelihoods.Gaussian())
    new.tensors += list(process.parameters())
    return process.model, process.guide


@program(SECTION, "variational Gaussian process, whitened", nesting=None)
def _(new: Leaves):
    x, y = inputs()
    process = gp.models.VariationalGP(x, y, kernel(), gp.likelihoods.Gaussian(), whiten=True)
    new.tensors += list(process.parameters())
    return process.model, process.guide


@program(SECTION, "variational sparse Gaussian process, binary data", nesting=None)
def _(new: Leaves):
    x, y = inputs()
    process = gp.models.VariationalSparseGP(
        x, (y > 0).double(), kernel(), x[::2].clone(), gp.likelihoods.Binary(), whiten=True
    )
    new.tensors += list(process.parameters())
    return process.model, process.guide


@program(SECTION, "Gaussian process regression with a prior on a kernel's parameter", nesting=None)
def _(new: Leaves):
    x, y = inputs()
    process = gp.models.GPRegression(x, y, kernel())
    process.kernel.lengthscale = PyroSample(dist.LogNormal(-0.5, 0.5))
    process.kernel.autoguide("lengthscale", dist.Normal)
    new.tensors += list(process.parameters())
    return process.model, process.guide


@program(SECTION, "sparse Gaussian process regression, point estimates", nesting=None)
def _(new: Leaves):
    x, y = inputs()
    process = gp.models.SparseGPRegression(x, y, kernel(), x[::2].clone(), approx="VFE")
    process.kernel.variance = PyroSample(dist.LogNormal(0.0, 1.0))
    process.kernel.autoguide("variance", dist.Delta)
    new.tensors += list(process.parameters())
    return process.model, process.guide

"""Programs of this package: its layers, priors and :class:`ib_pyro.Bottleneck`."""

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions.transforms import affine_coupling, permute
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)
from ib_pyro.nn import AdditiveNormal, ConstantDropout, InformationDropout
from ib_pyro.priors import FlowPrior, MixturePrior, VampPrior
from models.discrete_ib import DiscreteBottleneck
from models.mlp import MLP
from models.vae import VAE
from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Layers and bottlenecks"
LAYERS = {
    "InformationDropout, log-uniform prior": lambda: InformationDropout.linear(4, 3),
    "InformationDropout, softplus, log-normal prior": lambda: InformationDropout.linear(
        4, 3, activation="softplus", prior="log-normal"
    ),
    "InformationDropout, unit mean": lambda: InformationDropout.linear(
        4, 3, activation="softplus", prior="log-normal", unit_mean=True
    ),
    "InformationDropout with batch norm": lambda: InformationDropout.linear(4, 3, batch_norm=True),
    "ConstantDropout": lambda: ConstantDropout.linear(4, 3),
    "AdditiveNormal": lambda: AdditiveNormal(nn.Linear(4, 3), nn.Linear(4, 3)),
}
# Not in the table: GaussianDropout, whose rate is a fit to the integral, and BinaryDropout, which charges none.


def data(size=6, inputs=4, classes=3):
    return torch.randn(size, inputs), torch.arange(size) % classes


for name, layer in LAYERS.items():

    @program(SECTION, f"Bottleneck of {name}", nesting=None)
    def _(new: Leaves, layer=layer):
        made = Bottleneck(layer(), nn.Linear(3, 3))
        new.tensors += list(made.parameters())
        return made.model, made.guide, *data()


AT_THE_DRAW = {
    "AdditiveNormal, a learned mixture as the prior": lambda: AdditiveNormal.linear(
        4, 3, prior=MixturePrior(3, 2)
    ),
    "AdditiveNormal, a flow as the prior": lambda: AdditiveNormal.linear(
        4, 3, prior=FlowPrior(3, [affine_coupling(3, [4]), permute(3, torch.tensor([2, 0, 1]))])
    ),
    "AdditiveNormal, a VampPrior": lambda: AdditiveNormal.linear(4, 3, prior=VampPrior(torch.randn(2, 4))),
    "InformationDropout, softplus, a mixture as the prior": lambda: InformationDropout.linear(
        4, 3, activation="softplus", prior=MixturePrior(3, 2, family="log-normal")
    ),
}


for name, layer in AT_THE_DRAW.items():

    @program(SECTION, f"Bottleneck of {name}", nesting=None, closed_form="z1")
    def _(new: Leaves, layer=layer):
        made = Bottleneck(layer(), nn.Linear(3, 3))
        new.tensors += list(made.parameters())
        return made.model, made.guide, *data()


class Pair(nn.Module):
    """A decoder of a location and a positive scale."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.first(z), nn.functional.softplus(self.second(z)) + 0.1


OBSERVED = {
    "continuous-bernoulli": (lambda: nn.Linear(3, 2), lambda: torch.rand(6, 2)),
    "discretized-logistic": (Pair, lambda: torch.randint(256, (6, 2)) / 255.0),
    "poisson": (lambda: nn.Linear(3, 2), lambda: torch.randint(4, (6, 2))),
    "negative-binomial": (Pair, lambda: torch.randint(4, (6, 2))),
}


for name, (decoder, observed) in OBSERVED.items():

    @program(SECTION, f"Bottleneck with the likelihood {name}")
    def _(new: Leaves, name=name, decoder=decoder, observed=observed):
        made = Bottleneck(AdditiveNormal.linear(4, 3), decoder(), likelihood=name)
        new.tensors += list(made.parameters())
        return made.model, made.guide, torch.randn(6, 4), observed()


@program(SECTION, "Bottleneck of two layers", nesting=None)
def _(new: Leaves):
    encoder = nn.Sequential(InformationDropout.linear(4, 5), InformationDropout.linear(5, 3))
    made = Bottleneck(encoder, nn.Linear(3, 3), num_data=60)
    new.tensors += list(made.parameters())
    return made.model, made.guide, *data()


@program(SECTION, "Bottleneck with a Gaussian likelihood", nesting=None)
def _(new: Leaves):
    encoder = AdditiveNormal(nn.Linear(4, 3), nn.Linear(4, 3))
    made = Bottleneck(encoder, nn.Linear(3, 2), likelihood="normal")
    new.tensors += list(made.parameters())
    return made.model, made.guide, torch.randn(6, 4), torch.randn(6, 2)


for latent in ("gaussian", "information"):

    @program(SECTION, f"models.vae.VAE, {latent} latents", nesting=None)
    def _(new: Leaves, latent=latent):
        made = VAE(latent=latent, image_shape=(1, 2, 2), num_latent=2, hidden=4)
        new.tensors += list(made.parameters())
        x = torch.randint(2, (5, 1, 2, 2)).double()
        return made.model, made.guide, x, x


@program(SECTION, "models.mlp.MLP", nesting=None)
def _(new: Leaves):
    made = MLP(hidden=4, image_shape=(1, 2, 2), batch_norm=False)
    new.tensors += list(made.parameters())
    return made.model, made.guide, torch.rand(5, 1, 2, 2), torch.arange(5) % 3


@program(SECTION, "models.discrete_ib.DiscreteBottleneck", nesting=None, gradient=False)
def _(new: Leaves):
    """The value alone: through a one-hot draw the gradient of a sampled rate is biased, that of ours is not."""
    made = DiscreteBottleneck(3, 2)
    return made.model, made.guide, torch.arange(6) % 3, torch.arange(6) % 2


def noisy(posterior, prior):
    def build(new: Leaves):
        f, a = new(4, 2), new(4, 2)

        def model():
            with pyro.plate("data", 4):
                z = pyro.sample("z", prior().to_event(1))
                pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=torch.ones(4))

        def guide():
            with pyro.plate("data", 4):
                pyro.sample("z", posterior(f, a).to_event(1))

        return model, guide

    return build


def positive_noise(f, a):
    return MultiplicativeLogNormal(f.exp(), 0.1 + 0.5 * torch.sigmoid(a))


program(SECTION, "MultiplicativeLogNormal under FactorizedLogNormal")(
    noisy(positive_noise, lambda: dist.LogNormal(torch.zeros(2), 1.0))
)
program(SECTION, "MultiplicativeLogNormal under LogNormal")(
    noisy(positive_noise, lambda: dist.LogNormal(0.3 * torch.ones(2), 0.8))
)
program(SECTION, "MultiplicativeLogNormal under ZeroInflatedLogUniform")(
    noisy(positive_noise, lambda: ZeroInflatedLogUniform(0.2 * torch.ones(2)))
)
program(SECTION, "MultiplicativeNormal under a normal prior")(
    noisy(lambda f, a: MultiplicativeNormal(f.exp(), 0.1 + a.exp()), lambda: dist.Normal(torch.zeros(2), 1.0))
)
program(SECTION, "a prior with bounds under noise without", refused=r"site 'z'.*(infinite|support)")(
    noisy(positive_noise, lambda: ZeroInflatedLogUniform(0.2 * torch.ones(2), low=0.5, high=1.0))
)


@program(SECTION, "FactorizedLogNormal, learned", nesting=1)
def _(new: Leaves):
    f, a, loc, log_scale = new(4, 2), new(4, 2), new(2), new(2)

    def model():
        with pyro.plate("data", 4):
            z = pyro.sample("z", FactorizedLogNormal(loc, log_scale.exp()))
            pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=torch.ones(4))

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", positive_noise(f, a).to_event(1))

    return model, guide

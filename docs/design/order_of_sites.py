"""The posterior of a chain a -> b -> y, forwards and backwards, under three ELBOs."""

import math
import warnings

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO

from ib_pyro import InformationBottleneckELBO

PARTICLES = {
    "num_particles": 200_000,
    "vectorize_particles": True,
    "max_plate_nesting": 0,
}


def model() -> None:
    """Sample a ~ N(0, 1), b ~ N(a, 1), y ~ N(b, 1), and see y = 1."""
    a = pyro.sample("a", dist.Normal(torch.tensor(0.0), 1.0))
    b = pyro.sample("b", dist.Normal(a, 1.0))
    pyro.sample("y", dist.Normal(b, 1.0), obs=torch.tensor(1.0))


def forwards() -> None:
    """The posterior as p(a|y) p(b|a, y)."""
    a = pyro.sample("a", dist.Normal(torch.tensor(1 / 3), math.sqrt(2 / 3)))
    pyro.sample("b", dist.Normal((a + 1) / 2, math.sqrt(1 / 2)))


def backwards() -> None:
    """The same posterior as p(b|y) p(a|b)."""
    b = pyro.sample("b", dist.Normal(torch.tensor(2 / 3), math.sqrt(2 / 3)))
    pyro.sample("a", dist.Normal(b / 2, math.sqrt(1 / 2)))


def main() -> None:
    """Print each ELBO's loss beside the evidence that it must be here."""
    evidence = -dist.Normal(0.0, math.sqrt(3.0)).log_prob(torch.tensor(1.0))
    print(
        f"-log p(y) = {evidence:.3f} nats\n"
        f"{'loss, nats':<44}{'forwards':>9}{'backwards':>11}"
    )
    elbos: dict[str, ELBO] = {
        "Trace_ELBO": Trace_ELBO(**PARTICLES),
        "TraceMeanField_ELBO": TraceMeanField_ELBO(**PARTICLES),
        "InformationBottleneckELBO, monte-carlo": InformationBottleneckELBO(
            on_no_closed_form="monte-carlo", **PARTICLES
        ),
    }
    for name, elbo in elbos.items():
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses = [elbo.loss(model, guide) for guide in (forwards, backwards)]
        print(f"{name:<44}{losses[0]:>9.3f}{losses[1]:>11.3f}")


if __name__ == "__main__":
    main()

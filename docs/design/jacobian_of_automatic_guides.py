"""What three ELBOs make of an automatic guide over a positive site, where it is known.

The model is ``s ~ LogNormal(1, 1)`` without data, whose posterior is the prior.
AutoNormal's guide holds it exactly, with location 1 and scale 1 of log s, where the
negative ELBO is 0, its minimum. Run it with

    python docs/design/jacobian_of_automatic_guides.py
"""

import pyro
import torch
from pyro.distributions import LogNormal
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.optim import Adam

from ib_pyro import InformationBottleneckELBO

ELBOS: tuple[type[ELBO], ...] = (
    Trace_ELBO,
    TraceMeanField_ELBO,
    InformationBottleneckELBO,
)


def model() -> torch.Tensor:
    """Sample the positive site."""
    return pyro.sample("s", LogNormal(torch.tensor(1.0), torch.tensor(1.0)))


def exact_guide() -> AutoNormal:
    """Build the guide whose posterior is the model's."""
    start = torch.tensor(1.0).exp()
    guide = AutoNormal(model, init_loc_fn=lambda site: start, init_scale=1.0)
    guide()
    return guide


def value_at_optimum(elbo: type[ELBO]) -> float:
    """Return the loss of the exact guide, in nats; it should be 0."""
    with pyro.get_param_store().scope():
        loss = elbo(num_particles=20_000, vectorize_particles=True, max_plate_nesting=0)
        return loss.loss(model, exact_guide())


def fitted_location(elbo: type[ELBO]) -> float:
    """Return the location of log s, fitted from the optimum on; it should stay at 1."""
    with pyro.get_param_store().scope():
        guide = exact_guide()
        loss = elbo(num_particles=64, vectorize_particles=True, max_plate_nesting=0)
        svi = pyro.infer.SVI(model, guide, Adam({"lr": 0.02}), loss=loss)
        for _ in range(500):
            svi.step()
        return guide.median()["s"].log().item()


def main() -> None:
    """Print a row for each ELBO."""
    pyro.set_rng_seed(0)
    print(f"pyro-ppl {pyro.__version__}")
    print(f"{'':<28}{'loss, nats':>12}{'location of log s':>20}")
    for elbo in ELBOS:
        # Adding zero prints no -0.00.
        value, location = round(value_at_optimum(elbo), 2) + 0.0, fitted_location(elbo)
        print(f"{elbo.__name__:<28}{value:>12.2f}{location:>20.2f}")


if __name__ == "__main__":
    main()

"""What training asks of a stochastic layer: gradients at each step, a prior of today, and particles side by side."""

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.handlers import unwrap
from ib_pyro.nn import StochasticLayer
from ib_pyro.testing.requirements import parameter_tensors, require, says
from ib_pyro.testing.subject import Subject, guide_and_model, sites_of

__all__ = ["check_gradients_after_no_grad", "check_particles", "check_prior_follows", "check_steps"]

PARTICLES = 4


def check_steps(subject: Subject, layer: StochasticLayer) -> None:
    """Two steps, in which each parameter has a gradient."""
    program = subject.program(layer)
    optimiser = torch.optim.SGD(program.parameters(), 1e-3)
    for step in ("first", "second"):
        optimiser.zero_grad()
        with says(
            f"the {step} step of training fails"
            + (
                " (has_fixed_prior = True is a promise that no parameter is in the prior)"
                if step == "second"
                else ""
            )
        ):
            loss = subject.loss(program)
            loss.backward()
            optimiser.step()
        require(loss.isfinite(), f"the loss of the {step} step is {loss.item()}")
    for parameter_name, parameter in layer.named_parameters():
        if not parameter.requires_grad:
            continue
        gradient = parameter.grad
        require(
            gradient is not None,
            f"no gradient reaches its parameter {parameter_name}; a law that uses it is detached (a posterior that "
            "cannot rsample, a prior that is kept, or built from numbers), or nothing uses it: requires_grad_(False)",
        )
        require(
            gradient is not None and gradient.isfinite().all(),
            f"the gradient of its parameter {parameter_name} is not finite",
        )


def check_gradients_after_no_grad(subject: Subject, layer: StochasticLayer) -> None:
    """What is made under no_grad has no graph, and training afterwards has one."""
    program = subject.program(layer)
    with torch.no_grad():
        loss = subject.loss(program)
        laws = layer.posterior(subject.x), layer.prior_distribution(layer(subject.x).shape[1:])
    graphs = [t for law in laws for t in parameter_tensors(unwrap(law)).values() if t.grad_fn is not None]
    require(
        not loss.requires_grad and not graphs,
        "under no_grad the posterior or the prior has a graph; leave it to the caller whether there are gradients",
    )
    subject.loss(program).backward()
    without = [k for k, p in layer.named_parameters() if p.requires_grad and p.grad is None]
    require(
        not without,
        f"after a pass under no_grad no gradient reaches {without}; has_fixed_prior = True keeps the prior of that "
        "pass",
    )


def check_prior_follows(subject: Subject, layer: StochasticLayer) -> None:
    """After parameters and buffers changed in place, the model's law is what prior_distribution returns."""
    program = subject.program(layer)
    if not layer.is_charged:
        return
    subject.loss(program)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.01).add_(0.01)
        for buffer in layer.buffers():
            if buffer.is_floating_point():
                buffer.mul_(0.99)
    _, model = guide_and_model(program, subject.x, subject.y)
    (site,) = program.stochastic_layers
    z, law = model[site]
    used = law.log_prob(z)
    expected = layer.prior_distribution(z.shape[1:]).log_prob(z)
    require(
        torch.allclose(used, expected, rtol=1e-4, atol=1e-5),
        "its prior does not follow its parameters and buffers; has_fixed_prior = True is a promise that it is a "
        "function of other attributes alone",
    )


def check_particles(subject: Subject, layer: StochasticLayer) -> None:
    """Particles side by side have draws of their own, and the loss that each of the draws has alone."""
    layer.eval()
    program, x = subject.program(layer), subject.x
    (site,) = program.stochastic_layers
    together = InformationBottleneckELBO(
        on_no_closed_form="error" if subject.closed_form else "monte-carlo",
        num_particles=PARTICLES,
        vectorize_particles=True,
        max_plate_nesting=1,
    )
    runs: list[Trace] = []

    def guide(*args: Tensor) -> None:
        runs.append(poutine.trace(program.guide).get_trace(*args))

    vectorised = together.differentiable_loss(program.model, guide, x, subject.y).detach()
    z, _ = sites_of(runs[-1])[site]
    shape = (PARTICLES, *layer(x).shape)
    require(z.shape == shape, f"{PARTICLES} particles have z of shape {tuple(z.shape)}, not {shape}")
    require(
        (z != z[0]).any() or not subject.has_noise(layer),
        "vectorised particles are copies of one draw; look at the posterior's expand and rsample",
    )
    alone = poutine.trace(program.guide).get_trace(x, subject.y)

    def loss_of(particle: Tensor) -> Tensor:
        alone.nodes[site]["value"] = particle
        replayed = poutine.replay(program.guide, trace=alone)
        return subject.elbo.differentiable_loss(program.model, replayed, x, subject.y).detach()

    serial = torch.stack([loss_of(particle) for particle in z]).mean()
    require(
        torch.allclose(vectorised, serial, rtol=1e-4, atol=1e-5),
        f"{PARTICLES} particles side by side have the loss {vectorised.item():.6g}, the same draws in turn "
        f"{serial.item():.6g}; count the dimensions of posterior and prior from the right",
    )

"""What a stochastic layer owes to the programs that it is put into."""

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from ib_pyro.handlers import noise_off, unwrap
from ib_pyro.nn import StochasticLayer
from ib_pyro.testing.rate_contract import check_rate
from ib_pyro.testing.requirements import parameter_tensors, prefixed, require, says, undisturbed
from ib_pyro.testing.subject import Subject, guide_and_model, sites_of
from ib_pyro.testing.training_contract import (
    check_gradients_after_no_grad,
    check_particles,
    check_prior_follows,
    check_steps,
)

__all__ = ["check_layer"]


def check_layer(
    layer_factory: Callable[[], StochasticLayer],
    x: Tensor,
    *,
    closed_form: bool = True,
    noise_free: bool = True,
    tolerance: float = 0.0,
    seed: int = 0,
) -> None:
    """Raise unless a stochastic layer keeps the contract that programs, objectives and the export build on.

    * It emits one site, whose laws have the batch and event shapes that :class:`~ib_pyro.nn.StochasticLayer` says.
    * Draws differ, and under ``noise_off`` they do not.
    * Two steps of training reach each parameter, also after ``no_grad``; the prior follows parameters and buffers.
    * The closed form of the rate is the mean of ``log p - log q``.
    * Particles side by side have draws of their own, and the loss that each of the draws has alone.
    * ``.to(torch.float64)`` takes posterior and prior along; ``state_dict``, ``copy.deepcopy`` and ``pickle`` keep
      what is drawn.
    * Two programs may hold it at once, and ``to_arviz`` exports it.

    Args:
        layer_factory: Makes a new layer at each call: ``lambda: MyNoise.linear(4, 3)``.
        x: Its input, ``[batch, ...]``, of two samples at least that differ.
        closed_form: Whether the rate must have a closed form; without, it is sampled.
        noise_free: Whether the posterior must say what z is without noise.
        tolerance: Nats per element of z by which a rate that is an approximation may be off.
        seed: Seed of all draws. The state of PyTorch's generators and Pyro's parameter store are left as they were.

    Raises:
        AssertionError: Names the layer, says what is not as it should be, and the way out.

    >>> from ib_pyro.nn import InformationDropout
    >>> check_layer(lambda: InformationDropout.linear(4, 3), torch.rand(5, 4))
    """
    subject = Subject(layer_factory, x, closed_form, noise_free, tolerance)
    with undisturbed(seed):
        require(
            subject.build() is not subject.build(), "the factory returns the same layer twice; make a new one"
        )
    for check in CHECKS:
        with undisturbed(seed):
            layer = subject.build()
            what = check.__name__.removeprefix("check_").replace("_", " ")
            with prefixed(type(layer).__name__), says(f"{what} cannot be checked"):
                check(subject, layer)


def check_its_site(subject: Subject, layer: StochasticLayer) -> None:
    """One site, its value the layer's, one sample for each of x."""
    with poutine.trace() as tracer, pyro.plate("data", len(subject.x), dim=-1):
        z = layer(subject.x)
    sites = sites_of(tracer.trace)
    require(
        list(sites) == [layer.site_name],
        f"a call emits the sites {list(sites)}; it must emit exactly one, {layer.site_name!r}: define posterior "
        "and leave forward and pyro.sample to StochasticLayer",
    )
    value, fn = sites[layer.site_name]
    require(
        torch.equal(value, z),
        "what a call returns is not the value of its site; transform the law, or what follows the layer",
    )
    require(
        fn.batch_shape == (len(subject.x),) and z.shape == fn.shape(),
        f"for {len(subject.x)} samples z has the shape {tuple(z.shape)}, its law the batch shape "
        f"{tuple(fn.batch_shape)}; posterior(x) must have a row for each sample",
    )
    with torch.no_grad():
        posterior = layer.posterior(subject.x)
    require(
        posterior.shape() == z.shape and len(posterior.batch_shape) > 0,
        f"posterior(x) has batch shape {tuple(posterior.batch_shape)} and event shape "
        f"{tuple(posterior.event_shape)}, z {tuple(z.shape)}; posterior(x) must have a row for each sample",
    )


def check_its_prior(subject: Subject, layer: StochasticLayer) -> None:
    """The prior has one sample's shape as its event."""
    with torch.no_grad():
        event_shape = layer(subject.x).shape[1:]
        prior = layer.prior_distribution(event_shape)
    require(
        prior.batch_shape == () and prior.event_shape == event_shape,
        f"prior_distribution({tuple(event_shape)}) has batch shape {tuple(prior.batch_shape)} and "
        f"event shape {tuple(prior.event_shape)}; it must have the given event shape and no batch: end it with "
        ".expand(event_shape).to_event(len(event_shape))",
    )


def check_its_noise(subject: Subject, layer: StochasticLayer) -> None:
    """Two draws differ; two without noise do not."""
    layer.eval()
    # One whose activation happens to be zero for all of x has none.
    has_noise = any(subject.has_noise(one) for one in (layer, *(subject.build().eval() for _ in range(5))))
    require(has_noise, "two draws of z are the same; posterior(x) has no noise, or none where x is")
    if not subject.noise_free:
        return
    with torch.no_grad(), noise_off():
        first, second = layer(subject.x), layer(subject.x)
    require(
        torch.equal(first, second),
        "noise_off leaves the noise on; derive the posterior from ib_pyro.distributions.NoisyActivation, give it "
        "a property noise_free, or say noise_free=False here",
    )


def check_its_rate(subject: Subject, layer: StochasticLayer) -> None:
    """The closed form is the mean of log p - log q, or nothing is charged on either side."""
    program = subject.program(layer)
    guide, model = guide_and_model(program, subject.x, subject.y)
    (site,) = program.stochastic_layers
    if not layer.is_charged:
        rate = subject.elbo.terms(program.model, program.guide, subject.x, subject.y).rate[site]
        require(not rate.any(), f"is_charged = False, but its rate is {rate.tolist()}")
    elif subject.closed_form:
        check_rate(guide[site][1], model[site][1], num_draws=2000, tolerance=subject.tolerance)


def check_float64(subject: Subject, layer: StochasticLayer) -> None:
    """Whatever was used in float32 goes to float64 as a whole."""
    x = subject.x.float() if subject.x.is_floating_point() else subject.x
    layer.float()
    event_shape = layer(x).shape[1:]
    with pyro.plate("data", len(x), dim=-1):
        layer.sample_prior(event_shape) if _can_be_sampled(layer, event_shape) else None
    layer.to(torch.float64)
    x = x.double() if x.is_floating_point() else x
    prior, posterior = layer.prior_distribution(event_shape), layer.posterior(x)
    for side, fn in (("posterior", posterior), ("prior", prior)):
        for name, tensor in parameter_tensors(unwrap(fn)).items():
            require(
                tensor.dtype == torch.float64,
                f"after .to(torch.float64) the {side}'s {name} is {tensor.dtype}; make its tensors "
                "parameters or buffers of the layer, or of the type of those",
            )
    z = layer(x)
    require(z.dtype == torch.float64, f"after .to(torch.float64) z is {z.dtype}")


def check_its_copies(subject: Subject, layer: StochasticLayer) -> None:
    """What a layer draws is told by its state_dict, and by its copies."""
    layer.eval()
    layer(subject.x)
    expected = _draw(layer, subject.x)
    other = subject.build().eval()
    other.load_state_dict(layer.state_dict())
    require(
        torch.equal(_draw(other, subject.x), expected),
        "a new layer with its state_dict draws something else; keep what it learns in parameters and buffers",
    )
    for way, duplicate in (
        ("copy.deepcopy", copy.deepcopy),
        ("pickle", lambda m: pickle.loads(pickle.dumps(m))),
    ):
        with says(f"{way} fails (a class must stand at the top of its module, and hold no lambda)"):
            twin = duplicate(layer)
        require(
            torch.equal(_draw(twin, subject.x), expected),
            f"what {way} makes of it draws something else",
        )
        require(
            twin.site_name == layer.site_name,
            f"what {way} makes of it emits the site {twin.site_name!r} instead of {layer.site_name!r}; keep self.name",
        )
        shared = {p.data_ptr() for p in layer.parameters()} & {p.data_ptr() for p in twin.parameters()}
        require(not shared, f"what {way} makes of it shares parameters with it")


def check_use_in_two_programs_at_once(subject: Subject, layer: StochasticLayer) -> None:
    """A name belongs to the program: neither program changes that of the other."""
    first = subject.program(layer)
    names = [*first.stochastic_layers]
    second = subject.program(layer, nn.Sequential(OrderedDict(another=layer)))
    for program in (first, second, first):
        subject.loss(program).backward()
    wanted = names, [subject.build().name or "another"]
    found = [*first.stochastic_layers], [*second.stochastic_layers]
    require(
        found == wanted,
        f"its site in two programs is {found[0]} and {found[1]} instead of {wanted[0]} and {wanted[1]}; leave "
        "self.name alone, and ask self.site_name",
    )


def check_export_to_arviz(subject: Subject, layer: StochasticLayer) -> None:
    """Its draws are in the result, and with them what the posterior says of the noise behind these draws."""
    from ib_pyro.export import to_arviz
    from ib_pyro.export.noise import noise_variables

    program = subject.program(layer)
    (site,) = program.stochastic_layers
    exported = to_arviz(program.eval(), subject.x, subject.y, num_samples=2)["posterior"]
    with torch.no_grad():
        posterior = layer.posterior(subject.x)
        shape = (1, 2, *layer(subject.x).shape)
    require(
        exported[site].shape == shape,
        f"to_arviz has draws of shape {exported[site].shape}, not {shape}",
    )
    for draw in range(2):
        z = torch.tensor(exported[site].values[0, draw], device=subject.x.device)
        for suffix, (values, _) in noise_variables(posterior, z).items():
            there = torch.tensor(exported[f"{site}_{suffix}"].values[0, draw], dtype=values.dtype)
            require(
                torch.allclose(there, values.detach().cpu(), rtol=1e-4, atol=1e-5, equal_nan=True),
                f"to_arviz has another {site}_{suffix} than noise_variables of the posterior for the same draw; it "
                "must be a function of the draw and of the parameters of the posterior alone",
            )


def _draw(layer: StochasticLayer, x: Tensor) -> Tensor:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        z: Tensor = layer(x)
        return z


def _can_be_sampled(layer: StochasticLayer, event_shape: torch.Size) -> bool:
    try:
        layer.prior_distribution(event_shape).sample()
    except NotImplementedError:
        return False
    return True


CHECKS: tuple[Callable[[Subject, StochasticLayer], None], ...] = (
    check_its_site,
    check_its_prior,
    check_its_noise,
    check_its_rate,
    check_steps,
    check_gradients_after_no_grad,
    check_prior_follows,
    check_particles,
    check_float64,
    check_its_copies,
    check_use_in_two_programs_at_once,
    check_export_to_arviz,
)

"""Inference that transforms a support to the line works where there is no atom, and says why not elsewhere."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal
from torch.distributions import biject_to, transform_to

from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)

WITH_ATOMS = [
    ZeroInflatedLogUniform(0.5, 0.1, 10.0),
    ZeroInflatedLogUniform(torch.tensor([0.0, 0.1]), 0.1, 10.0),
    ZeroInflatedLogUniform(0.0),
    ZeroInflatedLogUniform(0.0, 0.1, 10.0, two_sided=True),
    MultiplicativeLogNormal(torch.tensor([0.0, 1.0]), 0.5),
    MultiplicativeNormal(torch.tensor([0.0, 1.0]), 0.5),
    MultiplicativeBernoulli(torch.tensor([2.0, 1.0]), 0.5),
]
WITHOUT = [
    ZeroInflatedLogUniform(0.0, 0.1, 10.0),
    MultiplicativeLogNormal(torch.tensor([2.0, 1.0]), 0.5),
    MultiplicativeNormal(torch.tensor([-2.0, 1.0]), 0.5),
    FactorizedLogNormal(torch.zeros(2), 1.0),
]


def program(prior):
    z = pyro.sample("z", prior)
    pyro.sample("y", dist.Normal(z, 1.0).to_event(z.dim()), obs=torch.ones(z.shape))


@pytest.mark.parametrize("prior", WITH_ATOMS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("transform", [biject_to, transform_to])
def test_a_mixed_measure_has_no_smooth_transform(prior, transform):
    for law in (prior, prior.expand((3, 2)).to_event(1)):
        with pytest.raises(NotImplementedError, match=r"atom.*FactorizedLogNormal or LogNormal"):
            transform(law.support)


@pytest.mark.parametrize("guide", [AutoNormal, AutoDelta, AutoDiagonalNormal])
@pytest.mark.parametrize("prior", WITH_ATOMS[:1] + WITH_ATOMS[4:6], ids=lambda d: type(d).__name__)
def test_automatic_guides_say_so(guide, prior):
    with pytest.raises(NotImplementedError, match=r"atom.*FactorizedLogNormal or LogNormal"):
        guide(program)(prior.to_event())


def test_hamiltonian_samplers_say_so():
    kernel = NUTS(program)
    with pytest.raises(NotImplementedError, match=r"atom.*FactorizedLogNormal or LogNormal"):
        MCMC(kernel, num_samples=1, warmup_steps=1, disable_progbar=True).run(WITH_ATOMS[0])


@pytest.mark.parametrize("prior", WITHOUT, ids=lambda d: type(d).__name__)
def test_a_law_without_atoms_has_one(prior):
    law = prior.to_event(len(prior.batch_shape))
    z = law.sample((50,))
    there = biject_to(law.support)
    torch.testing.assert_close(there(there.inv(z)), z, rtol=1e-4, atol=1e-5)
    svi = SVI(program, AutoNormal(program), pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    assert all(torch.tensor(svi.step(law)).isfinite() for _ in range(3))


def test_the_atoms_of_bernoulli_noise_cannot_be_enumerated():
    prior = MultiplicativeBernoulli(torch.ones(2), 0.5)
    assert not prior.has_enumerate_support
    with pytest.raises(NotImplementedError, match=r"differ from element to element.*Bernoulli"):
        prior.enumerate_support()

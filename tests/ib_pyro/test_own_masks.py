"""Samples that a law masks itself, by ``.mask()``, count as those that ``poutine.mask`` leaves out."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from ib_pyro.elbo import Capacity, FreeBits, InformationBottleneckELBO
from ib_pyro.sites import own_mask

LOC = torch.tensor([1.0, 2.0, 3.0, 4.0])
MASKS = [torch.tensor(kept) for kept in ([True, False, False, False], [True, True, False, True])]
PENALTIES = [Capacity(0.25), Capacity(30.0), FreeBits(2.0), FreeBits(2.0, per="sample")]


def sides(mask, *, own: bool, units: int = 0):
    """Model and guide that mask one site by its law, or by a handler."""

    def side(loc):
        fn = dist.Normal(loc, 1.0)
        if units:
            fn = dist.Normal(loc.unsqueeze(-1).expand(-1, units), 1.0).to_event(1)
        with pyro.plate("d", 4), poutine.mask(mask=True if own else mask):
            pyro.sample("z", fn.mask(mask) if own else fn)

    return lambda: side(torch.zeros(4)), lambda: side(LOC)


@pytest.mark.parametrize("mask", [*MASKS, False, True], ids=["one", "three", "none", "all"])
@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("units", [0, 2])
def test_a_penalty_is_of_the_samples_that_count(mask, penalty, units):
    elbo = InformationBottleneckELBO(beta=0.7, penalty=penalty)
    by_law, by_handler = (elbo.loss(*sides(mask, own=own, units=units)) for own in (True, False))
    assert by_law == pytest.approx(by_handler)


def test_by_hand():
    model, guide = sides(MASKS[0], own=True)
    losses = [InformationBottleneckELBO(penalty=penalty).loss(model, guide) for penalty in PENALTIES]
    assert losses == pytest.approx([0.25, 29.5, 2.0, 2.0])


def test_a_total_correlation_over_masked_samples_is_refused():
    elbo = InformationBottleneckELBO(gamma=1.0)
    for own in (True, False):
        with pytest.raises(ValueError, match="site 'z': some of its samples are masked"):
            elbo.loss(*sides(MASKS[0], own=own, units=2))


def test_what_a_law_masks():
    normal = dist.Normal(torch.zeros(3, 2), 1.0)
    rows, units = (
        torch.tensor([True, False, True]),
        torch.tensor([[True, False], [False, False], [True, True]]),
    )
    assert own_mask(normal) is True
    assert own_mask(normal.mask(False).to_event(1)) is False
    assert torch.equal(own_mask(normal.to_event(1).mask(rows)), rows)
    assert torch.equal(own_mask(normal.mask(units).to_event(1)), rows)
    both = normal.mask(units).to_event(1).mask(torch.tensor([True, True, False]))
    assert own_mask(both).tolist() == [True, False, False]
    assert torch.equal(own_mask(normal.to_event(1).mask(rows).expand([5, 3])), rows.expand(5, 3))
    mixed = dist.TransformedDistribution(normal.to_event(1), [dist.transforms.ExpTransform()])
    assert torch.equal(own_mask(mixed.mask(rows)), rows)

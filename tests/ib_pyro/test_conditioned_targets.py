"""A y that a handler sets is checked, masked and refused as one that is passed."""

import pyro
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import AdditiveNormal, InformationDropout

X = torch.randn(6, 4)
ONES = (torch.rand(6) > 0.5).float()
LABELS = torch.tensor([1, 2, 3, 1, 1, 2])
LIKELIHOODS = ("normal", "bernoulli", "poisson", "continuous-bernoulli")


def grey(likelihood):
    return Bottleneck(AdditiveNormal.linear(4, 2), nn.Linear(2, 1), likelihood)


def classifier(**options):
    return Bottleneck(InformationDropout.linear(4, 5), nn.Linear(5, 6), **options)


def loss(program, *args, condition=None, elbo=None, **kwargs):
    model = program.model if condition is None else pyro.condition(program.model, {"y": condition})
    torch.manual_seed(1)
    return (elbo or InformationBottleneckELBO()).loss(model, program.guide, *args, **kwargs)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_it_does_not_broadcast(likelihood):
    program = grey(likelihood)
    with pytest.raises(ValueError, match=r"site 'y': one target has shape \(\), but .*event shape \(1,\)"):
        loss(program, X, condition=ONES)
    with pytest.raises(ValueError, match="site 'y': 1 targets for 6 inputs"):
        loss(program, X, condition=ONES[:1, None])
    assert loss(program, X, condition=ONES[:, None]) == loss(program, X, ONES[:, None])


def test_a_column_of_labels_is_no_batch_of_labels():
    with pytest.raises(ValueError, match=r"site 'y': one target has shape \(1,\), but .*event shape \(\)"):
        loss(classifier(), X, condition=LABELS[:, None])


def test_it_may_be_without_the_dimension_of_particles():
    program = grey("normal")
    elbo = InformationBottleneckELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1)
    passed = loss(program, X, ONES[:, None], elbo=elbo)
    assert loss(program, X, condition=ONES[:, None], elbo=elbo) == passed
    assert loss(program, X, condition=ONES[:, None].expand(3, 6, 1), elbo=elbo) == passed


def test_what_is_drawn_is_not_looked_at():
    program = grey("normal")
    assert program.model(X).shape == (6, 1)


def test_labels_that_are_not_there_do_not_count():
    program, labelled = classifier(), torch.arange(6) < 3
    passed = loss(program, X, LABELS, labelled=labelled)
    assert loss(program, X, condition=LABELS, labelled=labelled) == passed
    assert passed != loss(program, X, LABELS)
    with pytest.raises(ValueError, match="site 'y': labelled is torch.float32"):
        loss(program, X, condition=LABELS, labelled=labelled.float())


def test_class_weights_are_refused():
    program = classifier(class_weights=torch.arange(1.0, 7.0))
    with pytest.raises(ValueError, match="site 'y': class_weights are of the y that is passed"):
        loss(program, X, condition=LABELS)
    proper = Bottleneck(AdditiveNormal.linear(4, 2), nn.Linear(2, 6), class_weights=torch.arange(1.0, 7.0))
    assert proper.model(X).shape == (6,)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_class_weights_go_by_labels_of_any_type(dtype):
    program = classifier(class_weights=torch.arange(1.0, 7.0))
    assert loss(program, X, LABELS.to(dtype)) == loss(program, X, LABELS)

"""Each program of the differential table, captured: the numbers of the program itself, or a refusal."""

import warnings

import pyro
import pytest
import torch
from torch import nn

from ib_pyro import InformationBottleneckELBO
from ib_pyro.capture import CaptureError
from tests.ib_pyro.differential import programs  # noqa: F401  (it fills the table)
from tests.ib_pyro.differential.case import table

REFUSED = {
    "TransformedDistribution through a spline": "shape depends on values",
    "LocScaleReparam, the centring learned": "parameter store",
    "AutoReparam under AutoMultivariateNormal": "parameter store",
    "CircularReparam and ProjectedNormalReparam under AutoNormal": "reads a value",
    "NeuTraReparam over AutoIAFNormal": "parameter store",
    "VAE with networks that pyro.module registers": "parameter store",
    "deep Markov model, sequences of several lengths": "reads a value",
    "deep Markov model in pyro.markov": "reads a value",
    "deep Markov model, guide that runs backwards": "reads a value",
    "deep Markov model, recurrent guide with a flow": "reads a value",
    "topics, amortised, logistic normal (ProdLDA)": "reads a value",
    "topics, amortised, Dirichlet (LDA)": "reads a value",
    "against the order, through item": "reads a value",
    "against the order, through NumPy": r"\.numpy\(\)",
    "against the order, through control flow": "reads a value",
    "against the order, through a lookup": "reads a value",
    "which branch a latent takes, in the model's order": "reads a value",
    "poutine.scale of a tensor, on both sides": "reads a value",
    "poutine.scale of a tensor, around everything": "reads a value",
    ".mask, on both sides": "reads a value",
    ".mask, different on both sides": "reads a value",
    ".mask and poutine.mask, alike on both sides": "reads a value",
    "scale and mask, on both sides": "reads a value",
    "sequential plate": "reads a value",
    "sequential plate, subsampled": "reads a value",
    "vectorised plate inside of a sequential one": "reads a value",
    "Delta with a density, masked on both sides": "reads a value",
    "Delta with a density, masked otherwise than the prior": "reads a value",
    "parameters in the store, with constraints": "'scale' of Pyro's parameter store",
    "obs_mask, the guide masked alike": "reads a value",
    "a uniform prior and a uniform guide inside of it": "reads a value",
    "covariance from an LKJ factor and scales": "shape depends on values",
}


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)


class Holder(nn.Module):
    """A side of a program with the leaves that it uses, where capture looks for parameters."""

    def __init__(self, side, leaves):
        super().__init__()
        self.side = side
        for number, leaf in enumerate(leaves):
            self._parameters[f"leaf{number}"] = leaf

    def forward(self, *args):
        return self.side(*args)


def evaluate(elbo, model, program, seed):
    pyro.set_rng_seed(seed)
    loss = elbo.differentiable_loss(model, program.guide, *program.args)
    parameters = program.parameters()
    gradients = [None] * len(parameters)
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss.detach(), [torch.zeros(()) if g is None else g for g in gradients]


@pytest.mark.parametrize("case", table(), ids=lambda case: case.name)
def test_a_capture_has_the_numbers_of_the_program(case):
    program = case.program()
    model = Holder(program.model, program.leaves)
    options = {} if case.nesting is None else {"max_plate_nesting": case.nesting}
    elbo = InformationBottleneckELBO(0.7, on_no_closed_form="monte-carlo", **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found (non-)?auxiliary vars")
        try:
            evaluate(elbo, model, program, 3)
        except (ValueError, NotImplementedError):
            pytest.skip("the objective refuses it itself")
        captured = elbo.capture(model, program.guide)
        if case.name in REFUSED:
            with pytest.raises(CaptureError, match=REFUSED[case.name]):
                captured(*program.args)
            return
        for seed in (3, 4, 5):
            loss, gradients = evaluate(elbo, model, program, seed)
            for parameter in program.parameters():
                parameter.grad = None
            pyro.set_rng_seed(seed)
            assert captured.loss_and_grads(*program.args) == pytest.approx(loss.item(), rel=1e-12)
            for parameter, gradient in zip(program.parameters(), gradients, strict=True):
                got = torch.zeros(()) if parameter.grad is None else parameter.grad
                torch.testing.assert_close(got, gradient.expand_as(got) if not gradient.dim() else gradient)

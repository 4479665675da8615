"""What would stop or spoil a fit in its course is found before it starts."""

from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, evaluate, sweep
from ib_pyro.elbo import CriticTotalCorrelation, GaussianTotalCorrelation
from ib_pyro.information import DensityRatioCritic
from ib_pyro.nn import AdditiveNormal, InformationDropout
from ib_pyro.training import fit

SIZE = 120


def run(program, y, *, batch_size=50, x=None, elbo=None, **options):
    data = SimpleNamespace(x=torch.rand(SIZE, 8) if x is None else x, y=y)
    fabric = Fabric(accelerator="cpu", devices=1)
    return fit(
        program, data, epochs=1, batch_size=batch_size, elbo=elbo, fabric=fabric, progress=False, **options
    )


def bottleneck(likelihood, units=4, out=3):
    return Bottleneck(
        InformationDropout.linear(8, units, activation="softplus"), nn.Linear(units, out), likelihood
    )


def poisson(logits):
    return dist.Poisson(logits.exp()).to_event(1)


def gamma_law(logits):
    return dist.Gamma(logits.exp(), 1.0).to_event(1)


def simplex(logits):
    return dist.Dirichlet(logits.exp())


LAWS = [
    ("bernoulli", torch.ones(SIZE, 3), 7.0),
    ("bernoulli", torch.ones(SIZE, 3), 0.5),
    ("normal", torch.ones(SIZE, 3), torch.nan),
    (poisson, torch.ones(SIZE, 3), -1.0),
    (poisson, torch.ones(SIZE, 3), 0.5),
    (gamma_law, torch.ones(SIZE, 3), -0.5),
    (simplex, torch.full((SIZE, 3), 1 / 3), 0.9),
]


@pytest.mark.parametrize(("likelihood", "y", "wrong"), LAWS)
@pytest.mark.parametrize("row", [0, 60, SIZE - 1])
def test_a_target_out_of_the_support_is_found_wherever_it_stands(likelihood, y, wrong, row):
    y = y.clone()
    assert run(bottleneck(likelihood), y).epochs == 1
    y[row, 1] = wrong
    with pytest.raises(ValueError, match="site 'y'|Expected value|binary y|y is not finite"):
        run(bottleneck(likelihood), y)


@pytest.mark.parametrize(("likelihood", "y", "wrong"), LAWS)
def test_so_it_is_in_what_is_held_out(likelihood, y, wrong):
    held_out = torch.rand(2000, 8), y[:1].repeat(2000, 1)
    epochs = []
    assert run(bottleneck(likelihood), y, validation=held_out, on_epoch=epochs.append).epochs == 1
    held_out[1][1999, 1] = wrong
    epochs.clear()
    with pytest.raises(ValueError, match="^validation: "):
        run(bottleneck(likelihood), y, validation=held_out, on_epoch=epochs.append)
    assert not epochs


def test_looking_at_held_out_data_leaves_the_fit_as_it_is():
    fits = []
    for validation in (None, (torch.rand(50, 8), torch.ones(50, 3))):
        torch.manual_seed(0)
        program = bottleneck("bernoulli", out=3)
        x = torch.rand(SIZE, 8)
        fits.append(run(program, torch.ones(SIZE, 3), x=x, validation=validation).rows[0]["loss"])
        assert not program.training
    assert fits[0] == fits[1]


def test_the_error_names_the_value_and_how_many():
    y = torch.ones(SIZE, 3)
    y[100, 2], y[110, 0] = -3.0, -4.0
    message = r"site 'y': 2 of 360 targets that were looked at are no values of Poisson.*one is -3.0.*relabel"
    with pytest.raises(ValueError, match=message):
        run(bottleneck(poisson), y)


def test_the_check_does_not_depend_on_pyros_validation():
    y = torch.ones(SIZE, 3)
    y[100, 2] = -3.0
    with pyro.validation_enabled(False), pytest.raises(ValueError, match="site 'y': 1 of 360 targets"):
        run(bottleneck(poisson), y)


def test_targets_are_those_that_a_step_sees():
    grey = torch.rand(SIZE, 3)
    result = run(bottleneck("bernoulli"), grey, transform=lambda x, y: (x, torch.bernoulli(y)))
    assert result.epochs == 1
    with pytest.raises(ValueError, match="site 'y'"):
        run(bottleneck("bernoulli"), torch.ones(SIZE, 3), transform=lambda x, y: (x, y + 1))


class Own(nn.Module):
    """A program of the user's own, whose targets may be masked or scored by a law that differs by sample."""

    def __init__(self, law):
        super().__init__()
        self.loc = nn.Linear(8, 3)
        self.law = law

    def model(self, x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            pyro.sample("count", self.law(z), obs=y)

    def guide(self, x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc(x), 1.0).to_event(1))


def test_a_program_of_the_users_own():
    y = torch.ones(SIZE, 3)
    y[100] = -1.0
    with pytest.raises(ValueError, match="site 'count': 3 of 360 targets"):
        run(Own(lambda z: dist.Poisson(z.exp()).to_event(1)), y)
    hidden = Own(lambda z: dist.Poisson(z.exp()).mask(torch.zeros(z.shape, dtype=torch.bool)).to_event(1))
    assert run(hidden, y).epochs == 1
    total = torch.arange(1.0, 4.0)
    assert run(Own(lambda z: dist.Binomial(total, logits=z).to_event(1)), torch.ones(SIZE, 3)).epochs == 1


def test_nothing_changes_but_for_the_fit():
    """Generators and batch norm's statistics are where an unchecked fit would have found them."""
    program = Bottleneck(InformationDropout.linear(8, 4, batch_norm=True), nn.Linear(4, 3), "bernoulli")
    before = {name: value.clone() for name, value in program.state_dict().items()}
    seen = []

    def stop(x, y):
        seen.append(torch.get_rng_state())
        if len(seen) > 2:  # two for the checks
            raise KeyboardInterrupt
        return x, y

    x = torch.rand(SIZE, 8)
    torch.manual_seed(5)
    order = torch.Generator().manual_seed(1)
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        run(program, torch.ones(SIZE, 3), x=x, transform=stop, order=order)
    assert torch.equal(seen[-1], state)
    after = program.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


GAUSSIAN = r"site 'z': gamma=0.5 weights the total correlation of 6 units, which takes at least 7 samples"


@pytest.mark.parametrize(
    ("batch_size", "estimator", "message"),
    [
        (50, "gaussian", None),
        (39, "gaussian", GAUSSIAN + r", but the last batch of 120 samples has 3 \(batch_size=39\)"),
        (6, "gaussian", GAUSSIAN + r", but a batch has 6 \(batch_size=6\)"),
        (39, GaussianTotalCorrelation(shrinkage=0.1), None),
        (
            119,
            GaussianTotalCorrelation(shrinkage=0.1),
            "at least 2 samples, but the last batch of 120 samples has 1",
        ),
        (119, "minibatch-stratified", "at least 2 samples, but the last batch of 120 samples has 1"),
        (39, "minibatch-stratified", None),
        (119, "minibatch-weighted", None),
        (119, CriticTotalCorrelation(DensityRatioCritic(6).requires_grad_(False)), None),
        (119, lambda posterior, z, size: z.square().mean(), None),
    ],
)
def test_a_batch_too_small_for_gamma_is_found_before_the_fit(batch_size, estimator, message):
    program = Bottleneck(AdditiveNormal.linear(8, 6, name="z"), nn.Linear(6, 3), "bernoulli")
    elbo = InformationBottleneckELBO(beta=0.1, gamma=0.5, total_correlation=estimator)
    seen = []

    def steps(x, y):
        seen.append(len(x))
        return x, y

    if message is None:
        assert run(program, torch.ones(SIZE, 3), batch_size=batch_size, elbo=elbo).epochs == 1
        return
    with pytest.raises(ValueError, match=message):
        run(program, torch.ones(SIZE, 3), batch_size=batch_size, elbo=elbo, transform=steps)
    assert len(seen) == 1


def test_a_rest_too_small_for_gamma_or_batch_norm_may_be_left_out():
    layers = nn.Sequential(InformationDropout.linear(8, 6, activation="softplus", batch_norm=True, name="z"))
    program = Bottleneck(layers, nn.Linear(6, 3), "bernoulli")
    elbo = InformationBottleneckELBO(beta=0.1, gamma=0.5)
    with pytest.raises(ValueError, match="or leave it out by drop_last"):
        run(program, torch.ones(SIZE, 3), batch_size=119, elbo=elbo)
    with pytest.raises(ValueError, match="leave the rest out by drop_last"):
        run(program, torch.ones(SIZE, 3), batch_size=39, elbo=elbo)
    for batch_size in (119, 39):
        assert run(program, torch.ones(SIZE, 3), batch_size=batch_size, elbo=elbo, drop_last=True).epochs == 1


def test_only_sites_with_a_weight_are_asked():
    layers = nn.Sequential(AdditiveNormal.linear(8, 6, name="a"), AdditiveNormal.linear(6, 2, name="b"))
    program = Bottleneck(layers, nn.Linear(2, 3), "bernoulli")
    elbo = InformationBottleneckELBO(beta=0.1, gamma={"b": torch.tensor(0.25)})
    assert run(program, torch.ones(SIZE, 3), batch_size=39, elbo=elbo).epochs == 1
    with pytest.raises(ValueError, match="site 'b': gamma=0.25 weights the total correlation of 2 units"):
        run(program, torch.ones(SIZE, 3), batch_size=59, elbo=elbo)


def test_a_single_unit_needs_no_second_sample():
    program = Bottleneck(AdditiveNormal.linear(8, 1), nn.Linear(1, 3), "bernoulli")
    elbo = InformationBottleneckELBO(beta=0.1, gamma=1.0)
    assert run(program, torch.ones(SIZE, 3), batch_size=119, elbo=elbo).epochs == 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("row", [0, 60, SIZE - 1])
def test_an_input_that_is_not_finite_is_found_wherever_it_stands(value, row):
    x = torch.rand(SIZE, 8)
    x[row, 3] = value
    message = rf"x is not finite in 1 of 120 samples \(sample {row} has {value}\)"
    with pytest.raises(ValueError, match=message):
        run(bottleneck("bernoulli"), torch.ones(SIZE, 3), x=x)


@pytest.mark.parametrize("likelihood", ["normal", poisson, "bernoulli"])
def test_a_target_that_is_infinite_is_found(likelihood):
    y = torch.ones(SIZE, 3)
    y[100, 1] = torch.inf
    with pytest.raises(ValueError, match="y is not finite in 1 of 120 samples .sample 100 has inf"):
        run(bottleneck(likelihood), y)


@pytest.mark.filterwarnings("ignore:site 'count'. its log density is infinite")
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_so_it_is_where_a_target_is_one_number(value):
    y = torch.ones(SIZE)
    y[100] = value
    law = lambda z: dist.Normal(z[:, 0], 1.0)  # noqa: E731
    with pytest.raises(ValueError, match=f"y is not finite in 1 of 120 samples .sample 100 has {value}"):
        run(Own(law), y)
    with pytest.raises(
        ValueError, match=f"validation: y is not finite in 1 of 120 samples .sample 100 has {value}"
    ):
        run(Own(law), torch.ones(SIZE), validation=(torch.rand(SIZE, 8), y))


class Masking(Own):
    """A program that takes NaN for what was not measured."""

    def guide(self, x, y):
        super().guide(x.nan_to_num(), y)


def test_what_a_program_masks_may_be_anything():
    x = torch.rand(SIZE, 8)
    x[70] = torch.nan
    law = lambda z: dist.Poisson(z.exp()).to_event(1)  # noqa: E731
    assert run(Masking(law), torch.ones(SIZE, 3), x=x).epochs == 1
    with pytest.raises(ValueError, match="x is not finite in 1 of 120 samples"):
        run(Own(law), torch.ones(SIZE, 3), x=x)


def test_a_set_of_nothing_finite_is_refused():
    with pytest.raises(ValueError, match="x is not finite in 120 of 120"):
        run(bottleneck("bernoulli"), torch.ones(SIZE, 3), x=torch.full((SIZE, 8), torch.nan))


def test_terms_warn_of_a_loss_that_is_nan():
    elbo = InformationBottleneckELBO(beta=0.1)
    x, y = torch.rand(5, 8), torch.ones(5, 3)
    program = bottleneck("bernoulli")
    elbo.terms(program.model, program.guide, x, y)
    # A law that does not look at its parameters.
    loc = torch.tensor([0.0, torch.nan, 0.0])
    program = Own(lambda z: dist.Normal(loc, torch.ones(3), validate_args=False).to_event(1))
    with pytest.warns(UserWarning, match=r"the loss is NaN: distortion \(5 of 5 values\); look for NaN"):
        found = elbo.terms(program.model, program.guide, x, y)
    assert found.loss.isnan()


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
@pytest.mark.parametrize("likelihood", ["categorical", poisson, "poisson"])
def test_whole_numbers_that_pytorch_cannot_compare_are_refused_by_name(dtype, likelihood):
    y = torch.ones(SIZE, *(() if likelihood == "categorical" else (3,)), dtype=torch.int64).to(dtype)
    program, x, message = (
        bottleneck(likelihood),
        torch.rand(SIZE, 8),
        r"site 'y': y has the type torch.uint.*y.long",
    )
    with pytest.raises(ValueError, match=message):
        run(program, y)
    with pytest.raises(ValueError, match=message):
        evaluate(program, (x, y))
    with pytest.raises(ValueError, match=message):
        sweep(lambda: bottleneck(likelihood), (x, y), betas=[0.1], epochs=1)
    with pytest.raises(ValueError, match=message):
        InformationBottleneckELBO().loss(program.model, program.guide, x, y)
    run(program, y.long())

"""Copies of a program, programs with a part replaced, and programs of another dtype or device."""

import copy
import pickle

import pyro
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import InformationDropout

BATCH, WIDTH_IN, CLASSES = 6, 4, 3


PROPER = {"activation": "softplus", "prior": "log-normal"}


class TestReplacedParts:
    """A program may be given another decoder, encoder or likelihood after it was used."""

    def test_a_decoder(self, x, y, make):
        program, elbo = make(), InformationBottleneckELBO()
        elbo.loss(program.model, program.guide, x, y)
        program.decoder = nn.Linear(2, CLASSES)
        parameters = {id(p) for p in elbo(program.model, program.guide).parameters()}
        assert parameters == {id(p) for p in program.parameters()}

    def test_an_encoder(self, x, y, make):
        program, elbo = make(), InformationBottleneckELBO()
        elbo.loss(program.model, program.guide, x, y)
        program.encoder = InformationDropout.linear(4, 2, name="code")
        assert set(elbo.terms(program.model, program.guide, x, y).rate) == {"code"}

    def test_a_likelihood(self, x, make):
        program = make()
        program.likelihood = "normal"
        assert InformationBottleneckELBO()(program.model, program.guide)(
            x, torch.randn(BATCH, CLASSES)
        ).isfinite()
        with pytest.raises(ValueError, match="likelihood='softmax' is unknown"):
            program.likelihood = "softmax"


class TestCopies:
    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    @pytest.mark.parametrize("used", [False, True])
    def test_a_copy_is_a_program_of_its_own(self, x, y, duplicate, used, make, two_layers):
        program = make(two_layers(batch_norm=True))
        elbo = InformationBottleneckELBO()
        if used:
            elbo.loss(program.model, program.guide, x, y)
        twin = duplicate(program)
        assert list(twin.stochastic_layers) == ["z1", "z2"]
        assert twin.stochastic_layers["z1"] is twin.encoder.z1
        assert twin.model.program is twin
        with torch.random.fork_rng():
            expected = elbo.loss(program.model, program.guide, x, y)
        assert elbo.loss(twin.model, twin.guide, x, y) == expected
        nn.init.zeros_(twin.decoder.weight)
        assert program.decoder.weight.any()

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_model_and_guide_are_copied_with_their_program(self, duplicate, make):
        program = make()
        model, guide = duplicate((program.model, program.guide))
        assert model.program is guide.program is not program
        assert duplicate(program.model).program.encoder is not program.encoder

    def test_state_dict_holds_the_networks_and_nothing_else(self, make):
        keys = make().state_dict().keys()
        assert {key.split(".")[0] for key in keys} == {"encoder", "decoder"}
        assert make().model is not make().guide
        program = make()
        assert program.model is program.model

    def test_another_dtype(self, x, y, make):
        program = make().double()
        loss = InformationBottleneckELBO()(program.model, program.guide)(x.double(), y)
        assert loss.dtype == torch.float64

    def test_no_tensor_is_made_on_another_device(self, y, make, two_layers):
        """Everything runs on 'meta', where a stray CPU tensor cannot mix in."""
        for options in ({}, PROPER):
            program = make(two_layers(**options)).to("meta")
            x = torch.empty(BATCH, WIDTH_IN, device="meta")
            elbo = InformationBottleneckELBO()
            with pyro.validation_enabled(False):
                loss = elbo.differentiable_loss(program.model, program.guide, x, y.to("meta"))
            assert loss.device.type == "meta"
            loss.backward()
            assert all(p.grad.device.type == "meta" for p in program.parameters())


def exchange_decoder(program):
    program.decoder = nn.Linear(2, CLASSES)


def exchange_in_decoder(program):
    program.decoder[0] = nn.Linear(2, CLASSES)


def exchange_encoder(program):
    program.encoder = nn.Sequential(
        InformationDropout.linear(4, 5, activation="softplus", name="z1"),
        InformationDropout.linear(5, 2, activation="softplus", name="z2"),
    )


def exchange_layer(program):
    program.encoder[0] = InformationDropout.linear(4, 5, activation="softplus", alpha_max=2.0, name="z1")


def exchange_for_another_width(program):
    program.encoder[0], program.encoder[1] = (
        InformationDropout.linear(4, 7, activation="softplus", name="z1"),
        InformationDropout.linear(7, 2, activation="softplus", name="z2"),
    )


def exchange_features(program):
    program.encoder[0].features = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))


def exchange_a_parameter(program):
    program.decoder[0].bias = nn.Parameter(torch.ones(CLASSES))


EXCHANGES = [
    exchange_decoder,
    exchange_in_decoder,
    exchange_encoder,
    exchange_layer,
    exchange_for_another_width,
    exchange_features,
    exchange_a_parameter,
]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda f: f.__name__.removeprefix("exchange_"))
class TestExchangedParts:
    """A loss or an SVI that was made before is that of the program's present modules."""

    @pytest.fixture
    def program(self):
        layers = (
            InformationDropout.linear(4, 5, activation="softplus", name="z1"),
            InformationDropout.linear(5, 2, activation="softplus", name="z2"),
        )
        return Bottleneck(nn.Sequential(*layers), nn.Sequential(nn.Linear(2, CLASSES)))

    def fresh(self, program, x, y):
        """The value of a program that was made of the present modules."""
        twin = Bottleneck(program.encoder, program.decoder)
        torch.manual_seed(1)
        return InformationBottleneckELBO().terms(twin.model, twin.guide, x, y)

    def test_the_numbers(self, program, exchange, x, y):
        elbo = InformationBottleneckELBO()
        model, guide = program.model, program.guide
        loss = elbo(model, guide)
        loss(x, y)
        exchange(program)
        expected = self.fresh(program, x, y)
        torch.manual_seed(1)
        terms = elbo.terms(model, guide, x, y)
        torch.testing.assert_close(terms.loss, expected.loss)
        torch.testing.assert_close(terms.rate, expected.rate)
        torch.manual_seed(1)
        torch.testing.assert_close(loss(x, y), expected.loss)

    def test_the_model_alone(self, program, exchange, x, y):
        for layer in program.encoder:
            layer.activation, layer.prior = "softplus", pyro.distributions.LogNormal(0.0, 1.0)
        program.model(x)
        exchange(program)
        for layer in program.encoder:
            layer.activation, layer.prior = "softplus", pyro.distributions.LogNormal(0.0, 1.0)
        with pyro.poutine.trace() as trace:
            program.model(x)
        shapes = {name: trace.trace.nodes[name]["value"].shape for name in ("z1", "z2")}
        assert shapes == {name: z.shape for name, z in program.latents(x).items()}

    def test_pytorchs_way_trains_it(self, program, exchange, x, y):
        loss = InformationBottleneckELBO()(program.model, program.guide)
        loss(x, y)
        exchange(program)
        assert {id(p) for p in loss.parameters()} == {id(p) for p in program.parameters()}
        before = {name: value.clone() for name, value in program.named_parameters()}
        optimiser = torch.optim.Adam(loss.parameters(), 0.1)
        loss(x, y).backward()
        optimiser.step()
        # The bias before a batch norm has no gradient but rounding.
        moved = [name for name, value in program.named_parameters() if not torch.equal(value, before[name])]
        assert len(moved) >= len(before) - 1

    def test_pyros_way_trains_it(self, program, exchange, x, y):
        optimiser = pyro.optim.Adam({"lr": 0.1})
        svi = pyro.infer.SVI(program.model, program.guide, optimiser, InformationBottleneckELBO())
        svi.step(x, y)
        exchange(program)
        before = {name: value.clone() for name, value in program.named_parameters()}
        svi.step(x, y)
        moved = [name for name, value in program.named_parameters() if not torch.equal(value, before[name])]
        assert len(moved) >= len(before) - 1
        stored = dict(pyro.get_param_store().named_parameters())
        assert {id(p) for p in stored.values()} == {id(p) for p in program.parameters()}

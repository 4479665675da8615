"""Copies of a program, programs with a part replaced, and programs of another dtype or device."""

import copy
import pickle

import pyro
import pytest
import torch
from torch import nn

from ib_pyro import InformationBottleneckELBO
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

"""Programs by name: every option is an argument of the builder, and reaches it."""

import dataclasses
import inspect

import pytest
from torch import nn

from ib_pyro.nn import InformationDropout
from inference.runs import program_spec
from inference.runs.program_spec import NOISES, PROGRAMS, Builder, ProgramSpec
from inference.runs.task import TASKS
from models.blocks import DROPOUTS


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_option_is_an_argument_of_the_builder_and_a_setting(name):
    builder = PROGRAMS[name]
    parameters = inspect.signature(builder.load()).parameters
    assert {*builder.options, *builder.fixed, builder.noise, "image_shape"} <= set(parameters)
    settings = {entry.name: entry.default for entry in dataclasses.fields(ProgramSpec)}
    assert set(builder.options) <= set(settings)
    # What a run leaves alone is what the program is without it.
    for option in builder.options:
        assert settings[option] == parameters[option].default
    assert builder.task in TASKS


def test_the_kinds_of_noise_are_those_of_the_networks_with_the_options_of_their_layers():
    assert set(NOISES) == set(DROPOUTS)
    settings = {entry.name: entry.default for entry in dataclasses.fields(ProgramSpec)}
    for kind, layer in DROPOUTS.items():
        parameters = inspect.signature(layer).parameters if layer else {}
        for option in NOISES[kind].every:
            assert settings[option] == parameters[option].default, option


@pytest.mark.parametrize(
    ("settings", "read"),
    [
        ({"model": "mlp", "hidden": 7}, lambda p: p.encoder.z2.features[0].out_features == 7),
        (
            {"model": "mlp", "hidden": 7, "batch_norm": False},
            lambda p: p.encoder.z2.features.out_features == 7,
        ),
        ({"model": "mlp", "dropout": "binary", "drop_prob": 0.1}, lambda p: p.encoder.z1.drop_prob == 0.1),
        ({"model": "mlp", "alpha_max": 0.9}, lambda p: p.encoder.z3.alpha_max == 0.9),
        ({"model": "mlp", "atom": "ignore"}, lambda p: p.encoder.z3.atom == "ignore"),
        ({"model": "mlp", "activation": "softplus"}, lambda p: hasattr(p.encoder.z1, "prior_loc")),
        ({"model": "all-cnn-32", "fraction": 1 / 48}, lambda p: p.encoder.z1.features[0].out_channels == 2),
        ({"model": "all-cnn-96", "fraction": 1 / 16}, lambda p: p.encoder.z1.features[0].out_channels == 2),
        ({"model": "vae", "latent": "gaussian"}, lambda p: not isinstance(p.encoder.z1, InformationDropout)),
        (
            {"model": "vae", "likelihood": "discretized-logistic"},
            lambda p: p.likelihood == "discretized-logistic" and len(p.decoder) == 5,
        ),
        ({"model": "vae", "k": 2, "alpha_max": 0.9}, lambda p: p.encoder.z1.alpha_max == 0.9),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_options_reach_the_program(settings, read):
    side = {"all-cnn-32": 32, "all-cnn-96": 96}.get(settings["model"], 4)
    assert read(ProgramSpec(**settings).build((1, side, side), 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": "all-cnn-32", "batch_norm": False},
            "--batch-norm False has no effect with --model all-cnn-32",
        ),
        ({"fraction": 0.5}, "it goes with --model all-cnn-32 or all-cnn-96"),
        ({"fraction": 0.0, "model": "all-cnn-32"}, "--fraction must be positive"),
        ({"dropout": "binary", "alpha_max": 1.0}, "it goes with --dropout information"),
        ({"model": "vae", "likelihood": "poisson"}, "likelihood 'poisson' is unknown"),
        ({"model": "mlp", "likelihood": "continuous-bernoulli"}, "no effect with --model mlp"),
        ({"model": "vae", "latent": "gaussian", "alpha_max": 1.0}, "no effect with --latent gaussian"),
        ({"activation": "relo"}, "activation 'relo' is unknown; did you mean 'relu'"),
    ],
)
def test_an_option_without_effect_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ProgramSpec(**settings)


def test_an_option_that_the_builder_does_not_take_is_named(monkeypatch):
    monkeypatch.setitem(program_spec.PROGRAMS, "linear", Builder("torch.nn:Linear", ("hidden", "dropout")))
    with pytest.raises(
        ValueError, match=r"torch.nn:Linear has no hidden, dropout, alpha_max, atom; its options are"
    ):
        ProgramSpec(model="linear").build((1, 4, 4), 3)


def test_a_new_program_is_a_line(monkeypatch):
    """A builder of a user's own, named by its path, is fitted as any other."""
    monkeypatch.setitem(program_spec.PROGRAMS, "mine", Builder("models.mlp:MLP", ("hidden", "dropout")))
    built = ProgramSpec(model="mine", hidden=5, dropout="none").build((1, 4, 4), 3)
    assert isinstance(built, nn.Module)
    assert not built.stochastic_layers

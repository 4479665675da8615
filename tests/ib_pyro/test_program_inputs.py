"""Programs of several inputs and outputs, rows without labels, and classes that weigh more than others."""

from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

from ib_pyro import Bottleneck, InformationBottleneckELBO, to_arviz
from ib_pyro.diagnostics import elementwise_rates, importance_log_weights
from ib_pyro.inputs import batch_size_of, shape_of
from ib_pyro.nn import AdditiveNormal, InformationDropout

BATCH, WIDTH_IN, CLASSES = 6, 4, 3


class Added(nn.Module):
    """An encoder of a mapping, or of two arguments."""

    def __init__(self):
        super().__init__()
        self.z = InformationDropout.linear(WIDTH_IN, 5)

    def forward(self, a, b=None):
        return self.z(a["a"] + a["b"] if b is None else a + b)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.z = nn.LSTM(WIDTH_IN, 5, batch_first=True), AdditiveNormal.linear(5, 5)

    def forward(self, x):
        return self.z(self.lstm(x)[1][0][-1])


class Heads(nn.Module):
    def __init__(self, kind=dict):
        super().__init__()
        self.kind, self.a, self.b = kind, nn.Linear(5, CLASSES), nn.Linear(5, 2)

    def forward(self, z):
        a, b = self.a(z), self.b(z)
        return {"a": a, "b": b} if self.kind is dict else (a, b)


HEADS = {"a": "categorical", "b": "normal"}


def same_seed(function):
    torch.manual_seed(1)
    return function()


@pytest.fixture
def two():
    return torch.randn(BATCH, WIDTH_IN), torch.randn(BATCH, WIDTH_IN)


class TestInputs:
    def test_a_mapping_and_a_tuple_are_what_the_encoder_makes_of_them(self, two, y):
        elbo, encoder = InformationBottleneckELBO(0.3), Added()
        program = Bottleneck(encoder, nn.Linear(5, CLASSES))
        alone = Bottleneck(encoder.z, program.decoder)
        expected = same_seed(lambda: elbo(alone.model, alone.guide)(two[0] + two[1], y))
        for x in (two, {"a": two[0], "b": two[1]}):
            assert torch.equal(same_seed(lambda x=x: elbo(program.model, program.guide)(x, y)), expected)
            assert program.predict(x).shape == (BATCH, CLASSES)
            assert set(program.latents(x)) == set(program.posteriors(x)) == {"z"}
            assert elementwise_rates(program, x)["z"].shape == (BATCH, 5)
            assert importance_log_weights(program.model, program.guide, x, y, num_samples=2).shape == (
                2,
                BATCH,
            )
            exported = to_arviz(program, x, y, num_samples=2, batch_size=4)
            assert exported["posterior"]["z"].shape == (1, 2, BATCH, 5)
            captured = elbo.capture(program.model, program.guide)
            assert torch.equal(*(same_seed(lambda x=x, captured=captured: captured(x, y)) for _ in range(2)))
            SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.01}), elbo).step(x, y)
            expected = same_seed(lambda: elbo(alone.model, alone.guide)(two[0] + two[1], y))

    def test_a_packed_sequence_is_its_padded_rows(self, y):
        x, lengths = torch.randn(BATCH, 5, WIDTH_IN), torch.tensor([5, 2, 4, 3, 3, 1])
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        program = Bottleneck(Recurrent(), nn.Linear(5, CLASSES)).double()
        terms = InformationBottleneckELBO().terms(program.model, program.guide, packed.double(), y)
        for row, length in enumerate(lengths):
            alone = program.posteriors(x[row : row + 1, :length].double())["z"]
            rate = dist.kl_divergence if hasattr(dist, "kl_divergence") else torch.distributions.kl_divergence
            expected = rate(alone, torch.distributions.Normal(torch.zeros(5).double(), 1)).sum()
            torch.testing.assert_close(terms.rate["z"][row], expected)
        with pytest.raises(
            TypeError, match="PackedSequence, which cannot be cut by rows; pass the padded tensor"
        ):
            to_arviz(program, packed, y)

    def test_what_has_no_rows_goes_along(self, two, y):
        class Scaled(Added):
            def forward(self, x):
                assert x["verbose"] is False
                return self.z(x["a"] * x["scale"])

        program = Bottleneck(Scaled(), nn.Linear(5, CLASSES))
        x = {"a": two[0], "scale": torch.tensor(2.0), "verbose": False}
        assert InformationBottleneckELBO().loss(program.model, program.guide, x, y) > 0

    def test_shapes_of_each_kind_have_structures_of_their_own(self, two):
        program = Bottleneck(nn.Sequential(InformationDropout(nn.Identity(), nn.Identity())), nn.Flatten())
        for shape in ((BATCH, 4), (BATCH, 5), (2, 4)):
            program.likelihood = lambda o: dist.Normal(o, 1.0).to_event(1)
            trace = poutine.trace(program.guide).get_trace(torch.rand(shape))
            assert trace.nodes["z1"]["value"].shape == shape
        assert shape_of({"a": two[0]}) != shape_of({"b": two[0]}) != shape_of(two)
        assert batch_size_of({"a": two[0], "n": None}) == BATCH

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            (np.zeros((6, 4)), TypeError, r"x is a ndarray; .*pass torch.as_tensor\(x\)"),
            ({"a": torch.zeros(6, 4), "b": np.zeros(6)}, TypeError, r"x\['b'\] is a ndarray"),
            ([torch.zeros(4)], TypeError, r"x is a list; .*torch.stack\(x\), or a tuple for several"),
            (
                DataLoader(TensorDataset(torch.zeros(2, 4))),
                TypeError,
                "x is a DataLoader; .*for x, y in loader",
            ),
            (TensorDataset(torch.zeros(2, 4)), TypeError, "x is a TensorDataset; .*DataLoader"),
            (SimpleNamespace(x=torch.zeros(2, 4)), TypeError, "x is a SimpleNamespace; .*; pass its x"),
            (torch.tensor(1.0), TypeError, "x is a Tensor without rows"),
            ({}, TypeError, "x is a dict without rows"),
            ((torch.zeros(6, 4), torch.zeros(5)), ValueError, r"x\[1\] has 5 rows, but x\[0\] has 6"),
        ],
        ids=["array", "array within", "list", "loader", "dataset", "samples", "scalar", "empty", "rows"],
    )
    def test_what_is_no_input(self, x, error, message, make):
        with pytest.raises(error, match=message):
            make().guide(x)

    def test_a_target_that_is_no_tensor(self, x, make):
        program = make()
        with pytest.raises(
            TypeError, match=r"site 'y': y is a ndarray; pass a tensor, as torch.as_tensor\(y\)"
        ):
            InformationBottleneckELBO().loss(program.model, program.guide, x, np.zeros(6))

    def test_nan_in_one_of_several_inputs_is_named(self, two, y):
        program = Bottleneck(Added(), nn.Linear(5, CLASSES))
        with pytest.raises(ValueError, match="x itself has 24 NaN of 48 values"):
            program.predict((two[0], two[1] * float("nan")))


class TestHeads:
    @pytest.mark.parametrize("kind", [dict, tuple])
    def test_they_are_sites_whose_distortions_add_up(self, x, y, kind):
        encoder, decoder = InformationDropout.linear(4, 5), Heads(kind)
        program = Bottleneck(encoder, decoder, HEADS)
        both, elbo = {"a": y, "b": torch.randn(BATCH, 2)}, InformationBottleneckELBO(0.3)
        terms = same_seed(lambda: elbo.terms(program.model, program.guide, x, both))
        z = same_seed(lambda: encoder(x))
        expected = F.cross_entropy(decoder.a(z), y, reduction="none")
        expected = expected - dist.Normal(decoder.b(z), 1.0).log_prob(both["b"]).sum(-1)
        torch.testing.assert_close(terms.distortion, expected)
        predicted = program.predict(x)
        assert {name: value.shape for name, value in predicted.items()} == {
            "a": (BATCH, CLASSES),
            "b": (BATCH, 2),
        }
        assert program.predictive(x, 2)[0].keys() == {"a", "b"}

    def test_they_are_exported(self, x, y):
        program = Bottleneck(InformationDropout.linear(4, 5), Heads(), HEADS)
        exported = to_arviz(program, x, {"a": y, "b": torch.randn(BATCH, 2)}, num_samples=3)
        assert (
            set(exported["log_likelihood"].data_vars)
            == set(exported["observed_data"].data_vars)
            == {"a", "b"}
        )

    def test_one_head_of_its_own_name(self, x, y):
        program = Bottleneck(
            InformationDropout.linear(4, 5),
            nn.Linear(5, CLASSES),
            {"label": lambda o: dist.Categorical(logits=o)},
        )
        program.decoder = nn.Sequential(program.decoder, Named())
        assert InformationBottleneckELBO().loss(program.model, program.guide, x, {"label": y}) > 0

    @pytest.mark.parametrize(
        ("decoder", "y", "message"),
        [
            (Heads(), torch.zeros(6), r"y is one target for the sites \['a', 'b'\]; pass a mapping"),
            (Heads(), {"c": torch.zeros(6)}, r"y has \['c'\], but the observed sites are \['a', 'b'\]"),
            (nn.Linear(5, 2), {"a": torch.zeros(6)}, r"sites \['a', 'b'\]: the decoder returns a Tensor"),
            (
                Heads(),
                {"a": torch.zeros(6), "b": torch.zeros(6, 2)},
                "site 'a': labels must be whole numbers",
            ),
            (Heads(), {"a": torch.zeros(6).long(), "b": torch.zeros(6, 3)}, "site 'b': one target has shape"),
            (
                Heads(),
                {"a": torch.zeros(6).long()},
                "only in the model.*b was not given, so it is sampled; pass b",
            ),
        ],
        ids=["one", "unknown", "decoder", "labels", "shape", "missing"],
    )
    def test_what_is_refused(self, x, decoder, y, message):
        program = Bottleneck(InformationDropout.linear(4, 5), decoder, HEADS)
        with pytest.raises(ValueError, match=message):
            InformationBottleneckELBO().loss(program.model, program.guide, x, y)

    def test_names_of_likelihoods(self):
        with pytest.raises(ValueError, match="likelihood='normall' is unknown; did you mean 'normal'"):
            Bottleneck(InformationDropout.linear(4, 5), Heads(), {"a": "normall"})
        with pytest.raises(ValueError, match="likelihood is empty"):
            Bottleneck(InformationDropout.linear(4, 5), Heads(), {})


class Named(nn.Module):
    def forward(self, logits):
        return {"label": logits}


class TestRowsWithoutLabels:
    @pytest.mark.parametrize("filler", [-1, 1])
    def test_they_have_rates_alone(self, x, y, make, filler):
        program, elbo = make(), InformationBottleneckELBO(0.3)
        labelled = torch.tensor([True, False, True, True, False, False])
        partly = torch.where(labelled, y, filler)
        terms = same_seed(lambda: elbo.terms(program.model, program.guide, x, partly, labelled=labelled))
        whole = same_seed(lambda: elbo.terms(program.model, program.guide, x, y))
        torch.testing.assert_close(terms.distortion, whole.distortion * labelled)
        torch.testing.assert_close(terms.rate["z1"], whole.rate["z1"])
        loss = same_seed(lambda: elbo(program.model, program.guide)(x, partly, labelled=labelled))
        torch.testing.assert_close(loss, terms.loss)
        loss.backward()
        assert all(p.grad.isfinite().all() for p in program.parameters())

    def test_numbers_that_are_missing_are_nan(self, x, make):
        program = make(likelihood="normal")
        y = torch.randn(BATCH, CLASSES)
        y[1] = float("nan")
        labelled = ~y.isnan().any(-1)
        elbo = InformationBottleneckELBO()
        assert elbo(program.model, program.guide)(x, y, labelled=labelled).isfinite()
        y[1] = 0
        loss = same_seed(lambda: elbo(program.model, program.guide)(x, y, labelled=labelled))
        y[1] = 3
        assert torch.equal(
            loss, same_seed(lambda: elbo(program.model, program.guide)(x, y, labelled=labelled))
        )

    def test_the_export_takes_them_by_keyword(self, x, y, make):
        labelled = torch.tensor([True] * 4 + [False] * 2)
        exported = to_arviz(make(), x, y, kwargs={"labelled": labelled}, num_samples=2, batch_size=4)
        distortion = torch.as_tensor(exported["sample_stats"]["distortion"].values)
        assert distortion[..., :4].all()
        assert not distortion[..., 4:].any()

    @pytest.mark.parametrize(
        "labelled", [torch.ones(6), torch.ones(5, dtype=torch.bool)], ids=["type", "shape"]
    )
    def test_what_is_refused(self, x, y, make, labelled):
        program = make()
        with pytest.raises(
            ValueError, match="site 'y': labelled is .*; pass a truth value for each of the 6"
        ):
            InformationBottleneckELBO().loss(program.model, program.guide, x, y, labelled=labelled)


class TestClassWeights:
    def test_they_are_those_of_cross_entropy(self, x, y, two_layers):
        weights = torch.tensor([1.0, 0.2, 3.0])
        program = Bottleneck(two_layers(), nn.Linear(2, CLASSES), class_weights=weights)
        elbo = InformationBottleneckELBO(beta=0.0)
        loss = same_seed(lambda: elbo(program.model, program.guide)(x, y))
        logits = same_seed(lambda: program(x))
        torch.testing.assert_close(loss, F.cross_entropy(logits, y, weights, reduction="sum"))
        assert "class_weights" not in program.state_dict()
        assert program.double().class_weights.dtype == torch.float64

    def test_they_change_neither_rates_nor_predictions(self, x, y, two_layers):
        encoder, decoder = two_layers(), nn.Linear(2, CLASSES)
        programs = [
            Bottleneck(encoder, decoder, class_weights=w) for w in (None, torch.tensor([5.0, 1.0, 0.1]))
        ]
        rates = [
            same_seed(lambda p=p: InformationBottleneckELBO().terms(p.model, p.guide, x, y).rate)
            for p in programs
        ]
        assert all(torch.equal(rates[0][name], rates[1][name]) for name in ("z1", "z2"))
        assert torch.equal(*(same_seed(lambda p=p: p.predict(x)) for p in programs))

    @pytest.mark.parametrize(
        ("likelihood", "count", "message"),
        [
            ("categorical", 2, "site 'y': 2 class_weights for 3 classes"),
            ("normal", 3, "one class a sample, but the law is Normal"),
        ],
        ids=["count", "law"],
    )
    def test_what_is_refused(self, x, y, two_layers, likelihood, count, message):
        program = Bottleneck(two_layers(), nn.Linear(2, CLASSES), likelihood, class_weights=torch.ones(count))
        target = y if likelihood == "categorical" else torch.zeros(BATCH, CLASSES)
        with pytest.raises(ValueError, match=message):
            InformationBottleneckELBO().loss(program.model, program.guide, x, target)


class TestConditionalDecoders:
    def test_the_decoder_sees_what_the_encoder_hands_on(self, two, y):
        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.z = AdditiveNormal.linear(WIDTH_IN, 5)

            def forward(self, x, c):
                return self.z(x), c

        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.l = nn.Linear(5 + WIDTH_IN, CLASSES)

            def forward(self, z, c):
                return self.l(torch.cat([z, c], -1))

        program = Bottleneck(Encoder(), Decoder(), conditional=True)
        z = torch.randn(BATCH, 5)
        trace = poutine.trace(poutine.condition(program.model, {"z": z})).get_trace(two, y)
        expected = program.decoder(z, two[1]).log_softmax(-1)
        torch.testing.assert_close(trace.nodes["y"]["fn"].logits, expected)
        assert InformationBottleneckELBO()(program.model, program.guide)(two, y).isfinite()
        assert to_arviz(program, two, y, num_samples=2)["posterior"]["z"].shape == (1, 2, BATCH, 5)


class TestTypesAndValues:
    @pytest.fixture
    def program(self, two_layers):
        return Bottleneck(two_layers(), nn.Linear(2, CLASSES))

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.bool])
    def test_inputs_of_another_type_are_named(self, dtype, program, x, y):
        with pytest.raises(TypeError, match=rf"x is {dtype}, and the encoder's parameters are torch.float32"):
            InformationBottleneckELBO().loss(program.model, program.guide, x.to(dtype), y)
        with pytest.raises(TypeError, match=rf"x is {dtype}"):
            program.predict(x.to(dtype))

    def test_an_error_of_the_network_itself_is_left_alone(self, program, y):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            InformationBottleneckELBO().loss(program.model, program.guide, torch.rand(BATCH, WIDTH_IN + 1), y)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_real_targets_that_are_not_finite(self, value, two_layers, x):
        program = Bottleneck(two_layers(), nn.Linear(2, 2), "normal")
        target = torch.zeros(BATCH, 2)
        target[3, 1] = value
        with pytest.raises(ValueError, match="site 'y': real y is a finite number"):
            InformationBottleneckELBO().loss(program.model, program.guide, x, target)
        labelled = torch.arange(BATCH) != 3
        loss = InformationBottleneckELBO().loss(program.model, program.guide, x, target, labelled=labelled)
        assert np.isfinite(loss)

    @pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
    def test_class_weights_that_are_none(self, value, two_layers, x, y):
        weights = torch.tensor([1.0, value, 2.0])
        program = Bottleneck(two_layers(), nn.Linear(2, CLASSES), class_weights=weights)
        with pytest.raises(ValueError, match="site 'y': class_weights are positive and finite"):
            InformationBottleneckELBO().loss(program.model, program.guide, x, y)

    def test_an_infinite_input_is_what_is_blamed(self, x, y):
        program = Bottleneck(AdditiveNormal.linear(WIDTH_IN, 5), nn.Linear(5, CLASSES))
        x[2, 1] = float("inf")
        with pytest.raises(
            ValueError, match="site 'z1': z has .* infinite or NaN values; the layer's input has 1, too"
        ):
            InformationBottleneckELBO().loss(program.model, program.guide, x, y)

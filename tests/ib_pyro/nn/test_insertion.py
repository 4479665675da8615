"""Layers in networks that exist: the same numbers as the network cut in two by hand, and the network left alone."""

import copy
import pickle
import threading
from collections import OrderedDict

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO
from torch import nn

import ib_pyro.bottleneck
from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off, to_arviz
from ib_pyro.diagnostics import elementwise_rates
from ib_pyro.nn import AdditiveNormal, GaussianDropout, InformationDropout, Insertion, insert

BATCH, SEQ, WIDTH, CLASSES = 6, 5, 8, 3


class Tagger(nn.Module):
    """An LSTM whose last state is classified."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, WIDTH, batch_first=batch_first), nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        if not self.lstm.batch_first:
            return self.head(self.lstm(x.transpose(0, 1))[0][-1])
        return self.head(self.lstm(x)[0][:, -1])


class Residual(nn.Module):
    def __init__(self, inplace=False, scale=1.0):
        super().__init__()
        self.inner, self.relu, self.head = nn.Linear(4, 4), nn.ReLU(inplace), nn.Linear(4, CLASSES)
        self.scale = scale

    def forward(self, x):
        return self.head(self.relu(self.inner(self.relu(x))) + self.scale * x)


def plain():
    parts = {"low": nn.Linear(4, WIDTH), "act": nn.Softplus(), "top": nn.Linear(WIDTH, CLASSES)}
    return nn.Sequential(OrderedDict(parts))


@pytest.fixture
def x():
    return torch.randn(BATCH, 4)


@pytest.fixture
def y():
    return torch.arange(BATCH) % CLASSES


@pytest.fixture
def tokens():
    return torch.randn(BATCH, SEQ, 4)


def same_seed(function, seed=1):
    torch.manual_seed(seed)
    return function()


class TestNumbers:
    @pytest.mark.parametrize("elbo", [InformationBottleneckELBO(0.3), Trace_ELBO()], ids=["ib", "trace"])
    def test_it_is_the_network_cut_in_two(self, x, y, elbo):
        network, layer = plain().double(), InformationDropout.after(WIDTH, prior="log-normal").double()
        program = insert(network, {"act": layer})
        by_hand = Bottleneck(nn.Sequential(network.low, network.act, layer), network.top)
        x, parameters = x.double(), [*network.parameters(), *layer.parameters()]
        losses = [
            same_seed(lambda p=p: elbo.differentiable_loss(p.model, p.guide, x, y))
            for p in (program, by_hand)
        ]
        assert torch.equal(*losses)
        gradients = [torch.autograd.grad(loss, parameters) for loss in losses]
        assert all(map(torch.equal, *gradients))

    def test_predictions_and_rates(self, x, y):
        network, layer = plain(), InformationDropout.after(WIDTH)
        program = insert(network, {"act": layer})
        by_hand = Bottleneck(nn.Sequential(network.low, network.act, layer), network.top)
        assert torch.equal(same_seed(lambda: program.predict(x, 3)), same_seed(lambda: by_hand.predict(x, 3)))
        rate = InformationBottleneckELBO().terms(program.model, program.guide, x, y).rate["act"]
        torch.testing.assert_close(rate, elementwise_rates(program, x)["act"].sum(-1))

    def test_the_network_runs_once_an_evaluation(self, x, y):
        network, calls = plain(), []
        network.low.register_forward_hook(lambda *_: calls.append(1))
        program = insert(network, {"act": InformationDropout.after(WIDTH)})
        elbo = InformationBottleneckELBO()
        elbo.loss(program.model, program.guide, x, y)
        calls.clear()
        elbo.loss(program.model, program.guide, x, y)
        assert len(calls) == 1

    def test_the_model_goes_on_from_other_values(self, x, y):
        network = plain()
        program = insert(network, {"act": AdditiveNormal.after(WIDTH)})
        z = torch.randn(BATCH, WIDTH)
        trace = poutine.trace(poutine.condition(program.model, {"act": z})).get_trace(x, y)
        torch.testing.assert_close(trace.nodes["y"]["fn"].logits, network.top(z).log_softmax(-1))
        prior = Predictive(program.model, num_samples=3)(x)
        assert prior["y"].shape == (3, BATCH)
        assert prior["act"].shape == (3, BATCH, WIDTH)

    @pytest.mark.parametrize("change", ["parameter", "mode", "input", "gradient"])
    def test_what_changed_after_the_guide_is_seen_by_the_model(self, x, y, change):
        network = nn.Sequential(plain(), nn.Dropout(0.5))
        program = insert(network, {"0.act": AdditiveNormal.after(WIDTH)}, conditional=change == "input")
        program.eval()
        if change == "input":
            network = Skipping()
            program = insert(network, {"low": AdditiveNormal.after(4)}, conditional=True)
        with torch.set_grad_enabled(change != "gradient"):
            guide = poutine.trace(program.guide).get_trace(x, y)
        model = poutine.trace(poutine.replay(program.model, trace=guide))
        if change == "parameter":
            with torch.no_grad():
                network[0].top.weight.mul_(3)
        if change == "mode":
            program.train()
        if change == "input":
            x.add_(1)
        logits = same_seed(lambda: model.get_trace(x, y)).nodes["y"]["fn"].logits
        z = next(guide.nodes[name]["value"] for name in guide.stochastic_nodes)
        if change == "input":
            expected = network.go_on(z, x)
        else:
            expected = same_seed(lambda: network[1](network[0].top(z)))
        torch.testing.assert_close(logits, expected.log_softmax(-1))
        assert logits.requires_grad

    def test_a_value_that_was_exchanged_in_the_trace_is_the_models(self, x, y):
        network = plain()
        program = insert(network, {"act": AdditiveNormal.after(WIDTH)})
        guide = poutine.trace(program.guide).get_trace(x, y)
        z = guide.nodes["act"]["value"] = torch.randn(BATCH, WIDTH)
        model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(x, y)
        torch.testing.assert_close(model.nodes["y"]["fn"].logits, network.top(z).log_softmax(-1))

    def test_a_second_replay_is_a_pass_of_its_own(self, x, y):
        network = nn.Sequential(plain(), nn.Dropout(0.5))
        program = insert(network, {"0.act": AdditiveNormal.after(WIDTH)})
        guide = poutine.trace(program.guide).get_trace(x, y)
        model = poutine.trace(poutine.replay(program.model, trace=guide))
        one, two = (model.get_trace(x, y).nodes["y"]["fn"].logits for _ in range(2))
        assert not torch.equal(one, two)

    def test_without_noise_it_is_the_network(self, x, tokens):
        for network, place, layer, data in (
            (plain(), "act", InformationDropout.after(WIDTH), x),
            (Tagger(), "lstm[0]", GaussianDropout.after(WIDTH, "tokens"), tokens),
        ):
            program = insert(network, {place: layer})
            with noise_off():
                assert torch.equal(program(data), network(data))
            assert not torch.equal(program(data), network(data))

    def test_svi_trains_layers_and_network(self, x, y):
        network = plain()
        program = insert(network, {"act": InformationDropout.after(WIDTH)})
        before = copy.deepcopy(program.state_dict())
        SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.1}), InformationBottleneckELBO(0.1)).step(
            x, y
        )
        assert all(not torch.equal(before[key], value) for key, value in program.state_dict().items())

    def test_captured_it_gives_the_same_numbers(self, x, y):
        program, elbo = (
            insert(plain(), {"act": InformationDropout.after(WIDTH)}),
            InformationBottleneckELBO(0.2),
        )
        captured = elbo.capture(program.model, program.guide)
        for seed in (1, 2):
            one = same_seed(lambda: captured(x, y), seed)
            two = same_seed(lambda: elbo(program.model, program.guide)(x, y), seed)
            torch.testing.assert_close(one, two)

    def test_it_is_exported(self, tokens, y):
        program = insert(Tagger(), {"lstm[0]": AdditiveNormal.after(WIDTH, "tokens")})
        exported = to_arviz(program, tokens, y, num_samples=2, seed=0)
        assert exported["posterior"]["lstm[0]"].shape == (1, 2, BATCH, SEQ, WIDTH)
        assert {"lstm[0]_rate", "distortion"} <= set(exported["sample_stats"].data_vars)


class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.top = nn.Linear(4, 4), nn.Linear(4, CLASSES)

    def go_on(self, z, x):
        return self.top(z + x)

    def forward(self, x):
        return self.go_on(self.low(x), x)


class TestNetworks:
    def test_a_residual_network(self, y):
        torchvision = pytest.importorskip("torchvision")
        resnet = torchvision.models.resnet18(num_classes=CLASSES)
        state = copy.deepcopy(resnet.state_dict())
        x, elbo = torch.rand(BATCH, 3, 32, 32), InformationBottleneckELBO(0.01)
        program = insert(
            resnet,
            {
                "layer3": InformationDropout.after(256, "image"),
                "layer4.1.bn2": GaussianDropout.after(512, "image"),
            },
            frozen=True,
            conditional=True,
        )
        program.train()
        elbo(program.model, program.guide)(x, y).backward()
        assert all(p.grad is None for p in resnet.parameters())
        assert all(p.grad is not None for p in program.encoder.layers.parameters())
        assert {k: v.shape for k, v in elbo.terms(program.model, program.guide, x, y).rate.items()} == {
            "layer3": (BATCH,),
            "layer4.1.bn2": (BATCH,),
        }
        assert all(torch.equal(state[key], value) for key, value in resnet.state_dict().items())

    @pytest.mark.parametrize("grad", [True, False])
    def test_a_transformer(self, y, tokens, grad):
        encoder = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)

        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.head = nn.Linear(4, WIDTH), nn.Linear(WIDTH, CLASSES)
                self.encoder = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)

            def forward(self, x):
                return self.head(self.encoder(self.embed(x)).mean(1))

        layer = GaussianDropout.after(WIDTH, "tokens")
        program = insert(Classifier(), {"encoder.layers.0": layer}).eval()
        # In evaluation mode and without gradients PyTorch has a fast path around the modules.
        with torch.set_grad_enabled(grad):
            terms = InformationBottleneckELBO().terms(program.model, program.guide, tokens, y)
            assert terms.rate["encoder.layers.0"].shape == (BATCH,)
            assert not torch.equal(program(tokens), program(tokens))
        program = insert(
            Classifier(), {"encoder.layers.1.linear1": AdditiveNormal.after(16, "tokens")}, conditional=True
        )
        assert program.eval().predict(tokens).shape == (BATCH, CLASSES)

    @pytest.mark.parametrize("batch_first", [True, False])
    def test_a_recurrent_network(self, tokens, y, batch_first):
        network = Tagger(batch_first)
        layer = AdditiveNormal.after(WIDTH, "tokens")
        program = insert(network, {"lstm[0]": layer}, batch_dim=0 if batch_first else 1)
        assert program.posteriors(tokens)["lstm[0]"].loc.shape == (BATCH, SEQ, WIDTH)
        assert InformationBottleneckELBO().terms(program.model, program.guide, tokens, y).rate[
            "lstm[0]"
        ].shape == (BATCH,)
        other = Tagger(True)
        other.load_state_dict(network.state_dict())
        with noise_off():
            torch.testing.assert_close(program(tokens), other(tokens))

    def test_several_places_of_one_module(self, tokens, y):
        class Both(Tagger):
            def forward(self, x):
                out, (h, _) = self.lstm(x)
                return self.head(out.mean(1) + h[0])

        layers = {
            "lstm[0]": AdditiveNormal.after(WIDTH, "tokens"),
            "lstm[1][0]": AdditiveNormal.after(WIDTH, "tokens"),
        }
        program = insert(Both(), layers, batch_dim={"lstm[1][0]": 1})
        assert list(program.latents(tokens)) == list(layers)
        assert InformationBottleneckELBO().loss(program.model, program.guide, tokens, y) > 0
        with pytest.raises(ValueError, match=r"sites \['lstm\[0\]'\].*depends on x beside"):
            insert(Both(), {"lstm[0]": layers["lstm[0]"]}).guide(tokens)

    def test_keyword_arguments_and_outputs_of_mappings(self, y):
        class Face(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.body, self.head = nn.Embedding(9, WIDTH), Named(), nn.Linear(WIDTH, CLASSES)

            def forward(self, input_ids, attention_mask=None):
                hidden = self.body(self.embed(input_ids))["last_hidden_state"]
                return self.head(hidden.mean(1))

        class Named(nn.Module):
            def forward(self, h):
                return OrderedDict(last_hidden_state=h.tanh(), other=1)

        program = insert(Face(), {"body[last_hidden_state]": AdditiveNormal.after(WIDTH, "tokens")})
        x = {"input_ids": torch.randint(9, (BATCH, SEQ)), "attention_mask": torch.ones(BATCH, SEQ)}
        assert InformationBottleneckELBO().loss(program.model, program.guide, x, y) > 0
        assert to_arviz(program, x, y, num_samples=2)["posterior"].sizes["obs_id"] == BATCH

    def test_one_call_of_several(self, x, y):
        program = insert(Residual(), {"relu#2": AdditiveNormal.after(4)}, conditional=True)
        assert list(program.latents(x)) == ["relu#2"]
        both = {"relu#1": AdditiveNormal.after(4), "relu#2": AdditiveNormal.after(4)}
        assert set(insert(Residual(), both, conditional=True).posteriors(x)) == set(both)


class TestTheNetworkItself:
    def test_it_is_left_as_it_was(self, x, y):
        network = Residual()
        network.inner.requires_grad_(False)
        network.relu.eval()
        hook = network.inner.register_forward_hook(lambda *_: None)
        before = {
            "state": copy.deepcopy(network.state_dict()),
            "gradients": [p.requires_grad for p in network.parameters()],
            "modes": [m.training for m in network.modules()],
            "output": network(x),
        }
        with insert(network, {"inner": GaussianDropout.after(4)}, frozen=True, conditional=True) as program:
            assert not any(p.requires_grad for p in network.parameters())
            InformationBottleneckELBO()(program.model, program.guide)(x, y).backward()
            assert torch.equal(network(x), before["output"])
        assert network.state_dict().keys() == before["state"].keys()
        assert all(torch.equal(before["state"][key], value) for key, value in network.state_dict().items())
        assert [p.requires_grad for p in network.parameters()] == before["gradients"]
        assert [m.training for m in network.modules()] == before["modes"]
        assert torch.equal(network(x), before["output"])
        assert list(network.inner._forward_hooks) == [hook.id]
        assert not network.relu._forward_hooks
        assert program.network is network
        with pytest.raises(RuntimeError, match=r"layers \['inner'\] were removed.*insert them anew"):
            program(x)

    def test_hooks_are_gone_after_an_error_too(self, x):
        network = plain()
        program = insert(network, {"act": InformationDropout.after(WIDTH + 1)})
        with pytest.raises(
            ValueError, match=r"site 'act': its layer does not take an output of shape \(6, 8\)"
        ):
            program(x)
        assert not network.act._forward_hooks

    @pytest.mark.parametrize(
        "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
    )
    def test_copies(self, x, y, duplicate):
        program = insert(plain(), {"act": InformationDropout.after(WIDTH)}, frozen=True)
        elbo = InformationBottleneckELBO()
        elbo.loss(program.model, program.guide, x, y)
        twin = duplicate(program)
        assert same_seed(lambda: elbo.loss(twin.model, twin.guide, x, y)) == same_seed(
            lambda: elbo.loss(program.model, program.guide, x, y)
        )
        assert twin.network is not program.network
        assert twin.encoder.is_frozen
        twin.remove()
        assert all(p.requires_grad for p in twin.network.parameters())
        assert not any(p.requires_grad for p in program.network.parameters())

    def test_keys_of_the_state(self):
        network = plain()
        program = insert(network, {"act": InformationDropout.after(WIDTH)})
        keys = program.state_dict().keys()
        assert {f"encoder.network.{key}" for key in network.state_dict()} < keys
        plain().load_state_dict(program.network.state_dict())

    def test_threads_do_not_see_one_anothers_layers(self, x):
        network = plain()
        program = insert(network, {"act": InformationDropout.after(WIDTH)})
        outputs, inside, go_on = [], threading.Event(), threading.Event()

        def wait(*_):
            if threading.current_thread().name == "noisy":
                inside.set()
                go_on.wait(10)

        network.low.register_forward_hook(wait)
        noisy = threading.Thread(target=lambda: outputs.append(program(x)), name="noisy")
        noisy.start()
        inside.wait(10)
        quiet = network(x)
        go_on.set()
        noisy.join()
        assert torch.equal(quiet, network(x))
        assert not torch.equal(outputs[0], quiet)

    def test_a_replica_calls_its_own_layers(self, x):
        program = insert(plain(), {"act": InformationDropout.after(WIDTH)})
        replica = program._replicate_for_data_parallel()
        assert replica.model.program is replica
        assert replica(x).shape == (BATCH, CLASSES)

    @pytest.mark.parametrize("frozen", [True, False])
    def test_frozen_networks_stay_in_evaluation_mode(self, frozen):
        network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES))
        program = insert(network, {"1": GaussianDropout.after(4)}, frozen=frozen)
        for mode in (True, False):
            program.train(mode)
            assert network[1].training is (mode and not frozen)
            assert program.encoder.layers[0].training is mode


class TestInPlace:
    @pytest.mark.parametrize("layer", ["additive", "gaussian"])
    def test_z_is_what_was_drawn(self, x, y, layer):
        network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, CLASSES))
        kinds = {"additive": AdditiveNormal, "gaussian": GaussianDropout}
        program = insert(network, {"0": kinds[layer].after(4)})
        for _ in range(3):
            z = program.latents(x)["0"]
            assert (z < 0).any()
            InformationBottleneckELBO()(program.model, program.guide)(x, y).backward()

    def test_no_copy_where_nothing_is_changed(self, x):
        program = insert(plain(), {"act": InformationDropout.after(WIDTH)})
        program(x)
        seen = []
        program.network.top.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        assert program.latents(x)["act"] is seen[0]

    def test_a_module_that_changes_z_since(self, x):
        network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, CLASSES))
        program = insert(network, {"0": AdditiveNormal.after(4)})
        program(x)
        network[1] = nn.ReLU(inplace=True)
        with pytest.raises(
            ValueError, match="site '0': the network changes z in place, which it did not before"
        ):
            program(x)


def test_a_network_that_ends_in_probabilities_is_warned_of():
    network = nn.Sequential(nn.Linear(4, WIDTH), nn.Linear(WIDTH, CLASSES), nn.Softmax(-1))
    with pytest.warns(
        UserWarning, match="comes from a Softmax, and likelihood='categorical' takes logits"
    ) as told:
        insert(network, {"0": AdditiveNormal.after(WIDTH)})
    assert told[0].filename == __file__


class TestRefusals:
    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("actt", "module 'actt' is unknown; did you mean 'act'"),
            ("act[", r"'act\[' is no place in a network"),
            ("act#0", "'act#0' is no place in a network"),
        ],
    )
    def test_a_place_that_is_none(self, key, message):
        with pytest.raises(ValueError, match=message):
            insert(plain(), {key: InformationDropout.after(WIDTH)})

    def test_layers_that_are_none(self):
        with pytest.raises(TypeError, match=r"'act': InformationDropout is no layer; pass one, as in"):
            insert(plain(), {"act": InformationDropout})
        with pytest.raises(ValueError, match="layers is empty"):
            insert(plain(), {})
        layer = InformationDropout.after(WIDTH)
        with pytest.raises(ValueError, match="'low': the layer is that of 'act' too"):
            insert(plain(), {"act": layer, "low": layer})
        with pytest.raises(ValueError, match="layout='images' is unknown; did you mean 'image'"):
            InformationDropout.after(WIDTH, "images")
        with pytest.raises(ValueError, match="batch_dim: place 'a' is unknown"):
            insert(plain(), {"act": layer}, batch_dim={"a": 1})

    @pytest.mark.parametrize(
        ("network", "key", "message"),
        [
            (Residual(), "relu", r"site 'relu': the network calls 'relu' twice.*'relu#1' and 'relu#2'"),
            (Residual(), "relu#3", "site 'relu#3': the network does not come to this place"),
            (Residual(), "inner", r"sites \['inner'\]: .*depends on x beside.*conditional=True"),
            (plain(), "act[3]", r"site 'act\[3\]': .*shape \(4,\)|site 'act\[3\]'"),
        ],
        ids=["twice", "thrice", "residual", "part"],
    )
    def test_what_a_first_pass_shows(self, x, network, key, message):
        program = insert(network, {key: AdditiveNormal.after(4)})
        with pytest.raises(ValueError, match=message):
            program.guide(x)

    def test_a_module_that_is_never_called(self, x):
        network = plain()
        network.add_module("aux", nn.ModuleDict({"head": nn.Linear(1, 1)}))
        network.__class__ = type(
            "Quiet", (nn.Sequential,), {"forward": lambda self, x: self[2](self[1](self[0](x)))}
        )
        program = insert(network, {"aux.head": AdditiveNormal.after(1)})
        with pytest.raises(ValueError, match="site 'aux.head': the network does not come to this place"):
            program(x)

    def test_an_output_that_is_no_tensor(self, tokens):
        program = insert(Tagger(), {"lstm": AdditiveNormal.after(WIDTH, "tokens")})
        with pytest.raises(
            TypeError, match=r"site 'lstm'.*tuple.*'lstm\[0\]' \(6, 5, 8\), 'lstm\[1\]\[0\]' \(1, 6, 8\)"
        ):
            program(tokens)

    def test_a_batch_elsewhere(self, tokens):
        program = insert(Tagger(False), {"lstm[0]": AdditiveNormal.after(WIDTH, "tokens")})
        with pytest.raises(ValueError, match=r"no batch of 6 in dimension 0; batch_dim=\{'lstm\[0\]': 1\}"):
            program(tokens)

    def test_values_of_both_signs(self, x):
        program = insert(plain(), {"low": InformationDropout.after(WIDTH)})
        with pytest.raises(
            ValueError, match=r"site 'low': .*out of range.*GaussianDropout.after or AdditiveNormal.after"
        ):
            program.guide(x)

    def test_a_layer_of_another_shape(self, x):
        program = insert(plain(), {"act": InformationDropout.linear(WIDTH, 3)})
        with pytest.raises(ValueError, match=r"site 'act': its layer makes \(6, 3\) of \(6, 8\)"):
            program(x)

    def test_particles_are_right_or_refused(self, x, y):
        elbo = InformationBottleneckELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1)
        program = insert(plain(), {"act": InformationDropout.after(WIDTH)})
        assert elbo.loss(program.model, program.guide, x, y) > 0
        network = nn.Sequential(plain(), nn.BatchNorm1d(CLASSES))
        program = insert(network, {"0.act": InformationDropout.after(WIDTH)})
        with pytest.raises(ValueError, match="vectorize_particles=False"):
            elbo.loss(program.model, program.guide, x, y)


class TestAnEncoderThatGoesOn:
    """What holds for a network with layers inserted holds for any encoder."""

    def test_it_is_the_decoder_moved(self, x, y):
        layer, top = InformationDropout.linear(4, 5), nn.Linear(5, CLASSES)
        one, two = Bottleneck(nn.Sequential(layer, top)), Bottleneck(layer, top)
        elbo = InformationBottleneckELBO(0.3)
        values = [same_seed(lambda p=p: elbo(p.model, p.guide)(x, y)) for p in (one, two)]
        assert torch.equal(*values)

    def test_a_way_around_the_layer_is_refused_or_said(self, x, y):
        class Around(nn.Module):
            def __init__(self):
                super().__init__()
                self.z = InformationDropout.linear(4, 4)

            def forward(self, x):
                return self.z(x), x[:, :1]

        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.l = nn.Linear(5, CLASSES)

            def forward(self, z, c):
                return self.l(torch.cat([z, c], -1))

        program = Bottleneck(Around(), Head())
        for side in (program.guide, program.model):
            with pytest.raises(ValueError, match=r"sites \['z'\].*conditional=True for a model p\(y\|z, x\)"):
                side(x, y)
        program = Bottleneck(Around(), Head(), conditional=True)
        terms = InformationBottleneckELBO().terms(program.model, program.guide, x, y)
        assert terms.distortion.shape == terms.rate["z"].shape == (BATCH,)

    def test_the_look_for_other_ways_is_made_once_and_changes_nothing(self, x, y, monkeypatch):
        looks, look = [], ib_pyro.bottleneck.require_no_way_around
        monkeypatch.setattr(
            ib_pyro.bottleneck, "require_no_way_around", lambda *a: (looks.append(1), look(*a))
        )
        norm = nn.BatchNorm1d(4)
        program = Bottleneck(nn.Sequential(norm, InformationDropout.linear(4, 5), nn.Linear(5, CLASSES)))
        state, modes = copy.deepcopy(norm.state_dict()), [m.training for m in program.modules()]
        random = torch.get_rng_state()
        with torch.no_grad():
            program._structure(x)
        assert torch.equal(random, torch.get_rng_state())
        assert all(torch.equal(state[k], v) for k, v in norm.state_dict().items())
        assert [m.training for m in program.modules()] == modes
        for rows in (6, 4):
            program.guide(x[:rows], y[:rows])
        assert looks == [1]

    def test_an_insertion_is_an_encoder_too(self, x, y):
        backbone = nn.Sequential(nn.Linear(4, WIDTH), nn.Softplus())
        program = Bottleneck(
            Insertion(backbone, {"1": InformationDropout.after(WIDTH)}), nn.Linear(WIDTH, CLASSES)
        )
        assert program.predict(x).shape == (BATCH, CLASSES)
        assert InformationBottleneckELBO().loss(program.model, program.guide, x, y) > 0

"""Each row of the table of `docs/any_network.md`: a network from elsewhere works as a program, or is refused there."""

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from ib_pyro import Bottleneck, InformationBottleneckELBO, to_arviz
from ib_pyro.nn import AdditiveNormal, BinaryDropout, GaussianDropout, InformationDropout, insert

PAGE = Path(__file__).parents[2] / "docs" / "any_network.md"
BATCH, WIDTH_IN, SEQ, WIDTH, CLASSES = 6, 4, 5, 8, 3
VECTORS, TOKENS, IMAGES = (BATCH, WIDTH_IN), (BATCH, SEQ, WIDTH_IN), (BATCH, 1, 8, 8)
Y = torch.arange(BATCH) % CLASSES
WORKS, REFUSED = {}, {}


def works(row, shape=VECTORS):
    """Register a builder of a program, and what it is asked about: a shape, or a function that makes x."""

    def register(build):
        WORKS[row] = build, shape if callable(shape) else lambda: torch.rand(shape)
        return build

    return register


def refused(row, message, shape=VECTORS):
    def register(build):
        REFUSED[row] = build, lambda: torch.rand(shape), message
        return build

    return register


class Encoder(nn.Module):
    """A module of one function of itself and x."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *x):
        return self.function(self, *x)


def head(width):
    return nn.Linear(width, CLASSES)


def joined(width):
    return Encoder(lambda m, u, v: m.top(torch.cat([u, v], -1)), top=head(width))


def resnet():
    return pytest.importorskip("torchvision").models.resnet18(num_classes=CLASSES)


def transformer():
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, dropout=0.0)
    return nn.Sequential(OrderedDict(embed=nn.Linear(WIDTH_IN, WIDTH), block=layer))


def classifier_of_tokens():
    return Encoder(lambda m, x: m.top(m.body(x).mean(1)), body=transformer(), top=head(WIDTH))


def of_lstm():
    return Encoder(
        lambda m, x: m.top(m.lstm(x)[0][:, -1]),
        lstm=nn.LSTM(WIDTH_IN, WIDTH, batch_first=True),
        top=head(WIDTH),
    )


@works("ResNet-18, a layer inserted behind `layer3`", (BATCH, 3, 32, 32))
def resnet_inserted():
    return insert(resnet(), {"layer3": InformationDropout.after(256, "image")})


@works("ResNet-18 whole as the encoder, a layer inside", (BATCH, 3, 32, 32))
def resnet_whole():
    network = resnet()
    network.layer4 = nn.Sequential(network.layer4, InformationDropout.after(512, "image"))
    return Bottleneck(network)


@works("ResNet-18 cut in two", (BATCH, 3, 32, 32))
def resnet_cut():
    r = resnet()
    stem = nn.Sequential(r.conv1, r.bn1, r.relu, r.maxpool, r.layer1, r.layer2)
    encoder = nn.Sequential(stem, InformationDropout.after(128, "image"))
    return Bottleneck(encoder, nn.Sequential(r.layer3, r.layer4, r.avgpool, nn.Flatten(), r.fc))


@refused(
    "ResNet-18's `BasicBlock.relu`, called twice a pass",
    r"calls 'layer4.1.relu' twice.*#1'.*#2'",
    (BATCH, 3, 32, 32),
)
def resnet_relu():
    return insert(resnet(), {"layer4.1.relu": InformationDropout.after(512, "image")})


@works("... its second call, `layer4.1.relu#2`", (BATCH, 3, 32, 32))
def resnet_second_relu():
    return insert(resnet(), {"layer4.1.relu#2": InformationDropout.after(512, "image")})


@refused(
    "ResNet-18's `layer3.0.bn1`, with a residual connection around it", "conditional=True", (BATCH, 3, 32, 32)
)
def resnet_residual():
    return insert(resnet(), {"layer3.0.bn1": GaussianDropout.after(256, "image")})


@works("... with `conditional=True`", (BATCH, 3, 32, 32))
def resnet_conditional():
    return insert(resnet(), {"layer3.0.bn1": GaussianDropout.after(256, "image")}, conditional=True)


@works("A transformer encoder, a layer inserted behind a block", TOKENS)
def transformer_inserted():
    return insert(classifier_of_tokens(), {"body.block": GaussianDropout.after(WIDTH, "tokens")})


@refused("Tokens `[batch, seq, d]` and a layer of vectors", "event_dim=2, as in tokens", TOKENS)
def tokens_default():
    encoder = nn.Sequential(transformer(), InformationDropout.linear(WIDTH, WIDTH))
    return Bottleneck(encoder, Encoder(lambda m, z: m.top(z.mean(1)), top=head(WIDTH)))


@works("... with `event_dim=2`", TOKENS)
def tokens():
    encoder = nn.Sequential(transformer(), InformationDropout.linear(WIDTH, WIDTH, event_dim=2))
    return Bottleneck(encoder, Encoder(lambda m, z: m.top(z.mean(1)), top=head(WIDTH)))


@works("A layer inserted within a `TransformerEncoderLayer`, behind its dropout", TOKENS)
def inside_transformer():
    layer = InformationDropout.after(16, "tokens")
    return insert(classifier_of_tokens(), {"body.block.dropout": layer}, conditional=True)


@refused("... put in the place of that dropout, without gradients", "does not call it.*fast path", TOKENS)
def in_place_of_a_dropout():
    network = classifier_of_tokens()
    network.body.block.dropout = InformationDropout.after(16, "tokens", activation="relu")
    return Bottleneck(network.eval(), conditional=True)


@works("An LSTM, a layer inserted behind it", TOKENS)
def lstm_inserted():
    return insert(of_lstm(), {"lstm[0]": AdditiveNormal.after(WIDTH, "tokens")})


@works("An LSTM in front of a layer", TOKENS)
def lstm_before():
    encoder = Encoder(
        lambda m, x: m.z(m.lstm(x)[0][:, -1]),
        lstm=nn.LSTM(WIDTH_IN, WIDTH, batch_first=True),
        z=InformationDropout.linear(WIDTH, 7),
    )
    return Bottleneck(encoder, head(7))


@works("LSTMs as features and noise of a layer", TOKENS)
def lstm_features():
    def last(out):
        return Encoder(
            lambda m, x: m.top(m.lstm(x)[0][:, -1]),
            lstm=nn.LSTM(WIDTH_IN, WIDTH, batch_first=True),
            top=nn.Linear(WIDTH, out),
        )

    return Bottleneck(InformationDropout(last(7), last(7)), head(7))


@works(
    "A `PackedSequence` as x",
    lambda: pack_padded_sequence(torch.rand(TOKENS), torch.tensor([5, 4, 3, 3, 2, 1]), batch_first=True),
)
def packed():
    encoder = Encoder(
        lambda m, x: m.z(m.lstm(x)[1][0][-1]),
        lstm=nn.LSTM(WIDTH_IN, WIDTH, batch_first=True),
        z=InformationDropout.linear(WIDTH, 7),
    )
    return Bottleneck(encoder, head(7))


@works("A dictionary of tensors as x", lambda: {"a": torch.rand(VECTORS), "b": torch.rand(VECTORS)})
def dictionary():
    encoder = Encoder(lambda m, x: m.z(x["a"] + x["b"]), z=InformationDropout.linear(WIDTH_IN, 7))
    return Bottleneck(encoder, head(7))


@works("Several arguments, as a tuple x", lambda: (torch.rand(VECTORS), torch.rand(VECTORS)))
def several():
    return Bottleneck(Encoder(lambda m, a, b: m.z(a + b), z=InformationDropout.linear(WIDTH_IN, 7)), head(7))


@refused(
    "One layer called at every time step",
    "calls its layer twice.*a layer for each call, or one layer over all",
    TOKENS,
)
def recurrent_layer():
    def run(module, x):
        h = torch.zeros(len(x), 4)
        for step in range(x.shape[1]):
            h = module.z(torch.cat([x[:, step], h], -1))
        return h

    return Bottleneck(Encoder(run, z=InformationDropout.linear(WIDTH_IN + 4, 4)), head(4))


@works("`EmbeddingBag` of integers", lambda: torch.randint(0, 20, (BATCH, 5)))
def embedding():
    return Bottleneck(nn.Sequential(nn.EmbeddingBag(20, 8), InformationDropout.linear(8, 4)), head(4))


@works("A tuple of sites (skip connection)")
def tuple_of_sites():
    def run(module, x):
        u = module.a(x)
        return u, module.b(u)

    return Bottleneck(
        Encoder(run, a=InformationDropout.linear(WIDTH_IN, 5), b=InformationDropout.linear(5, 3)), joined(8)
    )


@works("A list of sites")
def list_of_sites():
    encoder = Encoder(
        lambda m, x: [m.a(x), m.b(x)],
        a=InformationDropout.linear(WIDTH_IN, 5),
        b=InformationDropout.linear(WIDTH_IN, 3),
    )
    return Bottleneck(encoder, joined(8))


@works("`nn.Flatten` behind the last layer, in the encoder", IMAGES)
def flatten_after():
    return Bottleneck(nn.Sequential(InformationDropout.conv2d(1, 3, 3), nn.Flatten()), head(108))


@refused(
    "A layer in the decoder", "a noisy layer is in the decoder.*Bottleneck.nn.Sequential.encoder, decoder"
)
def in_the_decoder():
    decoder = nn.Sequential(InformationDropout.linear(5, 5), head(5))
    return Bottleneck(InformationDropout.linear(WIDTH_IN, 5), decoder)


@works("... with the whole network as the encoder")
def whole_encoder():
    decoder = nn.Sequential(InformationDropout.linear(5, 5), head(5))
    return Bottleneck(nn.Sequential(InformationDropout.linear(WIDTH_IN, 5), decoder))


@works("`weight_norm` and `spectral_norm` inside")
def norms():
    layer = InformationDropout.linear(WIDTH_IN, 5)
    weight_norm(layer.features)
    spectral_norm(layer.noise)
    return Bottleneck(layer, head(5))


@works("Pruning inside")
def pruning():
    layer = InformationDropout.linear(WIDTH_IN, 5)
    prune.l1_unstructured(layer.features, "weight", 0.5)
    return Bottleneck(layer, head(5))


@works("Features replaced by a LoRA wrapper with a frozen base")
def lora():
    layer = InformationDropout.linear(WIDTH_IN, 5)
    base = layer.features.requires_grad_(False)
    low, up = nn.Linear(WIDTH_IN, 1, bias=False), nn.Linear(1, 5, bias=False)
    layer.features = Encoder(lambda m, x: m.base(x) + m.up(m.low(x)), base=base, low=low, up=up)
    return Bottleneck(layer, head(5))


@works("Lazy modules, after a first pass", IMAGES)
def lazy():
    layer = InformationDropout(nn.LazyLinear(5), nn.LazyLinear(5))
    program = Bottleneck(nn.Sequential(nn.Flatten(), layer), nn.LazyLinear(CLASSES))
    program(torch.rand(IMAGES))
    return program


@works("Built on the meta device, then `to_empty`")
def meta():
    with torch.device("meta"):
        layer, dropout = InformationDropout.linear(WIDTH_IN, 5), BinaryDropout(nn.Identity())
    for part in (layer, dropout):
        part.to_empty(device="cpu")
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return Bottleneck(nn.Sequential(layer, dropout), head(5))


@works("A frozen encoder")
def frozen():
    program = Bottleneck(InformationDropout.linear(WIDTH_IN, 5), head(5))
    program.encoder.requires_grad_(False)
    return program


@works("One encoder in two programs")
def shared():
    encoder = nn.Sequential(InformationDropout.linear(WIDTH_IN, 5))
    other = Bottleneck(nn.Sequential(OrderedDict(code=encoder)), nn.Linear(5, 2))
    InformationBottleneckELBO().loss(other.model, other.guide, torch.rand(VECTORS), Y % 2)
    return Bottleneck(encoder, head(5))


def rows():
    """The rows of the page's table: what a network is, and whether the page says that it works."""
    table = re.findall(r"^\| (?!a network|---)(.+?) \| (works|refused)", PAGE.read_text(), flags=re.MULTILINE)
    return dict(table)


def test_the_table_has_a_row_for_each_test():
    assert rows() == {**dict.fromkeys(WORKS, "works"), **dict.fromkeys(REFUSED, "refused")}


@pytest.mark.parametrize("row", WORKS)
def test_it_is_a_program(row):
    build, make_x = WORKS[row]
    program, x = build(), make_x()
    elbo, optimizer = InformationBottleneckELBO(0.01), torch.optim.Adam(program.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        loss = elbo(program.model, program.guide)(x, Y)
        loss.backward()
        optimizer.step()
    assert loss.isfinite()
    trained = [p for p in program.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    terms = elbo.terms(program.model, program.guide, x, Y)
    assert set(terms.rate) == set(program.stochastic_layers)
    assert all(rate.shape == (BATCH,) for rate in terms.rate.values())
    assert program.eval().predict(x, 2).shape == (BATCH, CLASSES)
    if not isinstance(x, nn.utils.rnn.PackedSequence):
        exported = to_arviz(program, x, Y, num_samples=2, seed=0)
        assert exported["posterior"].sizes["obs_id"] == BATCH


@pytest.mark.parametrize("row", REFUSED)
def test_it_is_refused_with_the_way_out(row):
    build, make_x, message = REFUSED[row]
    x = make_x()

    def evaluate():
        program = build()
        program(x)
        program.guide(x)

    with torch.no_grad(), pytest.raises(ValueError, match=message):
        evaluate()

"""Whatever the data are, a fit gives the parameters of a loop by hand over the same samples in the same order."""

from collections import namedtuple
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from ib_pyro import Bottleneck, InformationBottleneckELBO, fit
from ib_pyro.nn import InformationDropout
from ib_pyro.training import Trainer

N, BATCH, BETA, LR = 50, 12, 0.05, 0.01


def tensors():
    generator = torch.Generator().manual_seed(3)
    return torch.rand(N, 6, generator=generator), torch.randint(3, (N,), generator=generator)


def make():
    torch.manual_seed(1)
    return Bottleneck(InformationDropout.linear(6, 5), nn.Linear(5, 3))


class Items(Dataset):
    def __init__(self, x, y, as_mapping=False):
        self.x, self.y, self.as_mapping = x, y, as_mapping

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        sample = {"x": self.x[index], "y": self.y[index]}
        return sample if self.as_mapping else tuple(sample.values())


class Again:
    """Batches of one order, which is that of a generator that is seeded once."""

    def __init__(self, x, y):
        self.parts, self.order = (x, y), torch.Generator().manual_seed(7)

    def __iter__(self):
        for index in torch.randperm(N, generator=self.order).split(BATCH):
            yield tuple(part[index] for part in self.parts)


def seeded_loader(items, **options):
    """A loader in the order of ``Again``; the loader's own generator is another, since workers are seeded by it."""

    class Order(torch.utils.data.Sampler):
        def __init__(self):
            self.generator = torch.Generator().manual_seed(7)

        def __iter__(self):
            return iter(torch.randperm(N, generator=self.generator).tolist())

        def __len__(self):
            return N

    return DataLoader(items, batch_size=BATCH, sampler=Order(), generator=torch.Generator(), **options)


Pair = namedtuple("Pair", "x y")
KINDS = {
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "namedtuple": Pair,
    "arrays": lambda x, y: (x.double().numpy(), y.numpy()),
    "array and tensor": lambda x, y: (x.numpy(), y),
    "mapping": lambda x, y: {"x": x, "y": y},
    "mapping, turned": lambda x, y: {"y": y.numpy(), "x": x},
    "object": lambda x, y: SimpleNamespace(x=x, y=y),
    "tensor dataset": TensorDataset,
    "subset of tensors": lambda x, y: Subset(TensorDataset(x, y), range(N)),
    "dataset": Items,
    "dataset of mappings": lambda x, y: Items(x, y, as_mapping=True),
    "subset": lambda x, y: Subset(Items(x, y), range(N)),
}
STREAMS = {
    "loader": lambda x, y: seeded_loader(Items(x, y)),
    "loader of mappings": lambda x, y: seeded_loader(Items(x, y, as_mapping=True)),
    "loader with workers": lambda x, y: seeded_loader(Items(x, y), num_workers=2),
    "iterable": Again,
}


def by_hand(epochs=2, *, drop_last=False):
    """A loop as one writes it."""
    x, y = tensors()
    program, elbo = make(), InformationBottleneckELBO(beta=BETA)
    optimizer = torch.optim.Adam(program.parameters(), lr=LR, fused=True)
    order = torch.Generator().manual_seed(7)
    torch.manual_seed(11)
    program.train()
    for _ in range(epochs):
        for index in torch.randperm(N, generator=order).split(BATCH):
            if drop_last and len(index) < BATCH:
                continue
            optimizer.zero_grad()
            (elbo(program.model, program.guide)(x[index], y[index]) / len(index)).backward()
            optimizer.step()
    return program


def fitted(data, **options):
    program = make()
    torch.manual_seed(11)
    options = {"epochs": 2, "beta": BETA, "lr": LR, "progress": False, **options}
    return program, fit(program, data, **options)


def assert_same(program, other):
    for name, value in program.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_sets_give_the_parameters_of_a_loop_by_hand(kind):
    program, found = fitted(KINDS[kind](*tensors()), batch_size=BATCH, order=torch.Generator().manual_seed(7))
    assert_same(program, by_hand())
    assert found.rows[0]["beta_paper"] == pytest.approx(BETA * N)
    assert "train_error" in found.rows[0]


@pytest.mark.parametrize("kind", ["tuple", "dataset"])
def test_the_partial_batch_is_left_out_on_request(kind):
    order = torch.Generator().manual_seed(7)
    program, found = fitted(KINDS[kind](*tensors()), batch_size=BATCH, order=order, drop_last=True)
    assert_same(program, by_hand(drop_last=True))
    # The weight of the rate is still in units of the whole set.
    assert found.rows[0]["beta_paper"] == pytest.approx(BETA * N)


@pytest.mark.parametrize("kind", STREAMS)
def test_what_makes_batches_itself_leaves_none_out_for_others(kind):
    with pytest.raises(ValueError, match="makes its batches itself, and drop_last=True says"):
        fitted(STREAMS[kind](*tensors()), drop_last=True)


def test_a_set_smaller_than_a_batch_leaves_none_with_drop_last():
    with pytest.raises(ValueError, match="batch_size: 60 with drop_last leaves no batch of 50"):
        fitted(tensors(), batch_size=60, drop_last=True)


@pytest.mark.parametrize("kind", STREAMS)
def test_what_makes_batches_itself_does_too(kind):
    program, found = fitted(STREAMS[kind](*tensors()))
    assert_same(program, by_hand())
    assert found.rows[1]["beta_paper"] == pytest.approx(BETA * N)
    assert "train_error" in found.rows[0]


def test_a_list_of_batches_comes_in_its_order():
    x, y = tensors()
    program, found = fitted(list(zip(x.split(BATCH), y.split(BATCH), strict=True)), epochs=1)
    other, _ = fitted(list(zip(x.split(BATCH), y.split(BATCH), strict=True)), epochs=1, capture="off")
    assert_same(program, other)
    assert found.rows[0]["beta_paper"] == pytest.approx(BETA * N)


def test_captured_steps_of_a_loader_are_the_same():
    program, found = fitted(STREAMS["loader"](*tensors()), epochs=4, capture="on")
    assert found.not_captured is None
    assert_same(program, by_hand(4))


class Grouped(nn.Module):
    """Three inputs: x in two parts, a group with a level of its own, and what is observed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.encode = nn.Linear(6, 8)
        self.level = nn.Parameter(torch.zeros(4, 3))
        self.decode = nn.Linear(4, 3)

    def model(self, parts, group, y):
        with pyro.plate("data", len(group)):
            z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            pyro.sample("class", dist.Categorical(logits=self.decode(z) + self.level[group]), obs=y)

    def guide(self, parts, group, y):
        loc, scale = self.encode(torch.cat([parts["left"], parts["right"]], -1)).chunk(2, -1)
        with pyro.plate("data", len(group)):
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def grouped():
    x, y = tensors()
    return {"left": x[:, :2], "right": x[:, 2:].numpy()}, torch.arange(N) % 4, y


@pytest.mark.parametrize("by_name", [False, True])
def test_several_inputs_and_mappings_in_their_places(by_name):
    parts, group, y = grouped()
    program = Grouped()
    data = {"y": y, "parts": parts, "group": group} if by_name else (parts, group, y)
    torch.manual_seed(4)
    found = fit(program, data, epochs=2, beta=0.1, batch_size=BATCH, order=order(), progress=False)
    other = Grouped()
    optimizer = torch.optim.Adam(other.parameters(), lr=3e-3, fused=True)
    torch.manual_seed(4)
    x = torch.cat([parts["left"], torch.as_tensor(parts["right"])], 1)
    shuffled, wrong = order(), []
    elbo = InformationBottleneckELBO(beta=0.1)
    for _ in range(2):
        for index in torch.randperm(N, generator=shuffled).split(BATCH):
            arguments = {"left": x[index][:, :2], "right": x[index][:, 2:]}, group[index], y[index]
            terms = elbo.terms(other.model, other.guide, *arguments)
            wrong.append((terms.likelihood["class"].logits.argmax(-1) != y[index]).double())
            optimizer.zero_grad()
            (terms.loss / len(index)).backward()
            optimizer.step()
    assert_same(program, other)
    assert found.rows[1]["train_error"] == pytest.approx(torch.cat(wrong[5:]).mean().item())


def order():
    return torch.Generator().manual_seed(7)


def test_labels_are_what_is_observed_and_not_the_last_argument():
    """The group, whose values look like labels, comes last."""

    class Turned(Grouped):
        def model(self, y, parts, group):
            return super().model(parts, group, y)

        def guide(self, y, parts, group):
            return super().guide(parts, group, y)

    parts, group, y = grouped()
    straight = fit(Grouped(), (parts, group, y), epochs=1, beta=0.1, order=order(), progress=False)
    torch.manual_seed(0)
    torch.manual_seed(0)
    first = fit(Grouped(), (parts, group, y), epochs=1, beta=0.1, order=order(), progress=False)
    torch.manual_seed(0)
    turned = fit(Turned(), (y, parts, group), epochs=1, beta=0.1, order=order(), progress=False)
    assert turned.rows[0]["train_error"] == first.rows[0]["train_error"]
    assert straight.rows[0].keys() == turned.rows[0].keys()


def test_a_pair_of_functions_is_a_program():
    x, y = tensors()
    encode, decode = nn.Linear(6, 2), nn.Linear(2, 3)

    def model(x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("y", dist.Categorical(logits=decode(z)), obs=y)

    def guide(x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(encode(x), 0.1).to_event(1))

    before = [encode.weight.clone(), decode.weight.clone()]
    found = fit((model, guide), (x, y), epochs=20, beta=0.01, batch_size=BATCH, progress=False)
    assert found.rows[-1]["loss"] < found.rows[0]["loss"]
    assert not torch.equal(before[0], encode.weight)
    assert not torch.equal(before[1], decode.weight)


@pytest.mark.parametrize("is_local", [False, True])
def test_an_automatic_guide_is_made_when_it_first_runs(is_local):
    from pyro.infer.autoguide import AutoNormal
    from pyro.nn import PyroModule, PyroSample

    class Regression(PyroModule):
        def __init__(self):
            super().__init__()
            self.line = PyroModule[nn.Linear](6, 1)
            self.line.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 6]).to_event(2))
            self.line.bias = PyroSample(dist.Normal(0.0, 1.0).expand([1]).to_event(1))

        def forward(self, x, y):
            mean = self.line(x).squeeze(-1)
            with pyro.plate("data", N, subsample=x):
                return pyro.sample("y", dist.Normal(mean, 0.1), obs=y)

    x, _ = tensors()
    y = x @ torch.arange(6.0)
    elbo = InformationBottleneckELBO(beta=1.0)
    with pyro.settings.context(module_local_params=is_local):
        model = Regression()
        guide = AutoNormal(model)
        found = fit(
            (model, guide),
            (x, y),
            epochs=400,
            elbo=elbo,
            batch_size=25,
            lr=0.05,
            progress=False,
            capture="off",
        )
        learned = guide.median()["line.weight"].squeeze().detach()
    assert torch.allclose(learned, torch.arange(6.0), atol=0.3)
    row = found.rows[0]
    # A rate of the weights is one for the whole set: a sample's part of it is what its loss has.
    assert row["loss"] == pytest.approx(row["distortion"] + row["rate"], rel=1e-5)


def test_parameters_of_pyros_store_are_refused_by_name():
    def model(x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(x, y):
        loc = pyro.param("location", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0))

    x, _ = tensors()
    with pytest.raises(
        ValueError, match=r"parameter 'location': pyro.param .*torch.nn.Parameter.*pyro.infer.SVI"
    ):
        fit((model, guide), (x, x[:, 0]), epochs=1, beta=1.0, progress=False)
    assert "location" not in pyro.get_param_store()


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.ones(6), 0)])


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("digits", {}, "data: a str is no data; pass .x, y."),
        (3, {}, "data: a int is no data"),
        ((torch.ones(3, 6), [0, 1, 2]), {}, "data: a tuple with a int in it is no set in memory"),
        ((), {}, "data: a tuple of nothing"),
        ({}, {}, "data: a dict of nothing"),
        (iter([(torch.ones(3, 6), torch.zeros(3).long())]), {}, "gives its batches once.*list.*begins anew"),
        (Stream(), {}, "a Stream has no samples by number; pass a torch.utils.data.DataLoader"),
        (Items(torch.ones(0, 6), torch.ones(0)), {}, "an? Items of 0 samples"),
        ((torch.ones(3, 6), torch.ones(2)), {}, "data: its parts have 3, 2 samples"),
        ((torch.ones(3, 6), torch.ones(3).long()), {"batch_size": 0}, "batch_size must be at least 1; got 0"),
        (
            DataLoader(Items(*tensors())),
            {"batch_size": 5},
            "a DataLoader makes its batches itself, and batch_size=5",
        ),
        ([(torch.ones(3, 6), torch.ones(3).long())], {"batch_size": 5}, "a list makes its batches itself"),
        ([], {}, "data: a list of nothing"),
        (DataLoader(Stream()), {"beta": None}, "beta: by default it is 1 / N"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_way_out(data, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit(make(), data, **{"epochs": 1, "beta": 0.1, "progress": False, **options})


def test_what_gives_its_batches_once_is_found_in_the_second_epoch():
    x, y = tensors()

    class Once:
        def __init__(self):
            self.left = [(x, y)]

        def __iter__(self):
            while self.left:
                yield self.left.pop()

    with pytest.raises(ValueError, match="data: no batch in epoch 2; pass what can be gone through again"):
        fit(make(), Once(), epochs=3, beta=0.1, progress=False)


def test_a_wrong_target_in_a_later_batch_of_a_loader_is_found():
    x, y = tensors()
    y[N - 1] = 3
    with pytest.raises(ValueError, match="site 'y'"):
        fit(make(), DataLoader(Items(x, y), batch_size=10), epochs=1, beta=0.1, progress=False)


def test_nothing_is_drawn_and_nothing_changes_before_the_first_step():
    data, own = Items(*tensors()), order()
    program = make()
    before = {name: value.clone() for name, value in program.state_dict().items()}
    torch.manual_seed(5)
    ambient, state = torch.get_rng_state(), own.get_state()
    Trainer(program, data, epochs=1, beta=0.1, order=own, progress=False)
    assert torch.equal(torch.get_rng_state(), ambient)
    assert torch.equal(own.get_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in program.state_dict().items())

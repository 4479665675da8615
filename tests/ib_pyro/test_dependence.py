"""What is computed of random numbers is marked, whatever draws them, and nothing else; marks keep no memory."""

import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from pyro import distributions as dist
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from ib_pyro.dependence import RANDOM, ValueTracker

X = torch.linspace(0.1, 0.9, 12).reshape(1, 3, 4)

DRAWN = {
    "rand": lambda: torch.rand(3),
    "rand_like": lambda: torch.rand_like(X),
    "randn_like": lambda: torch.randn_like(X),
    "randint_like": lambda: torch.randint_like(X, 5),
    "randperm": lambda: torch.randperm(5),
    "in place": lambda: X.clone().normal_(),
    "through a view": lambda: (base := X.clone(), base[0, 0].uniform_())[0],
    "into a buffer": lambda: torch.rand(4, out=torch.zeros(4)),
    "bernoulli": lambda: torch.bernoulli(X),
    "dropout": lambda: F.dropout(X, 0.5),
    "dropout of channels": lambda: F.dropout1d(X, 0.5),
    "alpha dropout": lambda: F.alpha_dropout(X, 0.5, training=True),
    "rrelu": lambda: F.rrelu(X, training=True),
    "attention": lambda: F.scaled_dot_product_attention(X, X, X, dropout_p=0.5),
    "recurrent": lambda: nn.LSTM(4, 4, num_layers=2, dropout=0.5)(X)[0],
    "normal": lambda: dist.Normal(X, 1.0).rsample(),
    "gamma": lambda: dist.Gamma(X, 1.0).rsample(),
    "beta": lambda: dist.Beta(X, X).rsample(),
    "dirichlet": lambda: dist.Dirichlet(X).rsample(),
    "poisson": lambda: dist.Poisson(X).sample(),
    "binomial": lambda: dist.Binomial(5, X).sample(),
    "categorical": lambda: dist.Categorical(X).sample(),
    "von mises": lambda: dist.VonMises(X, 1.0).sample(),
    "generator": lambda: torch.randn(3, generator=torch.Generator().manual_seed(0)),
    "initialisation": lambda: nn.Linear(3, 2).weight,
}
KNOWN = {
    "arithmetic": lambda: X.exp() + 1,
    "dropout that is off": lambda: F.dropout(X, 0.5, training=False),
    "attention that drops nothing": lambda: F.scaled_dot_product_attention(X, X, X),
    "shape of something drawn": lambda: torch.zeros_like(torch.rand(3)),
    "delta": lambda: dist.Delta(X).rsample(),
    "law of a draw": lambda: (normal := dist.Normal(X, 1.0), normal.log_prob(normal.sample()), normal.scale)[
        2
    ],
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_is_marked(name):
    with ValueTracker() as tracker:
        value = DRAWN[name]()
        result = (value.double() * 2).sum()
    assert RANDOM in tracker.marks_of([result])


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_not_drawn_is_not_marked(name):
    with ValueTracker() as tracker:
        torch.rand(3)
        result = KNOWN[name]()
    assert tracker.marks_of([result]) == frozenset()


def test_whatever_follows_a_number_that_was_read_may_be_random():
    with ValueTracker() as tracker:
        before = X + 1
        assert tracker.marks_of([before]) == frozenset()
        after = X + 1 if float(torch.rand(())) >= 0 else X
    assert tracker.marks_of([after]) == {RANDOM}


def test_marks_keep_no_memory():
    with ValueTracker() as tracker:
        value = tracker.mark(torch.ones(1000), "a")
        followed = value * 2
    memory = StorageWeakRef(followed.untyped_storage())
    del followed
    assert memory.expired()
    with tracker:
        # Tensors in its place have marks of their own.
        others = [torch.zeros(1000) for _ in range(10)]
    assert tracker.marks_of(others) == frozenset()
    assert tracker.marks_of([value]) == {"a"}


def test_compiled_functions_are_followed_as_they_were_written():
    net = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), backend="eager")
    relu = torch.compile(nn.ReLU(), backend="eager")
    for _ in range(2):
        # Warnings are errors: the compiler would say what it does not understand of a tracker.
        with ValueTracker() as tracker:
            drawn, known = net(X), relu(X)
        assert tracker.marks_of([drawn]) == {RANDOM}
        assert tracker.marks_of([known]) == frozenset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net(X), relu(X)


def test_a_compiler_that_nobody_uses_is_not_loaded():
    program = (
        "import sys, torch\nfrom ib_pyro.dependence import ValueTracker\nwith ValueTracker(): torch.rand(2)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

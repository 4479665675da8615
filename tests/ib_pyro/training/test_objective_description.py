"""A fit goes on only with the objective that it had, to the last digit of each number in it."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.elbo import (
    Capacity,
    CapacityELBO,
    CriticTotalCorrelation,
    FreeBits,
    GaussianTotalCorrelation,
    ImportanceWeightedELBO,
)
from ib_pyro.information import gaussian_total_correlation
from ib_pyro.nn import InformationDropout
from ib_pyro.training import fit
from ib_pyro.training.checkpoint import load_checkpoint
from ib_pyro.training.fit_description import describe_program
from ib_pyro.training.objective_description import describe_objective

Make = Any
E = InformationBottleneckELBO
X = torch.rand(24, 4, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0.5).long()
NAMES = [f"encoder_block_{number}_attention_noise" for number in range(1, 6)]


class Heads(nn.Module):
    """Two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 1)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"a": self.a(z), "b": self.b(z).squeeze(-1)}


def build(**options: Any) -> Bottleneck:
    torch.manual_seed(3)
    return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2), **options)


def heads(kind: Any) -> Bottleneck:
    torch.manual_seed(3)
    return Bottleneck(InformationDropout.linear(4, 3), Heads(), likelihood={"a": "categorical", "b": kind})


def deep() -> Bottleneck:
    torch.manual_seed(3)
    layers = [InformationDropout.linear(4, 4, name=name) for name in NAMES]
    return Bottleneck(nn.Sequential(*layers), nn.Linear(4, 2))


def go(out: Path, program: Bottleneck, epochs: int, **options: Any) -> Any:
    torch.manual_seed(5)
    y = {"a": Y, "b": Y.float()} if program.has_heads else Y
    resume = epochs > 1
    order = torch.Generator().manual_seed(1)
    how = {"order": order, "progress": False, "batch_size": 12, **options}
    return fit(program, (X, y), epochs=epochs, out=out, resume=resume, **how)


def critic(weight: float) -> CriticTotalCorrelation:
    module = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    nn.init.constant_(module[0].weight, weight)
    return CriticTotalCorrelation(module.requires_grad_(False))


def shrunk(_posterior: Any, z: Tensor, _size: int, shrinkage: float = 0.1) -> Tensor:
    return gaussian_total_correlation(z, shrinkage=shrinkage)


def by_site(last: float) -> dict[str, float]:
    return {**dict.fromkeys(NAMES, 1e-3), NAMES[-1]: last}


CHANGES: dict[str, tuple[Make, Make, str]] = {
    "tensor": (
        lambda: E(torch.tensor(0.001)),
        lambda: E(torch.tensor(0.00104)),
        r"the objective\.beta is 0\.001.* there and 0\.00104",
    ),
    "particles": (
        lambda: E(0.1),
        lambda: E(0.1, num_particles=2),
        r"the objective\.num_particles is 1 there",
    ),
    "sampled": (
        lambda: E(0.1),
        lambda: E(0.1, sampled_rates={"z1"}),
        r"objective\.sampled_rates is \[\] there",
    ),
    "closed form": (
        lambda: E(0.1),
        lambda: E(0.1, on_no_closed_form="monte-carlo"),
        r"the objective\.on_no_closed_form is 'error' there",
    ),
    "estimator": (
        lambda: E(0.1, 0.5),
        lambda: E(0.1, 0.5, total_correlation="minibatch-stratified"),
        "the objective's total_correlation is a GaussianTotalCorrelation there and a Minibatch",
    ),
    "estimator's option": (
        lambda: E(0.1, 0.5),
        lambda: E(0.1, 0.5, total_correlation=GaussianTotalCorrelation(shrinkage=0.1)),
        r"the objective's total_correlation\.shrinkage is 0\.0 there and 0\.1 here",
    ),
    "function": (
        lambda: E(0.1, 0.5, total_correlation=shrunk),
        lambda: E(0.1, 0.5, total_correlation=partial(shrunk, shrinkage=0.2)),
        "",
    ),
    "function's option": (
        lambda: E(0.1, 0.5, total_correlation=partial(shrunk, shrinkage=0.1)),
        lambda: E(0.1, 0.5, total_correlation=partial(shrunk, shrinkage=0.2)),
        r"the objective's total_correlation\.shrinkage is 0\.1 there and 0\.2 here",
    ),
    "critic that does not learn": (
        lambda: E(0.1, 0.5, total_correlation=critic(0.1)),
        lambda: E(0.1, 0.5, total_correlation=critic(0.2)),
        r"the objective's total_correlation's critic\.0\.weight is \[\[0\.1",
    ),
    "penalty": (
        lambda: E(0.1),
        lambda: E(0.1, penalty=Capacity(1.0)),
        "the objective's penalty is here alone",
    ),
    "target": (
        lambda: CapacityELBO(1.0, 0.1),
        lambda: CapacityELBO(1.0 + 1e-9, 0.1),
        r"the objective\.capacity is 1\.0 there and 1\.000000001 here",
    ),
    "per": (
        lambda: E(0.1, penalty=FreeBits(1.0)),
        lambda: E(0.1, penalty=FreeBits(1.0, per="unit")),
        r"the objective's penalty\.per is 'site' there and 'unit' here",
    ),
    "gradient": (
        lambda: ImportanceWeightedELBO(2),
        lambda: ImportanceWeightedELBO(2, gradient="dreg"),
        r"the objective\.gradient is 'iwae' there",
    ),
}


@pytest.mark.parametrize(("before", "after", "message"), CHANGES.values(), ids=CHANGES)
def test_an_objective_that_has_changed_is_refused(
    before: Make, after: Make, message: str, tmp_path: Path
) -> None:
    first = go(tmp_path, build(), 1, elbo=before())
    if message:
        with pytest.raises(ValueError, match=message):
            go(tmp_path, build(), 2, elbo=after())
    assert go(tmp_path, build(), 2, elbo=before()).rows[0]["loss"] == first.rows[0]["loss"]


def test_a_weight_of_many_sites_is_told_whole(tmp_path: Path) -> None:
    go(tmp_path, deep(), 1, beta=by_site(1e-3))
    with pytest.raises(
        ValueError, match=r"the objective\.beta is .*'encoder_block_5_attention_noise': 10\.0"
    ):
        go(tmp_path, deep(), 2, beta=by_site(10.0))
    with pytest.raises(ValueError, match=r"the objective\.gamma is 0\.0 there and 0\.5 here"):
        go(tmp_path, deep(), 2, elbo=E(by_site(1e-3), 0.5))
    # In another order they are the same.
    go(tmp_path, deep(), 2, beta=dict(reversed(by_site(1e-3).items())))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            lambda: build(class_weights=torch.tensor([1.0, 1.0])),
            lambda: build(class_weights=torch.tensor([1.0, 50.0])),
            r"class_weights is \[1\.0, 1\.0\] there and \[1\.0, 50\.0\] here",
        ),
        (build, lambda: build(class_weights=torch.tensor([1.0, 50.0])), "class_weights is None there"),
        (
            lambda: heads("normal"),
            lambda: heads("bernoulli"),
            r"likelihood is .*'normal'} there and .*'bernoulli'}",
        ),
    ],
    ids=["weights", "no weights", "heads"],
)
def test_what_the_program_is_scored_by_is_told_too(
    before: Make, after: Make, message: str, tmp_path: Path
) -> None:
    go(tmp_path, before(), 1, beta=0.1)
    with pytest.raises(ValueError, match=message):
        go(tmp_path, after(), 2, beta=0.1)
    go(tmp_path, before(), 2, beta=0.1)


def test_another_batch_size_schedule_or_transform_is_refused(tmp_path: Path) -> None:
    go(tmp_path, build(), 1, beta=0.1)
    with pytest.raises(ValueError, match=r"with batch_size=12, and this one has batch_size=13"):
        go(tmp_path, build(), 2, beta=0.1, batch_size=13)
    with pytest.raises(ValueError, match=r"with schedules=none, and this one has schedules=beta"):
        go(tmp_path, build(), 2, beta=0.1, schedules={"beta": lambda epoch: 0.1})
    with pytest.raises(ValueError, match=r"with transform=False, and this one has transform=True"):
        go(tmp_path, build(), 2, beta=0.1, transform=lambda x, y: (x, y))


class Counting(Capacity):
    """Counts its calls."""

    calls = 0

    def __call__(self, *args: Any) -> Tensor:
        self.calls += 1
        return super().__call__(*args)


def test_an_objective_under_a_schedule_goes_on_at_its_target(tmp_path: Path) -> None:
    elbo = E(0.1, penalty=Counting(1.0))
    how = {"schedules": {"beta": lambda epoch: 0.1 * min(1.0, 0.5 * epoch)}, "elbo": elbo}
    with pytest.warns(UserWarning, match="still on its way"):
        go(tmp_path, build(), 1, **how)
    # The same object, which has counted in between.
    go(tmp_path, build(), 3, **how)
    other = {"schedules": {"beta": lambda epoch: 0.05}, "elbo": E(0.05, penalty=Counting(1.0))}
    with pytest.raises(ValueError, match=r"the objective\.beta is 0\.1 there and 0\.05 here"):
        go(tmp_path, build(), 4, **other)


def test_a_checkpoint_of_before_objectives_were_described_is_compared_in_words(tmp_path: Path) -> None:
    go(tmp_path, build(), 1, beta=0.1)
    path = tmp_path / "checkpoint.pt"
    content = load_checkpoint(path)
    for name in ("description", "described_last"):
        content[name] = {n: part for n, part in content[name].items() if not n.startswith("the objective")}
        del content[name][""]["options"]["class_weights"]
    for name in ("batch_size", "schedules", "transform"):
        del content["settings"][name]
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"with elbo=.*beta=0\.1.*, and this one has elbo=.*beta=0\.2"):
        go(tmp_path, build(), 2, beta=0.2)
    go(tmp_path, build(), 2, beta=0.1)
    with pytest.raises(ValueError, match=r"the objective\.beta is 0\.1 there and 0\.2 here"):
        go(tmp_path, build(), 3, beta=0.2)


def test_numbers_of_a_device_are_the_same_elsewhere() -> None:
    one, other = E(torch.tensor(0.1)), E(torch.tensor([0.1]))
    assert describe_objective(one) == describe_objective(other)
    long = describe_objective(E(torch.rand(100)))["the objective"]["options"]["beta"]
    assert long.startswith("100 numbers with the digest ")


def test_numbers_are_gone_through_again_once_they_are_written_to(monkeypatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(
        "ib_pyro.training.fit_description.fingerprint",
        lambda value: read.append(1) or str(value.sum().item()),
    )
    module = nn.Linear(2, 2)
    module.register_buffer("table", torch.zeros(100), persistent=False)
    first, again = (describe_program(module)[""]["options"]["table"] for _ in range(2))
    assert first == again
    assert len(read) == 1
    module.table[3] = 1.0
    assert describe_program(module)[""]["options"]["table"] != first
    assert len(read) == 2

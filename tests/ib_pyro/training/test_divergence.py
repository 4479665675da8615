"""A fit that diverges says which number is not finite, and blames what it comes from."""

import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.nn import InformationDropout
from ib_pyro.training import Trainer, fit
from ib_pyro.training.checkpoint import load_checkpoint
from ib_pyro.training.divergence import DivergenceError, explained, require_finite_terms

FINE = {"loss": 1.0, "distortion": 0.5, "rate/z1": 1.0, "rate/z2": 2.0, "total_correlation/z1": 0.1}


def program() -> Bottleneck:
    torch.manual_seed(0)
    return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.rand(40, 4), torch.arange(40) % 2


@pytest.mark.parametrize(
    ("bad", "site", "term", "message"),
    [
        (["rate/z2", "distortion", "loss"], "z2", "rate/z2", "site 'z2': not finite"),
        (["rate/z1", "rate/z2", "loss"], "z1", "rate/z1", "site 'z1', 'z2': not finite"),
        (["total_correlation/z1", "loss"], "z1", "total_correlation/z1", "'z1': the total correlation"),
        (["total_correlation/z1", "distortion"], "z1", "total_correlation/z1", "the total correlation"),
        (["distortion", "loss"], None, "distortion", "the likelihood of 'y'"),
        (["loss"], None, "loss", "the weighted sum: .*each term is finite"),
    ],
    ids=["rate", "rates", "correlation", "correlation first", "likelihood", "weights"],
)
def test_the_innermost_term_is_blamed(bad: list[str], site: str | None, term: str, message: str) -> None:
    require_finite_terms(FINE)
    with pytest.raises(DivergenceError, match=message) as caught:
        require_finite_terms(FINE | dict.fromkeys(bad, math.inf))
    assert (caught.value.site, caught.value.term, caught.value.value) == (site, term, math.inf)
    assert ("likelihood" in str(caught.value)) == (term == "distortion")
    assert all(f"{name} = inf" in str(caught.value) for name in bad)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_not_finite_are_blamed_and_not_the_learning_rate(
    value: float, data: tuple[Tensor, Tensor]
) -> None:
    x, y = data
    x[30, 2] = value
    # The first look sees the first ten; what looks at all before the fit may find it too.
    with pytest.raises((DivergenceError, ValueError), match="sample 30 has") as caught:
        fit(program(), (x, y), epochs=3, batch_size=10, progress=False)
    assert "learning rate" not in str(caught.value)
    found = explained(DivergenceError("site 'z': not finite", site="z", term="rate/z"), 4, (x, y))
    assert f"epoch 4: inputs x: not finite in 1 of 160 values (sample 30 has {value:g})" in str(found)
    assert str(found).endswith("mend the data")
    assert (found.site, found.term, found.epoch) == ("z", "rate/z", 4)


def test_collinear_units_are_blamed_for_an_infinite_total_correlation(data: tuple[Tensor, Tensor]) -> None:
    # Two units that only one sample excites.
    x, y = -torch.ones_like(data[0]), data[1]
    x[7] = 1.0
    net = program()
    torch.nn.init.ones_(net.encoder.features.weight)
    elbo = InformationBottleneckELBO(beta=0.1, gamma=1.0)
    with pytest.raises(
        DivergenceError, match=r"epoch 1: site 'z1': the total correlation.*shrinkage"
    ) as caught:
        fit(net, (x, y), elbo=elbo, epochs=1, batch_size=40, progress=False)
    assert caught.value.term == "total_correlation/z1"
    assert "learning rate" not in str(caught.value)
    assert "likelihood" not in str(caught.value)


def test_a_step_after_a_loss_that_is_still_finite_is_seen_in_its_epoch(data: tuple[Tensor, Tensor]) -> None:
    trainer = Trainer(program(), data, epochs=5, batch_size=40, progress=False)
    rows = iter(trainer)
    next(rows)
    with torch.no_grad():
        next(trainer.program.parameters())[0] = math.inf
    with pytest.raises(DivergenceError, match="epoch 2: ") as caught:
        next(rows)
    assert caught.value.epoch == 2


def test_an_infinite_buffer_is_no_divergence(data: tuple[Tensor, Tensor]) -> None:
    net = program()
    net.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    assert fit(net, data, epochs=1, progress=False).epochs == 1


@pytest.mark.parametrize("every", [1, 5])
def test_an_infinite_buffer_is_kept_in_checkpoints(
    every: int, data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    def interrupt(history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    net = program()
    net.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    with pytest.raises(KeyboardInterrupt):
        fit(net, data, epochs=5, out=tmp_path, checkpoint_every=every, on_epoch=interrupt, progress=False)
    kept = load_checkpoint(tmp_path / "checkpoint.pt")
    assert len(kept["history"]) == 2
    assert torch.equal(kept["program"]["mask"], net.mask)


def test_what_a_law_refuses_of_moved_parameters_is_a_divergence(data: tuple[Tensor, Tensor]) -> None:
    trainer = Trainer(program(), data, epochs=5, batch_size=40, progress=False)
    rows = iter(trainer)
    next(rows)
    with torch.no_grad():
        for parameter in trainer.program.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(DivergenceError, match=r"epoch 2: .*learning rate may help") as caught:
        next(rows)
    assert caught.value.__cause__ is not None


def test_it_travels_between_processes_with_what_it_knows() -> None:
    error = DivergenceError("why", site="z", term="rate/z", value=math.inf, epoch=3, way_out="less")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, FloatingPointError)
    assert (str(again), vars(again)) == ("why", vars(error))

"""The demo's typicality: what is shown to the networks, how it is scored, and how well scores tell it apart."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from ib_pyro.data import load
from ib_pyro.diagnostics import out_of_distribution_auroc
from ib_pyro.elbo import InformationBottleneckELBO
from inference.studies.demo import typicality
from inference.studies.demo.separation import Separation, auroc_with_interval, pca_residual, separations
from inference.studies.demo.separation_table import SCORES, separation_markdown, separation_table
from inference.studies.demo.typicality import (
    KINDS,
    KNOWN,
    Fits,
    Network,
    entropy_and_rate,
    fit_network,
    shown,
)
from inference.studies.demo.typicality_picture import draw_typicality
from models.mlp import MLP


@pytest.fixture(scope="module")
def fitted() -> dict[str, tuple[list[dict], list[dict]]]:
    """Both kinds of networks, small: one beta chosen of two, two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(typicality.NETWORKS, "log-normal", Network("softplus", "log-normal", (0.3, 30.0)))
        return {name: fit_network(Fits(name, seeds=2, epochs=4)) for name in ("log-normal", "no noise")}


def test_what_is_shown_is_the_test_set_turned_inverted_and_shuffled() -> None:
    images, kinds = load("digits", "test"), shown("test")
    assert tuple(kinds) == KINDS
    known = images.x[images.y < KNOWN]
    assert torch.equal(kinds["known"], known)
    assert len(kinds["8 and 9"]) == len(images) - len(known)
    assert torch.equal(kinds["turned"].rot90(-1, (2, 3)), known)
    assert torch.equal(1 - kinds["inverted"], known)
    pixels = known.flatten(1).sort(1).values
    assert torch.equal(kinds["shuffled"].flatten(1).sort(1).values, pixels)
    assert not torch.equal(kinds["shuffled"], known)
    assert torch.equal(kinds["shuffled"], shown("test")["shuffled"])


def test_rate_and_entropy_are_the_elbos_and_the_predictions() -> None:
    torch.manual_seed(0)
    program = MLP(4, image_shape=(1, 4, 4), num_classes=3, activation="softplus").eval().double()
    x = torch.rand(6, 1, 4, 4, dtype=torch.float64)
    entropy, _ = entropy_and_rate(program, x, seed=3, draws=1)
    _, rate = entropy_and_rate(program, x, seed=3, draws=2)
    torch.manual_seed(3)
    labels = torch.zeros(6, dtype=torch.int64)
    with torch.no_grad():
        terms = [InformationBottleneckELBO().terms(program.model, program.guide, x, labels) for _ in range(2)]
    torch.testing.assert_close(rate, sum(sum(each.rate.values()) for each in terms) / 2)
    torch.testing.assert_close(entropy, terms[0].likelihood["y"].entropy())
    many = entropy_and_rate(program, x, seed=3, draws=2000)[0]
    predicted = program.predict(x, num_samples=2000)
    torch.testing.assert_close(many, -torch.xlogy(predicted, predicted).sum(-1), atol=0.02, rtol=0.0)


def test_beta_is_chosen_by_held_out_likelihood(fitted: dict) -> None:
    fits, _ = fitted["log-normal"]
    assert len(fits) == 4
    mean = {b: np.mean([r["held_out_nll"] for r in fits if r["beta_paper"] == b]) for b in (0.3, 30.0)}
    best = min(mean, key=mean.__getitem__)
    assert {row["beta_paper"] for row in fits if row["chosen"]} == {best}


def test_the_choice_never_sees_a_test_image(fitted: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(typicality.NETWORKS, "log-normal", Network("softplus", "log-normal", (0.3, 30.0)))
    monkeypatch.setattr(typicality, "shown", lambda split: {"known": torch.rand(3, 1, 8, 8)})
    fits, scores = fit_network(Fits("log-normal", seeds=2, epochs=4))
    assert fits == fitted["log-normal"][0]
    held_out = [row for row in fitted["log-normal"][1] if row["images"] == "held out"]
    assert [row for row in scores if row["images"] == "held out"] == held_out


def test_scores_are_finite_and_a_network_without_noise_has_no_rate(fitted: dict) -> None:
    sizes = {kind: len(x) for kind, x in shown("test").items()}
    for name, (_, scores) in fitted.items():
        assert all(np.isfinite([row["entropy"], row["rate"]]).all() for row in scores)
        assert any(row["rate"] > 0 for row in scores) == (name == "log-normal")
        counts = {kind: sum(row["images"] == kind for row in scores) for kind in sizes}
        assert counts == {kind: 2 * size for kind, size in sizes.items()}


def test_area_is_the_diagnostics_own_and_lies_in_its_interval() -> None:
    generator = np.random.default_rng(0)
    known, other = generator.normal(size=(3, 40)).round(1), generator.normal(0.7, size=(3, 30)).round(1)
    area, low, high = auroc_with_interval(known, other)
    expected = [
        out_of_distribution_auroc(torch.tensor(a), torch.tensor(b)) for a, b in zip(known, other, strict=True)
    ]
    assert area == pytest.approx(np.mean(expected), abs=1e-12)
    assert low < area < high
    assert auroc_with_interval(known, other) == (area, low, high)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Two normal laws a deviation apart: the area is Phi(1 / sqrt 2)."""
    generator, covered = np.random.default_rng(0), 0
    for trial in range(100):
        known, other = generator.normal(size=(1, 60)), generator.normal(1.0, size=(1, 60))
        _, low, high = auroc_with_interval(known, other, seed=trial)
        covered += low < 0.7602 < high
    assert covered >= 88


def test_residual_is_none_within_the_components() -> None:
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(50, 2, generator=generator) @ torch.randn(2, 9, generator=generator)
    assert pca_residual(flat, flat[:5]).max() < 20 * pca_residual(flat, flat + 1).max()
    assert pca_residual(flat[:, :1].expand(-1, 9), torch.full((1, 9), 7.0)).max() < 1e-9


def scored(rate: dict[str, list[float]]) -> list[dict]:
    return [
        {"network": "log-normal", "seed": 0, "images": kind, "image": i, "entropy": 0.1 + 0.01 * i, "rate": r}
        for kind, values in rate.items()
        for i, r in enumerate(values)
    ]


def test_together_a_rate_is_strange_on_either_side() -> None:
    typical = [9.0, 10.0, 11.0]
    rows = scored({"held out": typical, "known": typical, "8 and 9": [1.0, 2.0, 3.0], "turned": [90.0] * 3})
    test = {kind: torch.rand(3, 1, 2, 2) for kind in ("known", "8 and 9", "turned")}
    areas = {(e.score, e.images): e.auroc for e in separations(rows, torch.rand(9, 1, 2, 2), test)}
    assert (areas["rate", "8 and 9"], areas["rate", "turned"]) == (0.0, 1.0)
    assert (areas["both", "8 and 9"], areas["both", "turned"]) == (1.0, 1.0)


def test_table_and_picture_show_every_score(fitted: dict, tmp_path: Path) -> None:
    rows = [row for _, scores in fitted.values() for row in scores]
    found = separations(rows, shown("train")["known"], shown("test"))
    assert [e.images for e in found][:4] == list(KINDS[1:])
    console = Console(file=io.StringIO(), width=80)
    console.print(separation_table(found))
    assert max(map(len, console.file.getvalue().splitlines())) <= 80
    lines = separation_markdown(found)
    assert len(lines) == 2 + 5  # no network with a log-uniform prior is there
    assert lines[-1].startswith(f"| {SCORES['images', 'PCA residual']} | ")
    draw_typicality(rows, found, shown("test"), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_a_missing_score_is_left_out_of_the_table() -> None:
    assert separation_markdown([Separation("other", "rate", "turned", 0.5, 0.4, 0.6)]) == [
        "| score | turned |",
        "|---|---|",
    ]

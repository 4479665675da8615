"""Figure 2 draws every noisy layer, from rows with and without the ink, of one seed and of several."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import PowerNorm

from inference.studies.paper import fig2

BETAS, SITES = (0.1, 3.0), ("z1", "z2", "z3", "z4")
# Nats at the positions of each map, but for the factor of the case.
PATTERN = np.array([[0.0, 1.0], [2.0, 4.0]])


def made_up_rows(num_seeds: int = 1, *, ink: bool = True) -> pd.DataFrame:
    common = {"preset": "small", "source": "real", "size": 0.25, "num_train": 5, "num_test": 5, "epochs": 1}
    rows = [
        {
            **common,
            "kind": "share",
            "seed": seed,
            "setting": beta,
            "site": site,
            "share_in_box": 0.4 + 0.01 * seed,
            "share_in_box_se": 0.02,
            "chance": 0.1,
            "rate_in_box": 5.0,
            "rate_outside": 5.0,
            "test_error_deterministic": 0.2,
            **({"ink_in_box": 0.15} if ink else {}),
        }
        for seed in range(num_seeds)
        for beta in BETAS
        for site in SITES
    ]
    for seed, image, beta in product(range(num_seeds), range(2), BETAS):
        case = {"seed": seed, "image": image, "setting": beta}
        rows += [
            {**case, "kind": "image", "box": "24 48 48 96", "line": line, "values": "0 255"}
            for line in range(2)
        ]
        for site in SITES:
            values = PATTERN * (1 + image) * (1 + seed) / beta
            rows += [
                {**case, "kind": "map", "site": site, "line": line, "values": " ".join(map(str, part))}
                for line, part in enumerate(values.tolist())
            ]
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def maps_of(figure) -> list:
    return [ax for ax in figure.axes if ax.images and ax.get_title().endswith("nats")]


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_every_layer_beta_and_image_has_a_map_in_nats_of_the_first_seed(num_seeds):
    maps = maps_of(fig2.draw(made_up_rows(num_seeds)))
    assert len(maps) == 2 * len(BETAS) * len(SITES)
    for site in SITES:
        assert sum(ax.get_title().startswith(f"{site}: ") for ax in maps) == 2
    first = maps[0].images[-1]
    np.testing.assert_allclose(first.get_array(), PATTERN / BETAS[0])
    assert maps[0].get_title() == "z1: 70 nats"


def test_a_layers_maps_share_a_scale_that_shows_small_rates():
    maps = maps_of(fig2.draw(made_up_rows()))
    norms = {id(ax.images[-1].norm): ax.images[-1].norm for ax in maps}
    assert len(norms) == len(SITES)
    for norm in norms.values():
        assert isinstance(norm, PowerNorm)
        assert (norm.vmin, norm.vmax) == (0, 2 * PATTERN.max() / BETAS[0])
        assert norm(0.01 * norm.vmax) == pytest.approx(0.1)


def test_the_box_lies_where_the_digit_is_on_image_and_map():
    figure = fig2.draw(made_up_rows())
    box = maps_of(figure)[0].lines[-1]
    # A quarter to a half of the width, and the lower half, of a map of two positions.
    assert (min(box.get_xdata()), max(box.get_xdata())) == (0.0, 0.5)
    assert (min(box.get_ydata()), max(box.get_ydata())) == (0.5, 1.5)


@pytest.mark.parametrize("ink", [True, False])
def test_the_ink_is_drawn_and_explained_where_it_is_known(ink):
    figure = fig2.draw(made_up_rows(ink=ink))
    shares = figure.axes[-2]
    triangles = [line for line in shares.lines if line.get_marker() == "<" and len(line.get_xdata())]
    assert len(triangles) == (len(SITES) if ink else 0)
    assert all(line.get_ydata()[0] == pytest.approx(15) for line in triangles)
    names = [text.get_text() for text in shares.get_legend().get_texts()]
    assert ("the box's share of the ink" in names) == ink


def test_bars_are_over_seeds_where_there_are_several():
    for num_seeds, basis in ((1, "test images"), (3, "seeds")):
        figure = fig2.draw(made_up_rows(num_seeds))
        assert f"intervals over the {basis}" in figure.get_suptitle()


def test_maps_without_any_rate_are_drawn():
    rows = made_up_rows()
    rows.loc[rows["kind"] == "map", "values"] = "0 0"
    rows.loc[rows["kind"] == "share", ["rate_in_box", "rate_outside"]] = 0.0
    fig2.draw(rows).canvas.draw()

"""Figure 6's rate per unit: what each unit of a layer pays, of the layer's own number of units."""

import pytest
import torch

from ib_pyro.data import LabelledImages
from inference.runs.spec import RunSpec
from inference.runs.splits import Splits
from inference.studies.paper import fig6
from models.all_cnn import AllCNN32


@pytest.mark.parametrize("filters", [1, 2])
def test_units_that_each_pay_the_same_have_that_rate(filters):
    program = AllCNN32(filters / 96, activation="softplus").eval()
    data = LabelledImages(torch.rand(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64), ("a", "b"))
    splits = Splits(data, None, data, "stand-in")
    options = {"data": "cifar10", "activation": "softplus", "beta_paper": 1.0}
    run = RunSpec.of(model="all-cnn-32", fraction=filters / 96, **options)
    # Table 2's maps: 16x16 of 96 filters and 8x8 of 192, here of as small a share.
    units = {"z1": filters * 16 * 16, "z2": 2 * filters * 8 * 8}
    paid = {"z1": 0.3, "z2": 0.7}
    result = {f"rate/{site}": paid[site] * count for site, count in units.items()}
    rows = {row["site"]: row for row in fig6.measure(run, result, lambda: (program, splits))}
    assert {site: row["units"] for site, row in rows.items()} == units
    for site, row in rows.items():
        assert row["rate_per_unit"] == pytest.approx(paid[site])
        assert row["site_rate"] == result[f"rate/{site}"]

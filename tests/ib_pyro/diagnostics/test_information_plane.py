"""The information plane against a discrete channel whose informations are exact."""

import csv
import io
import math

import pytest
import torch

from ib_pyro.diagnostics import information_plane
from ib_pyro.information import label_entropy


def mutual_information(joint):
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float((torch.xlogy(joint, joint) - torch.xlogy(joint, independent)).sum())


@pytest.fixture
def channel():
    """A uniform x over 6 values, y = x mod 3, and a random channel to z over 4 values."""
    torch.manual_seed(1)
    p_z_x = torch.rand(6, 4, dtype=torch.float64).softmax(-1)
    p_yz = torch.zeros(3, 4, dtype=torch.float64).index_add(0, torch.arange(6) % 3, p_z_x / 6)
    return p_z_x, p_yz


def row(p_z_x, p_yz, prior, decoder):
    rate = (torch.xlogy(p_z_x, p_z_x) - p_z_x * prior.log()).sum() / 6
    distortion = -(p_yz * decoder.log()).sum()
    return {"epoch": 3, "rate": float(rate), "distortion": float(distortion)}


def test_bounds_are_tight_for_the_true_marginal_and_decoder(channel):
    p_z_x, p_yz = channel
    best = row(p_z_x, p_yz, p_yz.sum(0), p_yz / p_yz.sum(0))
    plane = information_plane([best], label_entropy=math.log(3))
    assert plane.i_xz.item() == pytest.approx(mutual_information(p_z_x / 6))
    assert plane.i_zy.item() == pytest.approx(mutual_information(p_yz))
    assert plane.step.item() == 3


def test_bounds_hold_on_the_right_side_otherwise(channel):
    p_z_x, p_yz = channel
    other = row(p_z_x, p_yz, torch.full((4,), 0.25, dtype=torch.float64), torch.rand_like(p_yz).softmax(0))
    plane = information_plane([other], label_entropy=label_entropy(torch.arange(6) % 3))
    assert plane.i_xz.item() > mutual_information(p_z_x / 6)
    assert plane.i_zy.item() < mutual_information(p_yz)


def test_reads_the_rows_of_a_csv_file_and_other_columns():
    file = io.StringIO("epoch,distortion,rate,val/distortion\n1,2.0,4.5,2.5\n2,1.5,5.5,3.0\n")
    plane = information_plane(csv.DictReader(file), label_entropy=2.0, distortion="val/distortion")
    assert plane.i_xz.tolist() == [4.5, 5.5]
    assert plane.i_zy.tolist() == [-0.5, -1.0]


def test_refusals():
    with pytest.raises(ValueError, match="rows: empty"):
        information_plane([], label_entropy=1.0)
    with pytest.raises(ValueError, match="row 0 has no 'rate'; it has"):
        information_plane([{"epoch": 1, "distortion": 1.0}], label_entropy=1.0)
    with pytest.raises(ValueError, match="label_entropy: -1"):
        information_plane([{}], label_entropy=-1.0)

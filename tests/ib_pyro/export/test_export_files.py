"""Exports to files: the same numbers, whole or not at all, in the memory of one batch."""

import builtins
import copy
import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from ib_pyro import Bottleneck, to_arviz
from ib_pyro.export import file
from ib_pyro.nn import InformationDropout

FORMATS = ("draws.zarr", "draws.nc")


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_holds_what_memory_does(classifier, labelled, tmp_path, same_groups, name):
    x, y = labelled
    options = {
        "num_samples": 4,
        "seed": 1,
        "batch_size": 3,
        "beta": 0.1,
        "constant_data": {"x": x, "odd": torch.arange(11) % 2 == 1},
        "coords": {"z1_unit": list("abcde")},
    }
    streamed = to_arviz(classifier, x, y, path=tmp_path / name, **options)
    memory = to_arviz(classifier, x, y, **options)
    same_groups(streamed, memory)
    assert streamed.attrs["beta"] == 0.1
    assert streamed["sample_stats"]["z1_rate"].attrs == memory["sample_stats"]["z1_rate"].attrs
    # Labels that happen to be zero are not read as missing.
    assert streamed["observed_data"]["y"].dtype == np.int64
    with xr.open_datatree(tmp_path / name, engine="zarr" if name.endswith("zarr") else "h5netcdf") as tree:
        same_groups(tree, memory)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_result_is_replaced_only_on_request(classifier, labelled, tmp_path, name):
    x, y = labelled
    to_arviz(classifier, x, y, num_samples=2, path=str(tmp_path / name))
    with pytest.raises(FileExistsError, match="choose another, or pass overwrite=True"):
        to_arviz(classifier, x, y, num_samples=3, path=tmp_path / name)
    replaced = to_arviz(classifier, x, y, num_samples=3, path=tmp_path / name, overwrite=True)
    assert replaced["posterior"].sizes["draw"] == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_failure_leaves_nothing_behind_and_the_old_result_in_place(classifier, labelled, tmp_path, name):
    x, y = labelled
    to_arviz(classifier, x, y, num_samples=2, path=tmp_path / name)
    bad = x.clone()
    bad[-1] = torch.nan
    with pytest.raises(ValueError, match="site 'z1'"):
        to_arviz(classifier, bad, y, num_samples=2, batch_size=2, path=tmp_path / name, overwrite=True)
    with pytest.raises(ValueError, match="site 'z1'"):
        to_arviz(classifier, bad, y, num_samples=2, batch_size=2, path=tmp_path / f"new-{name}")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with xr.open_datatree(tmp_path / name, engine="zarr" if name.endswith("zarr") else "h5netcdf") as tree:
        assert np.isfinite(tree["posterior"]["z1_alpha"]).all()


def test_a_path_says_its_format_and_has_a_folder(classifier, labelled, tmp_path):
    with pytest.raises(ValueError, match=r"use \.zarr for a Zarr store, \.nc for netCDF"):
        to_arviz(classifier, *labelled, num_samples=2, path=tmp_path / "draws.hdf")
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere; make it first"):
        to_arviz(classifier, *labelled, num_samples=2, path=tmp_path / "nowhere" / "draws.zarr")


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("a.zarr", "zarr", "zarr"), ("a.nc", "h5netcdf", "netcdf"), ("a.nc", "h5py", "netcdf")],
)
def test_a_missing_library_is_named(classifier, labelled, tmp_path, monkeypatch, name, library, extra):
    real = builtins.__import__

    def without(module: str, *args: object, **kwargs: object) -> object:
        if module == library:
            raise ImportError(module)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"(?i){library}.*: pip install 'ib-pyro\[{extra}\]'"):
        to_arviz(classifier, *labelled, num_samples=2, path=tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_zarr_that_is_too_old_is_named(classifier, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("zarr.__version__", "2.18.7")
    with pytest.raises(ImportError, match=r"needs Zarr 3, not 2\.18\.7: pip install 'ib-pyro\[zarr\]'"):
        to_arviz(classifier, *labelled, num_samples=2, path=tmp_path / "draws.zarr")
    assert not list(tmp_path.iterdir())


def test_more_than_a_gigabyte_is_announced(classifier, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(file, "ANNOUNCED_BYTES", 1000)
    with pytest.warns(UserWarning, match="GB of arrays will be held in memory; path= streams them"):
        to_arviz(classifier, *labelled, num_samples=2)
    with pytest.warns(UserWarning, match="GB of arrays will be written to .*draws.zarr', before compression"):
        to_arviz(classifier, *labelled, num_samples=2, path=tmp_path / "draws.zarr")


def test_more_than_the_disk_holds_is_refused(classifier, labelled, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match="GB are free there; fewer draws"):
        to_arviz(classifier, *labelled, num_samples=2, path=tmp_path / "draws.zarr")
    assert not list(tmp_path.iterdir())


def test_the_announced_size_is_that_of_the_arrays(classifier, labelled, group_names, monkeypatch):
    announced = []
    monkeypatch.setattr(file, "announce_size", lambda size, path: announced.append(size))
    result = to_arviz(classifier, *labelled, num_samples=6)
    total = 0
    for group in group_names(result):
        for values in (result[group][name].values for name in result[group].data_vars):
            repeats = values.ndim > 1 and values.strides[1] == 0
            total += values.nbytes // 6 if repeats else values.nbytes
    assert announced == [total]


@pytest.mark.parametrize("name", FORMATS)
def test_memory_does_not_grow_with_the_rows(tmp_path, name):
    program = Bottleneck(InformationDropout.linear(8, 64), nn.Linear(64, 3))
    peaks = []
    for num_rows in (64, 128, 512):
        options = {
            "num_samples": 8,
            "batch_size": 64,
            "groups": ["posterior"],
            "path": tmp_path / f"{num_rows}-{name}",
        }
        tracemalloc.start()
        to_arviz(program, torch.rand(num_rows, 8), **options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    written = 4 * 512 * 8 * 64 * 4
    assert peaks[2] - peaks[1] < written / 20


def test_repeated_draws_take_next_to_no_room(tmp_path):
    program = Bottleneck(InformationDropout.linear(8, 64), nn.Linear(64, 3))
    to_arviz(program, torch.rand(512, 8), num_samples=64, path=tmp_path / "a.zarr", groups=["posterior"])

    def size(variable: str) -> int:
        return sum(p.stat().st_size for p in Path(tmp_path / "a.zarr/posterior" / variable).rglob("*"))

    assert size("z1_alpha") < size("z1") / 10


@pytest.mark.parametrize("name", FORMATS)
def test_an_older_result_does_not_turn_into_the_one_that_replaces_it(classifier, labelled, tmp_path, name):
    options = {"num_samples": 3, "groups": ["posterior"], "sites": ["z1"]}
    to_file = {"path": tmp_path / name, "overwrite": True}
    results = [to_arviz(classifier, *labelled, **options, **to_file, seed=seed) for seed in range(3)]
    expected = [to_arviz(classifier, *labelled, **options, seed=seed) for seed in range(3)]
    for result, own in zip(results[:2], expected[:2], strict=True):
        if name.endswith("zarr"):
            with pytest.raises(
                RuntimeError, match=r"draws.zarr' was overwritten, .* since this result was exported"
            ):
                result["posterior"]["z1"].load()
        else:
            np.testing.assert_array_equal(result["posterior"]["z1"], own["posterior"]["z1"])
    np.testing.assert_array_equal(results[2]["posterior"]["z1"], expected[2]["posterior"]["z1"])


def test_a_store_may_be_written_to_beside_what_was_exported(classifier, labelled, tmp_path):
    import xarray as xr
    import zarr

    path = tmp_path / "draws.zarr"
    expected = to_arviz(classifier, *labelled, num_samples=3, seed=0)
    result = to_arviz(classifier, *labelled, num_samples=3, seed=0, path=path)
    zarr.open_group(path, mode="a").attrs["note"] = "mine"
    xr.Dataset({"a": ("b", [1.0])}).to_zarr(
        path, group="a_first", mode="a", zarr_format=2, consolidated=False
    )
    zarr.consolidate_metadata(path)
    again = pickle.loads(pickle.dumps(result["posterior"]["z1"]))
    for z1 in (result["posterior"]["z1"], again):
        np.testing.assert_array_equal(z1, expected["posterior"]["z1"])


def test_a_relative_path_is_that_of_the_folder_it_was_given_in(classifier, labelled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = to_arviz(classifier, *labelled, num_samples=3, path="draws.zarr", groups=["posterior"])
    monkeypatch.chdir(tmp_path.parent)
    assert float(result["posterior"]["z1"].sum()) > 0


def test_a_store_that_is_gone_is_not_read_as_zeros(classifier, labelled, tmp_path):
    result = to_arviz(
        classifier, *labelled, num_samples=3, path=tmp_path / "draws.zarr", groups=["posterior"]
    )
    result["posterior"]["z2"].load()
    shutil.rmtree(tmp_path / "draws.zarr")
    assert float(result["posterior"]["z2"].sum()) > 0
    with pytest.raises(RuntimeError, match="removed since this result was exported"):
        result["posterior"]["z1"].load()


@pytest.mark.parametrize("name", FORMATS)
def test_a_result_in_a_file_is_copied_and_pickled(classifier, labelled, tmp_path, same_groups, name):
    result = to_arviz(classifier, *labelled, num_samples=3, path=tmp_path / name)
    same_groups(pickle.loads(pickle.dumps(result)), result)
    same_groups(copy.deepcopy(result), result)
    repr(result)

"""Files of tensors are read as they were written, or refused; nothing in them is run."""

import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch

from ib_pyro.tensor_files import load_tensors, readable, save_tensors


@pytest.fixture
def content():
    return {"w": torch.randn(30, 20), "b": torch.arange(7), "plain": [1, "two", None, (3.0, {"four": True})]}


@pytest.fixture
def path(tmp_path, content):
    save_tensors(content, tmp_path / "x.pt")
    return tmp_path / "x.pt"


def same(one, other):
    return all(torch.equal(one[n], other[n]) for n in ("w", "b")) and one["plain"] == other["plain"]


def what_comes_of(path):
    try:
        return load_tensors(path)
    except ValueError as error:
        return error


@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_written_is_read(path, content, mmap):
    assert same(load_tensors(path, mmap=mmap), content)


def test_every_turned_bit_is_refused_or_harmless(path, content):
    whole, generator = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(400):
        place, bit = generator.randrange(len(whole)), generator.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        found = what_comes_of(path)
        if isinstance(found, ValueError):
            refused += 1
            assert str(path) in str(found)
            assert "weights_only" not in str(found)
        else:
            assert same(found, content), f"byte {place}, bit {bit}"
    assert refused > 200


def test_a_turned_bit_of_a_weight_is_refused(path, content):
    whole = bytearray(path.read_bytes())
    whole[whole.index(content["w"].numpy().tobytes()) + 5] ^= 1
    path.write_bytes(whole)
    # PyTorch itself does not see it.
    assert not torch.equal(torch.load(path)["w"], content["w"])
    with pytest.raises(ValueError, match=r"x\.pt is damaged: its record .* is not as it was written"):
        load_tensors(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_part_of_a_file_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"x\.pt is no file of tensors, or damaged"):
        load_tensors(path)


def test_a_third_of_zeros_is_refused(path):
    whole = path.read_bytes()
    third = len(whole) // 3
    path.write_bytes(whole[:third] + bytes(third) + whole[2 * third :])
    with pytest.raises(ValueError, match=r"x\.pt"):
        load_tensors(path)


class Malicious:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("how", ["torch", "pickle", "legacy"])
def test_nothing_in_a_file_is_run_and_nobody_is_advised_to(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"program": Malicious()}))
    else:
        torch.save({"program": Malicious()}, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(ValueError, match=r"x\.pt") as refused:
        load_tensors(path)
    error = refused.value
    told = f"{error}{error.__cause__ or ''}"
    assert "weights_only" not in told
    assert "safe_globals" not in told
    assert not (tmp_path / "ran").exists()


def test_what_is_compressed_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"bomb\.pt is compressed"):
        load_tensors(path)


def test_what_is_not_there_is_said_as_ever(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "x.pt")


def test_numbers_of_numpy_are_written_as_pythons(tmp_path):
    content = {"a": [np.float64(0.5), (np.int64(2), np.bool_(True))], np.int64(3): np.str_("x")}
    save_tensors(content, tmp_path / "x.pt")
    found = load_tensors(tmp_path / "x.pt")
    assert found == {"a": [0.5, (2, True)], 3: "x"}
    assert {type(found["a"][0]), type(found["a"][1][0]), *map(type, found)} == {float, int, str}


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"a": [0, np.arange(3)]}, r"its \['a'\]\[1\] is a ndarray"),
        ({"a": {"f": len}}, r"its \['a'\]\['f'\] is a builtin_function_or_method"),
        ({"a": {(1, range(2)): 0}}, r"its \['a'\] key .*\[1\] is a range"),
        (frozenset([1]), r"it is a frozenset"),
    ],
    ids=["array", "function", "key", "whole"],
)
def test_what_would_not_be_read_back_is_refused_before_it_is_written(wrong, what, path):
    before = path.read_bytes()
    with pytest.raises(TypeError, match=rf"x\.pt: {what}, which is not read back; keep tensors"):
        save_tensors(wrong, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["x.pt"]


def test_what_is_as_it_should_be_is_not_made_anew():
    program = torch.nn.Linear(2, 2).state_dict()
    assert readable(program, "x.pt") is program

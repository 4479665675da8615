"""What is kept is read again, whole or not at all."""

import pytest
import torch

from ib_pyro.data.cache import cached, fingerprint, save_atomically


def _never():
    raise AssertionError("made although it was kept")


def test_is_made_once(tmp_path):
    path = tmp_path / "deep" / "folder" / "x.pt"
    x = torch.arange(6)
    assert torch.equal(cached(path, lambda: {"x": x})["x"], x)
    assert torch.equal(cached(path, _never)["x"], x)
    assert [file.name for file in path.parent.iterdir()] == ["x.pt"]


def test_a_damaged_file_is_made_anew(tmp_path):
    path = tmp_path / "x.pt"
    cached(path, lambda: {"x": torch.arange(1000)})
    path.write_bytes(path.read_bytes()[:300])
    with pytest.warns(UserWarning, match="cannot be read"):
        again = cached(path, lambda: {"x": torch.arange(3)})
    assert again["x"].tolist() == [0, 1, 2]
    assert cached(path, _never)["x"].tolist() == [0, 1, 2]


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="pass cache=DIR or set IB_PYRO_CACHE"):
        content = cached(tmp_path / "file" / "x.pt", lambda: {"x": torch.ones(2)})
    assert content["x"].tolist() == [1, 1]


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_atomically({"x": torch.ones(2)}, tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_sees_content_shape_dtype_and_order():
    x = torch.arange(6, dtype=torch.uint8)
    others = [x + 1, x.view(2, 3), x.to(torch.int8), torch.cat([x, x])]
    prints = {
        fingerprint(x),
        fingerprint(x, "a"),
        fingerprint("a", x),
        *(fingerprint(other) for other in others),
    }
    assert len(prints) == 7
    assert fingerprint(x) == fingerprint(x.clone())
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


@pytest.mark.parametrize(
    "other",
    [
        {"y": torch.ones(3)},
        {"x": torch.ones(2)},
        {"x": torch.zeros(3)},
        {"x": "three"},
        [torch.ones(3)],
        torch.ones(3),
    ],
)
def test_a_file_with_something_else_in_it_is_made_anew(tmp_path, other):
    path = tmp_path / "x.pt"
    torch.save(other, path)

    def is_right(content):
        return torch.equal(content["x"], torch.ones(3))

    with pytest.warns(UserWarning, match=r"x\.pt: holds something else than it should; making it anew"):
        content = cached(path, lambda: {"x": torch.ones(3)}, is_right)
    assert torch.equal(content["x"], torch.ones(3))
    assert torch.equal(cached(path, _never, is_right)["x"], torch.ones(3))

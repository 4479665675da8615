"""What is written whole is there or not, whoever fails, is killed or writes too; seen from processes of their own."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ib_pyro import files
from ib_pyro.files import written_whole

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals, limits and permissions of POSIX")


def write(path, text):
    with written_whole(path) as partial:
        partial.write_text(text)


def write_folder(path, text, count=3):
    with written_whole(path) as partial:
        for i in range(count):
            (partial / "deep").mkdir(parents=True, exist_ok=True)
            (partial / "deep" / f"{i}.txt").write_text(text)


def read_folder(path):
    return [file.read_text() for file in sorted((path / "deep").iterdir())]


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def child(code, *arguments):
    """A process that has `written_whole`, and says a line for what it has come to."""
    program = (
        f"import os, sys, time\nfrom pathlib import Path\nfrom ib_pyro.files import written_whole\n{code}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


HALF_WAY = """
with written_whole(Path(sys.argv[1])) as partial:
    partial.write_text("new")
    print("written", flush=True)
    time.sleep(60)
"""


def half_way(path):
    process = child(HALF_WAY, path)
    assert process.stdout.readline() == "written\n"
    return process


def kill(process):
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_file_is_new_and_then_replaced(tmp_path):
    for text in ("one", "two"):
        write(str(tmp_path / "a.txt"), text)
        assert (tmp_path / "a.txt").read_text() == text
        assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_new_and_then_replaced(tmp_path):
    for count in (3, 2):
        write_folder(tmp_path / "a.zarr", "text", count)
        assert read_folder(tmp_path / "a.zarr") == ["text"] * count
        assert names(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("first", [True, False])
def test_whatever_fails_leaves_nothing_but_what_was_there(tmp_path, error, first):
    def half_written(path):
        with written_whole(path) as partial:
            if path.suffix:
                partial.write_text("half")
            else:
                partial.mkdir()
                (partial / "half").write_text("half")
            raise error("stop")

    if not first:
        write(tmp_path / "a.txt", "old")
        write_folder(tmp_path / "folder", "old")
    before = names(tmp_path)
    for path in (tmp_path / "a.txt", tmp_path / "folder"):
        with pytest.raises(error, match="stop"):
            half_written(path)
    assert names(tmp_path) == before
    if not first:
        assert (tmp_path / "a.txt").read_text() == "old"
        assert read_folder(tmp_path / "folder") == ["old"] * 3


@posix
def test_who_is_killed_leaves_the_old_file_and_the_next_tidies_up(tmp_path):
    path = tmp_path / "a.txt"
    write(path, "old")
    kill(half_way(path))
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    write(tmp_path / "a.text", "another file of the same stem")
    assert len(names(tmp_path)) == 3
    write(path, "newer")
    assert path.read_text() == "newer"
    assert names(tmp_path) == ["a.text", "a.txt"]


@posix
def test_who_still_writes_is_left_alone(tmp_path):
    other = half_way(tmp_path / "a.txt")
    try:
        write(tmp_path / "a.txt", "ours")
        assert len(names(tmp_path)) == 2
    finally:
        kill(other)
    write(tmp_path / "a.txt", "ours")
    assert names(tmp_path) == ["a.txt"]


def test_a_process_of_our_number_that_was_killed_is_not_us(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PROCESS", "former")
    left = files._beside(tmp_path / "a.txt", "partial")
    left.mkdir()
    with written_whole(tmp_path / "a.txt") as ours:
        ours.write_text("ours")
        monkeypatch.undo()
        write(tmp_path / "b.txt", "another")
        assert left.exists()
        write(tmp_path / "a.txt", "newer")
        assert not left.exists()
        ours.write_text("ours again")
    assert (tmp_path / "a.txt").read_text() == "ours again"


@posix
@pytest.mark.parametrize("delay", [0.02, 0.05, 0.11])
def test_killed_at_any_moment_the_file_is_whole(tmp_path, delay):
    path = tmp_path / "a.txt"
    code = """
for letter in "abcdefgh" * 1000:
    with written_whole(Path(sys.argv[1])) as partial, partial.open("w") as file:
        for _ in range(50):
            file.write(letter * 4000)
            file.flush()
    print(letter, flush=True)
"""
    process = child(code, path)
    process.stdout.readline()
    time.sleep(delay)
    kill(process)
    text = path.read_text()
    assert text == text[0] * 200_000


@posix
def test_readers_of_several_writers_see_whole_files(tmp_path):
    path = tmp_path / "a.txt"
    code = """
for _ in range(40):
    with written_whole(Path(sys.argv[1])) as partial, partial.open("w") as file:
        for _ in range(10):
            file.write(sys.argv[2] * 2000)
            file.flush()
print("done", flush=True)
"""
    write(path, "0" * 20_000)
    writers = [child(code, path, letter) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        text = path.read_text()
        assert text == text[0] * 20_000
        seen.add(text[0])
    assert [writer.communicate()[0] for writer in writers] == ["done\n"] * 3
    assert path.read_text()[0] in "abc"
    assert names(tmp_path) == ["a.txt"]


def test_several_writers_of_a_folder_all_come_through(tmp_path):
    path, errors = tmp_path / "a.zarr", []

    def many(letter):
        try:
            for _ in range(20):
                write_folder(path, letter)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=many, args=[letter]) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(read_folder(path))) == 1
    assert names(tmp_path) == ["a.zarr"]


def test_a_folder_that_cannot_be_moved_in_leaves_the_old_one(tmp_path, monkeypatch):
    path, replace = tmp_path / "a.zarr", os.replace
    write_folder(path, "old")

    def fails(source, target):
        if ".partial-" in str(source) and not Path(target).exists():
            raise OSError(errno.EIO, "the disk is broken", str(source), None, str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="the disk is broken: '.*/a.zarr'"):
        write_folder(path, "new")
    assert read_folder(path) == ["old"] * 3
    assert names(tmp_path) == ["a.zarr"]


def test_a_file_does_not_replace_a_folder_nor_a_folder_a_file(tmp_path):
    write(tmp_path / "a.txt", "old")
    write_folder(tmp_path / "folder", "old")
    with pytest.raises(OSError, match="folder'$"):
        write(tmp_path / "folder", "new")
    with pytest.raises(OSError, match=r"a\.txt'$"):
        write_folder(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert read_folder(tmp_path / "folder") == ["old"] * 3
    assert names(tmp_path) == ["a.txt", "folder"]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def of(descriptor):
        return "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"

    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append(of(descriptor)), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    write(tmp_path / "a.txt", "text")
    assert done == ["file", "replace", "folder"]
    done.clear()
    write_folder(tmp_path / "folder", "text", 2)
    assert sorted(done[:4]) == ["file", "file", "folder", "folder"]
    assert done[4:] == ["replace", "folder"]


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_a_plain_open(tmp_path, umask):
    former = os.umask(umask)
    try:
        write(tmp_path / "a.txt", "ours")
        (tmp_path / "plain.txt").write_text("plain")
        write_folder(tmp_path / "folder", "ours")
        (tmp_path / "plain").mkdir()
    finally:
        os.umask(former)
    for ours, plain in (("a.txt", "plain.txt"), ("folder", "plain")):
        assert (tmp_path / ours).stat().st_mode == (tmp_path / plain).stat().st_mode


@posix
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    write(tmp_path / "a.txt", "old")
    (tmp_path / "a.txt").chmod(0o640)
    write(tmp_path / "a.txt", "new")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


@posix
def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "there" / "a.txt")
    for text in ("one", "two"):
        write(tmp_path / "link.txt", text)
        assert (tmp_path / "link.txt").is_symlink()
        assert (tmp_path / "there" / "a.txt").read_text() == text
    assert names(tmp_path / "there") == ["a.txt"]


@posix
def test_what_is_no_file_is_refused(tmp_path):
    # Not a device of the machine's: were it replaced, all that runs here would suffer.
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match=f"neither a file nor a folder.*{path}"):
        write(path, "text")
    assert names(tmp_path) == ["pipe"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first: '.*a\.txt'"):
        write(tmp_path / "nowhere" / "a.txt", "text")


@posix
def test_a_folder_or_file_that_is_not_to_be_written_is_named_in_one_line():
    code = """
import shutil, tempfile
folder = Path(tempfile.mkdtemp())
(folder / "open").mkdir()
(folder / "open" / "old.txt").write_text("old")
(folder / "open" / "old.txt").chmod(0o444)
for place in (folder, folder / "open"):
    place.chmod(0o777)
(folder / "closed").mkdir(mode=0o555)
me = os.getuid()
if me == 0:
    os.seteuid(0)
    os.setresuid(65534, 65534, 0)
for path in (folder / "closed" / "a.txt", folder / "open" / "old.txt"):
    try:
        with written_whole(path) as partial:
            partial.write_text("text")
    except PermissionError as error:
        print(str(error).replace(str(folder), "FOLDER"))
print(sorted(os.listdir(folder / "closed")), os.listdir(folder / "open"), (folder / "open" / "old.txt").read_text())
if me == 0:
    os.seteuid(0)
shutil.rmtree(folder)
"""
    process = child(code)
    assert process.communicate()[0].splitlines() == [
        "[Errno 13] FOLDER/closed cannot be written; choose another path: 'FOLDER/closed/a.txt'",
        "[Errno 13] FOLDER/open/old.txt cannot be written; choose another path: 'FOLDER/open/old.txt'",
        "[] ['old.txt'] old",
    ]


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
path = Path(sys.argv[1])
try:
    with written_whole(path) as partial:
        {write}
except OSError as error:
    print(error)
    print(sorted(os.listdir(path.parent)))
"""
WRITERS = {
    "text": "partial.write_text('x' * 20_000)",
    "tensors": "import torch\n        with partial.open('wb') as file: torch.save(torch.ones(9_000), file)",
    "folder": "partial.mkdir(); (partial / 'a').write_text('x'); (partial / 'b').write_text('x' * 20_000)",
}


@posix
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_an_error_about_the_path_and_leaves_the_old(tmp_path, writer):
    path = tmp_path / "a.pt"
    write(path, "old")
    process = child(FULL.format(write=WRITERS[writer]), path)
    said, left = process.communicate()[0].splitlines()
    assert said == f"[Errno {errno.EFBIG}] File too large: '{path}'"
    assert left == "['a.pt']"
    assert path.read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_without_room_is_named_by_the_path(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'") as caught:
        with written_whole(tmp_path / "a.txt"), open("/dev/full", "w") as file:
            file.write("x")
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_an_error_about_something_else_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'.*data\.bin'"):
        with written_whole(tmp_path / "a.txt"):
            (tmp_path / "data.bin").read_bytes()
    with pytest.raises(ConnectionResetError, match=r"reset$"):
        with written_whole(tmp_path / "a.txt"):
            raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_an_error_of_a_library_names_the_path(tmp_path):
    with pytest.raises(OSError, match=r"unable to open '.*/a\.nc'"):
        with written_whole(tmp_path / "a.nc") as partial:
            raise OSError(f"unable to open '{partial}'")


@pytest.mark.parametrize("name", ["a.txt", "a", ".hidden", "a.tar.gz", "é" * 110 + ".txt", "a b'c\n.nc"])
def test_the_temporary_name_is_hidden_of_the_same_suffix_and_never_too_long(tmp_path, name):
    with written_whole(tmp_path / name) as partial:
        assert partial.parent == tmp_path
        assert partial.name.endswith(Path(name).suffix)
        assert partial.name.startswith(".")
        partial.write_text("text")
    assert names(tmp_path) == [name]

"""Local copies: fetched once, again when the object changes, whole or not at all, and the user's to delete."""

import multiprocessing
import os
import shutil

import pytest

from keras_a2i.errors import AddressNotFoundError, RemoteError
from keras_a2i.remote import copies, store
from keras_a2i.remote.address import as_location


@pytest.fixture
def folder(memory):
    address = as_location(memory) / "run"
    for name in ("config.json", "parts/a.bin", "state/s.npz"):
        store.write_bytes(address / name, name.encode())
    return address


@pytest.fixture
def fetches(monkeypatch):
    names, fetch = [], store.fetch

    def counted(address, target):
        names.append(address.name)
        fetch(address, target)

    monkeypatch.setattr(copies, "fetch", counted)
    return names


def test_folder_is_copied_once_without_what_isn_t_wanted(folder, fetches):
    path = copies.local_copy(folder, lambda name: not name.startswith("state/"))
    assert path.name == "run" and sorted(fetches) == ["a.bin", "config.json"]
    assert (path / "parts" / "a.bin").read_bytes() == b"parts/a.bin" and not (path / "state").exists()
    assert copies.local_copy(folder, lambda name: not name.startswith("state/")) == path and len(fetches) == 2


def test_changed_object_alone_is_fetched_again(folder, fetches):
    path = copies.local_copy(folder)
    fetches.clear()
    store.write_bytes(folder / "config.json", b"CONFIG.JSON")
    assert (copies.local_copy(folder) / "config.json").read_bytes() == b"CONFIG.JSON"
    assert fetches == ["config.json"] and path == copies.local_copy(folder)


def test_object_that_is_gone_leaves_the_copy(folder):
    path = copies.local_copy(folder)
    store.remove([folder / "parts/a.bin"])
    copies.local_copy(folder)
    assert (path / "config.json").is_file() and not (path / "parts" / "a.bin").exists()


def test_file_that_another_process_fetches_is_left_alone(folder):
    path = copies.local_copy(folder)
    part = path / "parts" / ".b.bin.1234.part"
    part.write_bytes(b"half")
    copies.local_copy(folder)
    assert part.read_bytes() == b"half"


def test_file_has_its_name(folder):
    path = copies.local_copy(folder / "parts/a.bin")
    assert (path.name, path.read_bytes()) == ("a.bin", b"parts/a.bin")


def test_copy_that_was_damaged_or_deleted_is_fetched_again(folder, cache, fetches):
    path = copies.local_copy(folder / "config.json")
    path.write_bytes(b"")
    assert copies.local_copy(folder / "config.json").read_bytes() == b"config.json"
    shutil.rmtree(cache)
    assert copies.local_copy(folder / "config.json").read_bytes() == b"config.json" and len(fetches) == 3


def test_fetch_that_breaks_off_leaves_no_copy(folder, monkeypatch):
    path = copies.local_copy(folder / "config.json")
    store.write_bytes(folder / "config.json", b"new")

    def break_off(address, target):
        raise RemoteError("broken off")

    with monkeypatch.context() as patch, pytest.raises(RemoteError, match="broken off"):
        patch.setattr(copies, "fetch", break_off)
        copies.local_copy(folder / "config.json")
    assert path.read_bytes() == b"config.json"
    assert copies.local_copy(folder / "config.json").read_bytes() == b"new"


def test_nothing_to_copy(folder):
    with pytest.raises(AddressNotFoundError, match=rf"Received: {folder}/nothing, where nothing is\."):
        copies.local_copy(folder / "nothing")


def test_temporary_copy_is_deleted_after_use(folder, cache):
    with copies.fetched(folder / "parts/a.bin") as path:
        assert path.name == "a.bin" and path.read_bytes() == b"parts/a.bin"
    assert not path.exists() and not list((cache / "temporary").iterdir())


@pytest.mark.skipif(os.name != "posix", reason="other systems don't tell without a signal whether a process runs")
def test_temporary_copies_of_killed_processes_are_deleted_and_others_kept(folder, cache):
    with copies.temporary_folder() as own:
        dead = multiprocessing.get_context("spawn").Process(target=int)
        dead.start()
        dead.join()
        left = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
        other = own.with_name(f"of-another-machine-{dead.pid}-x")
        for path in (left, other):
            path.mkdir()
            (path / "a.mp4").write_bytes(b"1")
        with copies.temporary_folder():
            assert own.is_dir() and other.is_dir() and not left.exists()

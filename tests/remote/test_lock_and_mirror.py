"""One writer at a time in a folder of a store, and a local folder whose finished files are uploaded to it."""

import os

import pytest

from keras_a2i.errors import LockedError, RemoteError, TrainingInterrupted
from keras_a2i.remote import mirror, store
from keras_a2i.remote.address import as_location
from keras_a2i.remote.lock import store_lock
from keras_a2i.remote.mirror import Mirror, UploadWarning


@pytest.fixture
def folder(memory):
    return as_location(memory) / "run"


@pytest.fixture
def uploads(monkeypatch):
    """The names of uploaded files; an upload of a name in `uploads.failing` fails."""

    class Uploads(list):
        failing = ()

    uploads, upload = Uploads(), store.upload

    def counted(file, address):
        if address.name in uploads.failing:
            raise RemoteError(f"no network for {address}")
        uploads.append(address.name)
        upload(file, address)

    monkeypatch.setattr(mirror, "upload", counted)
    return uploads


def refused(folder):
    return pytest.raises(
        LockedError,
        match=rf"Only one process at a time may write into a folder\. Received: {folder}, which process {os.getpid()} "
        rf"on .+ has been writing since 20.+\. Wait until it has finished, or choose another folder\. If it was "
        rf"killed, delete the object {folder}/\.lock",
    )


def test_second_writer_is_refused_and_told_how_a_dead_one_is_removed(folder):
    with store_lock(folder):
        with refused(folder), store_lock(folder):
            pass
        assert set(store.list_objects(folder)) == {".lock"}
    assert store.list_objects(folder) == {}
    with store_lock(folder):
        pass


def test_second_writer_is_refused_by_a_server_of_s3(bucket):
    folder = as_location(bucket.address) / "run"
    with store_lock(folder), refused(folder), store_lock(folder):
        pass
    assert bucket.keys() == []


def test_lock_is_released_after_an_error_and_another_s_isn_t(folder):
    with pytest.raises(ValueError, match="own"), store_lock(folder):
        raise ValueError("own")
    assert store.list_objects(folder) == {}
    with store_lock(folder):
        store.write_bytes(folder / ".lock", b'{"token": "of another"}')
    assert set(store.list_objects(folder)) == {".lock"}


def test_of_two_that_create_the_lock_at_once_one_goes_on(folder, monkeypatch):
    """In a store that can't create an object in one step."""
    create = store.create

    def overtaken(address, data):
        create(address, data)
        store.write_bytes(address, b'{"token": "other", "process": 7, "machine": "m", "time": "t"}')
        return True

    monkeypatch.setattr("keras_a2i.remote.lock.create", overtaken)
    with pytest.raises(LockedError, match="process 7 on m has been writing since t"), store_lock(folder):
        pass


def test_lock_whose_answer_was_lost_is_its_own(folder, monkeypatch):
    """A request that is repeated finds the object that it has created."""
    create = store.create
    monkeypatch.setattr("keras_a2i.remote.lock.create", lambda address, data: create(address, data) and False)
    with store_lock(folder) as token:
        assert token in store.read_bytes(folder / ".lock").decode()
    assert store.list_objects(folder) == {}


def test_lock_is_released_for_a_process_that_is_ended(folder):
    opened = Mirror(folder)
    with opened.opened():
        opened.release()
        assert ".lock" not in store.list_objects(folder)


def test_changed_files_are_uploaded_in_order_and_others_left_alone(folder, uploads):
    copy = Mirror(folder, last=("model", "config"), skipped=("state/old",))
    with copy.opened():
        for name in ("config", "model", "z.csv", ".hidden", "v.tmp.npz", "a.tmp", "state/old", "state/new"):
            (copy.folder / name).parent.mkdir(exist_ok=True)
            (copy.folder / name).write_text(name)
        copy.push()
        assert uploads == ["new", "z.csv", "model", "config"]
        (copy.folder / "z.csv").write_text("longer")
        copy.push()
        assert uploads[4:] == ["z.csv"]
        (copy.folder / "state/new").unlink()
    assert set(store.list_objects(folder)) == {"config", "model", "z.csv"}
    assert store.read_bytes(folder / "z.csv") == b"longer" and not copy.folder.exists()


def test_fetched_files_aren_t_uploaded_again(folder, uploads):
    for name in ("config", "state/new", "state/old"):
        store.write_bytes(folder / name, name.encode())
    copy = Mirror(folder, skipped=("state/old",))
    with copy.opened():
        copy.pull()
        assert (copy.folder / "state/new").read_text() == "state/new" and not (copy.folder / "state/old").exists()
    assert uploads == [] and set(store.list_objects(folder)) == {"config", "state/new", "state/old"}


def test_named_objects_and_folders_are_removed(folder):
    for name in ("config", "state/new", "samples/a.png", "report.html"):
        store.write_bytes(folder / name, b"1")
    copy = Mirror(folder)
    with copy.opened():
        copy.remove(["state/", "samples/", "config"])
    assert set(store.list_objects(folder)) == {"report.html"}


def test_upload_that_fails_in_the_middle_is_tried_again(folder, uploads):
    copy = Mirror(folder)
    with copy.opened():
        (copy.folder / "state").write_text("1")
        uploads.failing = ("state",)
        with pytest.warns(UploadWarning, match=rf"no network for {folder}/state\. The work continues and uploads"):
            copy.push(required=False)
        uploads.failing = ()
    assert store.read_bytes(folder / "state") == b"1"


def test_what_can_t_be_uploaded_at_the_end_is_kept_and_named(folder, uploads):
    copy = Mirror(folder, last=("model",))
    uploads.failing = ("model",)
    with pytest.raises(RemoteError) as raised, copy.opened():
        (copy.folder / "a").write_text("1")
        (copy.folder / "model").write_text("2")
    assert f"What couldn't be uploaded is kept in {copy.folder}: copy it to the store" in str(raised.value)
    assert (copy.folder / "model").read_text() == "2"
    # The lock is gone, and what was finished before is there.
    assert set(store.list_objects(folder)) == {"a"}


def test_last_upload_that_ctrl_c_stops_says_where_the_rest_is(folder, monkeypatch):
    def interrupt(file, address):
        raise KeyboardInterrupt

    copy = Mirror(folder)
    monkeypatch.setattr(mirror, "upload", interrupt)
    message = rf"The upload to {folder} was stopped\. What wasn't uploaded is kept in {copy.folder}: copy it"
    with pytest.raises(TrainingInterrupted, match=message), copy.opened():
        (copy.folder / "model").write_text("2")
    assert (copy.folder / "model").read_text() == "2" and store.list_objects(folder) == {}

"""What is done with an address, and every error of a store as one sentence."""

import contextlib
import errno
import functools
import sys

import pytest

from keras_a2i.errors import AddressNotFoundError, MissingPackageError, RemoteError, UsageError
from keras_a2i.remote import store
from keras_a2i.remote.address import Address, as_location


@pytest.fixture
def folder(memory):
    return as_location(memory)


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


def fail_memory(monkeypatch, method, error):
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, method, raising(error))


def test_objects_are_listed_by_their_relative_names_with_sizes(folder):
    for name in ("b.txt", "a/c.txt", "a/.hidden"):
        store.write_bytes(folder / name, name.encode())
    found = store.list_objects(folder)
    assert {name: stored.size for name, stored in found.items()} == {"a/.hidden": 9, "a/c.txt": 7, "b.txt": 5}
    assert store.list_names(folder) == {"a", "b.txt"}
    assert store.list_objects(folder / "nothing") == {} and store.list_names(folder / "nothing") == set()
    assert [store.find_kind(folder / name) for name in ("a", "b.txt", "nothing")] == ["folder", "file", ""]


@pytest.mark.parametrize("name", ["../a", "a/../b", "a//b", "/a", ".", ""])
def test_names_that_leave_a_folder_are_left_out(name):
    assert not store.is_plain(name)


def test_names_with_signs_are_those_of_files(bucket, tmp_path, monkeypatch):
    names = {"12:30.mp4", "a::b.mp4", r"a\b.mp4", "b/what?.mp4", "b/st*r.mp4", "100%#.mp4"}
    folder = as_location(bucket.address) / "videos"
    for name in names:
        bucket.client.put_object(Bucket=bucket.name, Key=f"videos/{name}", Body=name.encode())
    assert set(store.list_objects(folder)) == names
    for name in names:
        assert store.find_kind(folder / name) == "file" and store.read_bytes(folder / name) == name.encode()
        store.fetch(folder / name, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == name.encode()
    monkeypatch.setattr(store, "_RESERVED", "\\:")
    assert set(store.list_objects(folder)) == {"b/what?.mp4", "b/st*r.mp4", "100%#.mp4"}


def test_version_changes_with_the_content(folder):
    store.write_bytes(folder / "a", b"one")
    first = store.stat(folder / "a")
    assert store.stat(folder / "a") == first
    store.write_bytes(folder / "a", b"two")
    assert store.stat(folder / "a") != first


def test_objects_are_moved_and_removed(folder):
    store.write_bytes(folder / "a", b"one")
    store.move(folder / "a", folder / "x/b")
    assert store.read_bytes(folder / "x/b") == b"one" and set(store.list_objects(folder)) == {"x/b"}
    store.remove([folder / "x/b", folder / "nothing"])
    assert store.list_objects(folder) == {}


def test_transfers_are_told_to_who_listens(folder, tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    told = []
    with store.transfers_told(lambda *values: told.append(values)):
        store.upload(tmp_path / "a", folder / "a")
    store.upload(tmp_path / "a", folder / "b")
    assert told[-1] == ("uploading", folder / "a", 5, 5) and {values[1] for values in told} == {folder / "a"}


def test_fetched_file_appears_when_it_is_whole(folder, tmp_path, monkeypatch):
    store.write_bytes(folder / "a", b"12345")
    store.fetch(folder / "a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"12345"

    def break_off(self, path, target, callback):
        callback.set_size(5)
        with open(target, "wb") as file:  # noqa: PTH123
            file.write(b"12")

    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "get_file", break_off)
    with pytest.raises(RemoteError, match=rf"An object must arrive whole\. Received: 2 of 5 bytes of {folder}/a\. Run"):
        store.fetch(folder / "a", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_at_an_address(folder, tmp_path):
    message = rf"An address must be that of something stored\. Received: {folder}/a, where nothing is\. Check the"
    for call in (store.stat, store.read_bytes, lambda address: store.fetch(address, tmp_path / "a")):
        with pytest.raises(AddressNotFoundError, match=message):
            call(folder / "a")


def test_bucket_that_doesn_t_exist(server, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    address = as_location("s3://no-such-bucket/a")
    message = (
        r"The bucket of an address must exist and be visible to your account\. Received: s3://no-such-bucket/a, whose "
        r"bucket s3://no-such-bucket can't be found\. Check its name, the credentials and the endpoint"
    )
    write = functools.partial(store.upload, tmp_path / "a")
    for call in (write, store.find_kind, store.list_objects, store.list_names, store.stat, store.read_bytes):
        with pytest.raises(RemoteError, match=message) as raised:
            call(address)
        # Callers take an address where nothing is for one that may be written to.
        assert not isinstance(raised.value, AddressNotFoundError)


def test_bucket_of_which_the_account_sees_a_folder_alone_counts_as_one(bucket, monkeypatch):
    from s3fs import S3FileSystem

    call = S3FileSystem._call_s3

    async def refuse(self, method, *args, **kwargs):
        if method == "head_bucket":
            raise PermissionError("Forbidden")
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", refuse)
    folder = as_location(f"{bucket.address}/folder")
    assert store.find_kind(folder) == "" and store.list_objects(folder) == {} and store.list_names(folder) == set()


def test_a_store_that_can_t_be_opened_for_a_missing_file_says_so_in_one_sentence(monkeypatch):
    """As gcsfs where the file of its token doesn't exist."""
    registry = pytest.importorskip("fsspec.registry")
    from fsspec.implementations.memory import MemoryFileSystem

    class Closed(MemoryFileSystem):
        protocol, cachable = "gs", False

        def __init__(self, **options):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "token.json")

    monkeypatch.setitem(registry._registry, "gs", Closed)
    message = (
        r"The store must answer\. Received: an error of gs://bucket/records \(.*No such file or directory: "
        r"'token.json'\)\. Check network, credentials and endpoint"
    )
    address = as_location("gs://bucket/records")
    for call in (store.find_kind, store.stat, functools.partial(store.write_bytes, data=b"")):
        with pytest.raises(RemoteError, match=message) as raised:
            call(address)
        assert not isinstance(raised.value, AddressNotFoundError)


def test_a_bucket_of_gcs_is_asked_for_with_one_result_and_remembered_only_after_an_answer(monkeypatch):
    registry = pytest.importorskip("fsspec.registry")
    from fsspec.spec import AbstractFileSystem

    asked, answers = [], [ConnectionResetError("reset"), PermissionError("Forbidden"), FileNotFoundError("gone")]

    class Bucket(AbstractFileSystem):
        protocol, cachable = "gs", False

        def info(self, path, **options):
            raise FileNotFoundError(path)

        def ls(self, path, **options):
            asked.append((path, options))
            raise answers.pop(0)

    monkeypatch.setitem(registry._registry, "gs", Bucket)
    monkeypatch.setattr(store, "_known_buckets", set())
    # After the failure of the network it is asked again, after the refusal it isn't.
    assert [store.find_kind(as_location(f"gs://bucket/{name}")) for name in "abc"] == ["", "", ""]
    assert asked == [("bucket", {"max_results": 1})] * 2
    with pytest.raises(RemoteError, match="whose bucket gs://another can't be found"):
        store.find_kind(as_location("gs://another/a"))


def test_refused_access_names_the_credentials(folder, monkeypatch):
    fail_memory(monkeypatch, "cat_file", PermissionError("Access Denied."))
    message = (
        rf"Your account must be allowed to read an address\. Received: {folder}/a \(Access Denied\)\. Check the "
        "credentials, such as AWS_PROFILE for s3://, and the rights of the account"
    )
    with pytest.raises(RemoteError, match=message):
        store.read_bytes(folder / "a")
    fail_memory(monkeypatch, "pipe_file", PermissionError("Access Denied."))
    with pytest.raises(RemoteError, match="must be allowed to write to an address"):
        store.write_bytes(folder / "a", b"")


def test_failing_network_says_what_to_do(folder, monkeypatch):
    fail_memory(monkeypatch, "cat_file", ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    message = (
        rf"The store must answer\. Received: an error of {folder}/a \(.*Connection reset by peer\)\. Check network, "
        "credentials and endpoint before you try again"
    )
    with pytest.raises(RemoteError, match=message):
        store.read_bytes(folder / "a")


def test_errors_of_the_packages_of_stores_are_translated(folder, monkeypatch):
    exceptions = pytest.importorskip("botocore.exceptions")
    fail_memory(monkeypatch, "pipe_file", exceptions.EndpointConnectionError(endpoint_url="http://host"))
    message = r"The store must take what is written\. Received: an error of .*Could not connect to the endpoint"
    with pytest.raises(RemoteError, match=message):
        store.write_bytes(folder / "a", b"")
    fail_memory(monkeypatch, "cat_file", exceptions.NoCredentialsError())
    with pytest.raises(RemoteError, match="Unable to locate credentials"):
        store.read_bytes(folder / "a")


def test_full_disk_is_no_error_of_the_store(folder, tmp_path, monkeypatch):
    store.write_bytes(folder / "a", b"1")
    fail_memory(monkeypatch, "get_file", OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left") as raised:
        store.fetch(folder / "a", tmp_path / "a")
    assert raised.value.filename == str(tmp_path / "a")


def test_reader_that_hides_a_failing_store_doesn_t_end_as_a_damaged_file(folder, monkeypatch):
    """A reader in C may take an error of the network for the end of a file."""
    from fsspec.implementations.memory import MemoryFile

    store.write_bytes(folder / "a", b"12345")
    monkeypatch.setattr(MemoryFile, "read", raising(ConnectionResetError("reset")))
    with pytest.raises(RemoteError, match="reset"), store.opened(folder / "a") as file:
        try:
            file.read(2)
        except RemoteError:
            raise ValueError("damaged file") from None
    hidden = contextlib.suppress(RemoteError)
    with pytest.raises(RemoteError, match="reset"), store.opened(folder / "a") as file, hidden:
        file.read(2)


@pytest.mark.parametrize(
    ("missing", "address", "message"),
    [
        ("fsspec", "s3://b/a", r'Using s3:// addresses needs the package fsspec, .* pip install "keras-a2i\[remote\]"'),
        ("s3fs", "s3://b/a", r'Using s3:// addresses needs the package s3fs, .* pip install "keras-a2i\[remote\]"'),
        ("gcsfs", "gs://b/a", r"Using gs:// addresses needs the package gcsfs, .* with: pip install gcsfs$"),
        ("huggingface_hub", "hf://b/a", r'needs the package huggingface_hub, .* pip install "keras-a2i\[hub\]"'),
    ],
)
def test_missing_package_is_named_with_what_installs_it(missing, address, message, monkeypatch):
    if missing != "fsspec":
        registry = pytest.importorskip("fsspec.registry")
        monkeypatch.delitem(registry._registry, address.partition(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingPackageError, match=message):
        store.find_kind(as_location(address))


def test_unknown_store_is_refused(memory):
    message = r"An address must be one of a store that fsspec knows, such as s3://, gs:// or hf://\. Received: zz://b/a"
    with pytest.raises(UsageError, match=message):
        store.find_kind(Address("zz", "b/a"))


@pytest.mark.parametrize(("number", "written"), [(errno.ENOSYS, True), (errno.EINVAL, False), (errno.EIO, None)])
def test_server_that_cannot_create_in_one_step(folder, monkeypatch, number, written):
    """ENOSYS is what s3fs makes of "not implemented", EINVAL of a condition that isn't met."""
    files = store._open(folder)[0]
    pipe = type(files).pipe_file

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if mode != "create":
            return pipe(self, path, value, mode=mode, **kwargs)
        if number == errno.EINVAL:
            pipe(self, path, b"of another")
        raise OSError(number, "refused")

    monkeypatch.setattr(type(files), "pipe_file", pipe_file)
    if written is None:
        with pytest.raises((OSError, RemoteError)):
            store.create(folder / "new", b"own")
        return
    assert store.create(folder / "new", b"own") is written
    assert store.read_bytes(folder / "new") == (b"own" if written else b"of another")

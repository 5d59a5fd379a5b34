"""What is done with an address: list, fetch, upload, move, remove; errors of stores become sentences.

Credentials and endpoints are those that the stores' own packages find, such as AWS_PROFILE and AWS_ENDPOINT_URL, or the
variables of fsspec (FSSPEC_S3_ANON=true reads public buckets without credentials).
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from keras_a2i.errors import AddressNotFoundError, MissingPackageError, RemoteError, UsageError
from keras_a2i.media.durable import naming_output
from keras_a2i.remote.address import Address

Transfer = Callable[[str, Address, int, int], None]
"""Called with "fetching" or "uploading", the address, the bytes done and the bytes of all."""

_PACKAGES = {
    "s3": ("s3fs", "remote"),
    "s3a": ("s3fs", "remote"),
    "gs": ("gcsfs", ""),
    "gcs": ("gcsfs", ""),
    "hf": ("huggingface_hub", "hub"),
    "az": ("adlfs", ""),
    "abfs": ("adlfs", ""),
}
# What raises a FileNotFoundError only where there is no bucket, with its arguments. Other stores make the folders that
# are written to. gcsfs' info takes an empty bucket for none where the account may only list its objects; its ls lists
# all pages of a bucket unless it is limited.
_INFO: tuple[str, dict[str, Any]] = ("info", {})
_LIST_ONE: tuple[str, dict[str, Any]] = ("ls", {"max_results": 1})
_BUCKET_PROBES = {"s3": _INFO, "s3a": _INFO, "az": _INFO, "abfs": _INFO, "gs": _LIST_ONE, "gcs": _LIST_ONE}
# Names of what changes with the content of an object, in the answers of different stores.
_VERSIONS = ("ETag", "etag", "md5Hash", "blob_id", "mtime", "updated", "LastModified", "last_modified", "created")
_FAILURES = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("httpx", "HTTPError"),
    ("httpx2", "HTTPError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)
# Errors of the disk that a file is fetched to.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_BLOCK = 1 << 18
# What separates folders and names drives on Windows, and is a character like any other elsewhere.
_RESERVED = "\\:" if os.name == "nt" else ""

_listeners: list[Transfer] = []
_known_buckets: set[str] = set()


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """An object: its size in bytes, and a text that changes with its content."""

    size: int
    version: str


@contextlib.contextmanager
def transfers_told(listener: Transfer) -> Iterator[None]:
    """Has a function called for every part of a file that this process fetches or uploads."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def find_kind(address: Address) -> str:
    """Returns "file" or "folder", and "" where nothing is; a bucket is a folder.

    Raises:
        RemoteError: if the store can't be asked, or there is no such bucket.
    """
    files, path = _open(address)
    with _store_errors(address), contextlib.suppress(FileNotFoundError):
        return "file" if files.info(path)["type"] == "file" else "folder"
    _check_bucket(address)
    return ""


def stat(address: Address) -> Stored:
    """Returns size and version of an object.

    Raises:
        AddressNotFoundError: if there is none.
        RemoteError: if the store can't be asked.
    """
    files, path = _open(address)
    with _store_errors(address):
        return _stored(files.info(path))


def list_objects(folder: Address) -> dict[str, Stored]:
    """Returns all objects below a folder by their names relative to it, sorted; {} where nothing is.

    Names that no file of a folder can have, with an empty part or "..", on Windows also a colon, are left out.

    Raises:
        RemoteError: if the store can't be asked, or there is no such bucket.
    """
    files, path = _open(folder)
    found: dict[str, dict[str, Any]] = {}
    with _store_errors(folder), contextlib.suppress(FileNotFoundError):
        found = files.find(path, detail=True)
    if not found:
        _check_bucket(folder)
    root = path.rstrip("/") + "/"
    named = ((name.removeprefix(root), info) for name, info in found.items() if name.startswith(root))
    return {name: _stored(info) for name, info in sorted(named) if is_plain(name)}


def is_plain(name: str) -> bool:
    """Whether a relative name is that of a file within its folder on this system."""
    return not set(_RESERVED) & set(name) and not {"", ".", ".."} & set(name.split("/"))


def list_names(folder: Address) -> set[str]:
    """Returns the names of objects and folders in a folder; an empty set where nothing is.

    Raises:
        RemoteError: if the store can't be asked, or there is no such bucket.
    """
    files, path = _open(folder)
    found: list[str] = []
    with _store_errors(folder), contextlib.suppress(FileNotFoundError):
        found = files.ls(path, detail=False)
    if not found:
        _check_bucket(folder)
    return {name.rstrip("/").rpartition("/")[2] for name in found if name.rstrip("/") != path.rstrip("/")}


def fetch(address: Address, target: pathlib.Path) -> None:
    """Fetches an object into a file, which appears when it is complete.

    Raises:
        AddressNotFoundError: if there is no object.
        RemoteError: if the store can't be read, or the connection breaks off.
        OSError: if the disk is full; it names `target`.
    """
    files, path = _open(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        callback = _callback("fetching", address)
        with naming_output(target, part), _store_errors(address):
            files.get_file(path, str(part), callback=callback)
        arrived, size = part.stat().st_size, callback.size
        if size is not None and arrived != size:
            raise RemoteError(
                f"An object must arrive whole. Received: {arrived:,} of {size:,} bytes of {address}. Run the same "
                "command again"
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def upload(file: pathlib.Path, address: Address) -> None:
    """Writes a file as an object, which appears when it is complete.

    Raises:
        RemoteError: if the store can't be written to.
    """
    files, path = _open(address)
    with _store_errors(address, writing=True):
        files.put_file(str(file), path, callback=_callback("uploading", address))


def read_bytes(address: Address) -> bytes:
    """Returns the content of a small object.

    Raises:
        AddressNotFoundError: if there is none.
        RemoteError: if the store can't be read.
    """
    files, path = _open(address)
    with _store_errors(address):
        return files.cat_file(path)


def write_bytes(address: Address, data: bytes) -> None:
    """Writes a small object.

    Raises:
        RemoteError: if the store can't be written to.
    """
    files, path = _open(address)
    with _store_errors(address, writing=True):
        files.pipe_file(path, data)


def create(address: Address, data: bytes) -> bool:
    """Writes an object unless there is one; returns whether it was written.

    S3, Google Cloud Storage and recent servers of the S3 protocol do both in one step; elsewhere two processes may
    write at the same moment.

    Raises:
        RemoteError: if the store can't be written to.
    """
    files, path = _open(address)
    with _store_errors(address, writing=True):
        if files.exists(path):
            return False
        try:
            files.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except (NotImplementedError, TypeError):
            # A store that can't create an object in one step.
            files.pipe_file(path, data)
        except OSError as error:
            # So s3fs says that a server can't, and that the condition isn't met.
            if error.errno == errno.EINVAL and files.exists(path):
                return False
            if error.errno != errno.ENOSYS:
                raise
            files.pipe_file(path, data)
    return True


def move(source: Address, target: Address) -> None:
    """Renames an object within a store, which copies it there, and removes the source afterwards.

    Raises:
        AddressNotFoundError: if there is no source.
        RemoteError: if the store can't be written to.
    """
    files, path = _open(source)
    with _store_errors(source, writing=True):
        files.cp_file(path, _open(target)[1])
        files.rm_file(path)


def remove(addresses: Iterable[Address]) -> None:
    """Removes objects; those that don't exist are passed over.

    Raises:
        RemoteError: if the store can't be written to.
    """
    for address in addresses:
        files, path = _open(address)
        with _store_errors(address, writing=True), contextlib.suppress(FileNotFoundError):
            files.rm_file(path)


class _RemoteFile:
    """A file of a store for a reader in C, which keeps the error of the store that the reader may hide."""

    def __init__(self, file: Any, address: Address):
        self.file, self._address = file, address
        self.failure: RemoteError | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            with _store_errors(self._address):
                return self.file.read(size)
        except RemoteError as error:
            self.failure = error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextlib.contextmanager
def opened(address: Address) -> Iterator[Any]:
    """Opens an object for reading at any place, of which only the parts that are read are fetched.

    Yields:
        A binary file.

    Raises:
        AddressNotFoundError: if there is no object.
        RemoteError: if the store can't be read, also where the reader of the file took it for a damaged one.
    """
    files, path = _open(address)
    with _store_errors(address):
        file = _RemoteFile(files.open(path, "rb", block_size=_BLOCK), address)
    try:
        yield file
    except Exception:
        if file.failure is not None:
            raise file.failure from None
        raise
    finally:
        file.file.close()
    if file.failure is not None:
        raise file.failure


def _open(address: Address) -> tuple[Any, str]:
    """The file system of fsspec and the path within it."""
    try:
        import fsspec
    except ImportError:
        raise MissingPackageError("fsspec", "remote", f"Using {address.scheme}:// addresses") from None
    package, extra = _PACKAGES.get(address.scheme, ("", ""))
    with _store_errors(address, opening=True):
        try:
            # Other processes write into the same folders: a listing is never kept. fsspec takes "::" in a name for a
            # chain of stores, hence the bucket alone.
            files, _ = fsspec.core.url_to_fs(address.bucket, use_listings_cache=False)
            return files, files._strip_protocol(str(address))
        except ImportError as error:
            if not package:
                raise RemoteError(f"{address.scheme}:// addresses need another package: {error}") from None
            purpose = f"Using {address.scheme}:// addresses"
            command = "" if extra else f"pip install {package}"
            raise MissingPackageError(package, extra or None, purpose, command=command) from None
        except ValueError as error:
            raise UsageError(
                f"An address must be one of a store that fsspec knows, such as s3://, gs:// or hf://. Received: "
                f"{address} ({error})"
            ) from None


def _stored(info: dict[str, Any]) -> Stored:
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return Stored(int(info.get("size") or 0), version.strip('"'))


def _callback(verb: str, address: Address) -> Any:
    """An object that tells the listeners; its `size` is that of the file as soon as the store has said it."""
    import fsspec.callbacks

    def tell(size: int | None, done: int, **_: object) -> None:
        for listener in _listeners:
            listener(verb, address, done, size or 0)

    return fsspec.callbacks.Callback(hooks={"tell": tell})


@contextlib.contextmanager
def _store_errors(address: Address, *, writing: bool = False, opening: bool = False) -> Iterator[None]:
    """Turns what the packages of stores raise into a RemoteError that names the address."""
    try:
        yield
    except FileNotFoundError as error:
        if opening:
            # A file of credentials is missing, for instance; the store hasn't been asked for anything yet.
            raise _no_answer(address, "answer", error) from error
        _check_bucket(address)
        what = "The bucket of an address must exist" if writing else "An address must be that of something stored"
        raise AddressNotFoundError(f"{what}. Received: {address}, where nothing is. Check the address") from error
    except PermissionError as error:
        action = "write to" if writing else "read"
        raise RemoteError(
            f"Your account must be allowed to {action} an address. Received: {address} ({_reason(error)}). Check the "
            "credentials, such as AWS_PROFILE for s3://, and the rights of the account"
        ) from error
    except _failures() as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise _no_answer(address, "take what is written" if writing else "answer", error) from error


def _no_answer(address: Address, action: str, error: Exception) -> RemoteError:
    return RemoteError(
        f"The store must {action}. Received: an error of {address} ({_reason(error)}). Check network, credentials and "
        "endpoint before you try again"
    )


def _check_bucket(address: Address) -> None:
    """Raises a RemoteError if nothing is at an address because the store has no such bucket."""
    probe = _BUCKET_PROBES.get(address.scheme)
    if probe is None or address.bucket in _known_buckets:
        return
    method, arguments = probe
    files, path = _open(address)
    try:
        getattr(files, method)(path.partition("/")[0], **arguments)
    except FileNotFoundError as error:
        raise RemoteError(
            f"The bucket of an address must exist and be visible to your account. Received: {address}, whose bucket "
            f"{address.bucket} can't be found. Check its name, the credentials and the endpoint of the store"
        ) from error
    except PermissionError:
        # Who may read a folder isn't always allowed to ask for its bucket.
        pass
    except _failures():
        # It may be a failure of the network, after which the next call asks again.
        return
    _known_buckets.add(address.bucket)


def _failures() -> tuple[type[Exception], ...]:
    """The errors of the packages that have been imported; only these can have been raised."""
    loaded = [(sys.modules[module], name) for module, name in _FAILURES if module in sys.modules]
    return (OSError, TimeoutError, *(getattr(module, name) for module, name in loaded))


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")

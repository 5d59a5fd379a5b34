"""Local copies of what lies in an object store, in a folder that the user may delete at any time but for `outgoing`.

A copy is fetched again when the object has another version (its ETag, else its size and time), and appears when it is
complete. Copies stay until the user deletes the folder.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator

from keras_a2i.cache_folder import cache_folder
from keras_a2i.errors import AddressNotFoundError
from keras_a2i.remote.address import Address
from keras_a2i.remote.store import Stored, fetch, find_kind, list_objects, stat


def local_copy(address: Address, wanted: Callable[[str], bool] = lambda name: True) -> pathlib.Path:
    """Returns the path of a local copy of an object, or of a folder with the objects in it and below.

    Args:
        address: the object or the folder.
        wanted: called with the name of each object of a folder, relative to it; False leaves it out.

    Returns:
        A path with the name of the address. Files of the copy that the store no longer has are removed.

    Raises:
        AddressNotFoundError: if nothing is there.
        RemoteError: if the store can't be read.
        OSError: if the disk is full.
    """
    kind = find_kind(address)
    if kind == "file":
        return copy_files(address.parent, {address.name: stat(address)}) / address.name
    objects = {f"{address.name}/{name}": stored for name, stored in list_objects(address).items() if wanted(name)}
    if not objects:
        raise AddressNotFoundError(
            f"An address must be that of something stored. Received: {address}, where nothing is. Check the address"
        )
    folder = copy_files(address.parent, objects)
    for file in (folder / address.name).rglob("*"):
        # Another process may be fetching a file.
        is_part = file.name.startswith(".") and file.suffix == ".part"
        if file.is_file() and not is_part and file.relative_to(folder).as_posix() not in objects:
            file.unlink(missing_ok=True)
    return folder / address.name


def copy_files(folder: Address, objects: dict[str, Stored]) -> pathlib.Path:
    """Fetches objects of a folder that have no copy of the same version yet.

    Args:
        folder: the folder.
        objects: as `list_objects` returns them, or some of them.

    Returns:
        The local folder, in which they have the same names.

    Raises:
        AddressNotFoundError, RemoteError, OSError: as `keras_a2i.remote.store.fetch`.
    """
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    place = cache_folder() / "copies" / digest
    files, versions = place / "files", place / "versions"
    files.mkdir(parents=True, exist_ok=True)
    for name, stored in objects.items():
        file, version = files / name, versions / f"{name}.version"
        text = f"{stored.size} {stored.version}"
        if file.is_file() and file.stat().st_size == stored.size and _read(version) == text:
            continue
        # Without a version, a copy that is being replaced counts as none.
        version.unlink(missing_ok=True)
        fetch(folder / name, file)
        version.parent.mkdir(parents=True, exist_ok=True)
        version.write_text(text, encoding="utf-8")
    return files


@contextlib.contextmanager
def fetched(address: Address) -> Iterator[pathlib.Path]:
    """Fetches an object for as long as it is used, and deletes it then.

    Yields:
        A file with the name of the address.

    Raises:
        AddressNotFoundError, RemoteError, OSError: as `keras_a2i.remote.store.fetch`.
    """
    with temporary_folder() as folder:
        file = folder / address.name
        fetch(address, file)
        yield file


@contextlib.contextmanager
def temporary_folder() -> Iterator[pathlib.Path]:
    """Makes a folder beside the copies, which is deleted afterwards; those of processes that were killed are, too."""
    place = cache_folder() / "temporary"
    place.mkdir(exist_ok=True)
    for left in place.glob(f"{_owner('*')}-*"):
        number = left.name.removeprefix(_owner("")).partition("-")[0]
        if number.isdecimal() and not _is_running(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_owner(os.getpid())}-", dir=place, ignore_cleanup_errors=True) as folder:
        yield pathlib.Path(folder)


def _owner(process: int | str) -> str:
    """How the name of a temporary folder begins: several machines may share the cache."""
    return f"{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-{process}"


def _is_running(process: int) -> bool:
    """Whether there is a process of that number on this machine, as far as the system tells without a signal."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""

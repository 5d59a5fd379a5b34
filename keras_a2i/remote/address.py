"""Addresses in object stores, such as s3://bucket/folder, beside the paths of files."""

import dataclasses
import os
import pathlib
import posixpath
import re
from collections.abc import Sequence

from keras_a2i.errors import UsageError

# A single letter is a drive of Windows. pathlib collapses the two slashes of an address that it is given.
_PATTERN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
# Schemes that are no stores: a web page isn't a folder, and a file is one of the disk.
_NO_STORES = ("http", "https", "ftp", "ftps", "tcp", "tls")


@dataclasses.dataclass(frozen=True)
class Address:
    """An object, or a folder of objects, in a store. It joins and names like a `pathlib.Path`.

    It isn't an `os.PathLike`: what needs a file of the disk must not mistake it for one.

    Attributes:
        scheme: the store, such as "s3".
        path: bucket and key without slashes at the ends, such as "bucket/folder/file.mp4".
    """

    scheme: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def __truediv__(self, name: str) -> "Address":
        return Address(self.scheme, f"{self.path}/{name}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return pathlib.PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name with its dot, "" if it has none."""
        return pathlib.PurePosixPath(self.name).suffix

    @property
    def bucket(self) -> str:
        """The store and its bucket, such as "s3://bucket"."""
        return f"{self.scheme}://{self.path.partition('/')[0]}"

    @property
    def parent(self) -> "Address":
        """The folder that holds it; that of a bucket is the bucket itself."""
        return Address(self.scheme, posixpath.dirname(self.path) or self.path)

    def with_name(self, name: str) -> "Address":
        """Returns the address of another name in the same folder."""
        return self.parent / name


Location = pathlib.Path | Address
"""Where something is: on the disk, or in an object store."""


def as_location(path: str | os.PathLike[str] | Address) -> Location:
    """Returns the address that a text or a path denotes, else the path.

    Args:
        path: a path; an address such as "s3://bucket/records"; a `pathlib.Path` that was made of one, which has lost a
            slash; or "file:///folder", which is a path.

    Raises:
        UsageError: if an address names no bucket, or a part of it is "." or "..".
    """
    if isinstance(path, Address):
        return path
    text = path.as_posix() if isinstance(path, pathlib.PurePath) else os.fspath(path)
    match = _PATTERN.fullmatch(text)
    if match is None or match[1].lower() in _NO_STORES:
        return pathlib.Path(path)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        import urllib.request

        return pathlib.Path(urllib.request.url2pathname("/" + rest))
    parts = rest.rstrip("/").split("/")
    if not parts[0] or {".", ".."} & set(parts):
        raise UsageError(
            f"An address must name a bucket and its parts, as in s3://bucket/folder. Received: {text!r}. Correct it"
        )
    return Address(scheme, "/".join(parts))


def relative_name(path: Location, folder: Location) -> str | None:
    """Returns the name of a file relative to a folder, with forward slashes; None if it doesn't lie within."""
    if isinstance(path, Address):
        inside = isinstance(folder, Address) and path.scheme == folder.scheme
        prefix = f"{folder.path}/" if isinstance(folder, Address) else ""
        return path.path.removeprefix(prefix) if inside and path.path.startswith(prefix) else None
    if isinstance(folder, Address) or not path.is_relative_to(folder):
        return None
    return path.relative_to(folder).as_posix()


def common_folder(folders: Sequence[Location]) -> Location:
    """Returns the deepest folder that holds all of the given ones, which are all on the disk or all in one bucket."""
    addresses = [folder for folder in folders if isinstance(folder, Address)]
    if addresses:
        return Address(addresses[0].scheme, posixpath.commonpath([address.path for address in addresses]))
    return pathlib.Path(os.path.commonpath([folder for folder in folders if isinstance(folder, pathlib.Path)]))


def local_path(path: str | os.PathLike[str] | Address, what: str) -> pathlib.Path:
    """Returns a path of the disk, for what can't be in an object store.

    Args:
        path: as for `as_location`.
        what: a noun phrase for the message, such as "The folder of a sweep".

    Raises:
        UsageError: if it is an address.
    """
    location = as_location(path)
    if isinstance(location, Address):
        raise UsageError(f"{what} must be a path on the disk. Received: {location}. Choose a local path and copy it")
    return location

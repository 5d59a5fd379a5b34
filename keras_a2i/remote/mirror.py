"""A local folder whose finished files are uploaded to a folder of an object store."""

import contextlib
import pathlib
import shutil
import uuid
import warnings
from collections.abc import Iterable, Iterator

from keras_a2i.cache_folder import cache_folder
from keras_a2i.errors import RemoteError, TrainingInterrupted
from keras_a2i.media.folder_lock import LOCK_FILE
from keras_a2i.remote.address import Address
from keras_a2i.remote.lock import release, store_lock
from keras_a2i.remote.store import fetch, list_objects, remove, upload


class UploadWarning(UserWarning):
    """An upload failed in the middle of the work, which continues; it is tried again at the next one."""


class Mirror:
    """A folder of a store that is written locally.

    Args:
        address: the folder.
        last: names of files that are uploaded after all others, in this order.
        skipped: names of files that aren't uploaded.

    Attributes:
        folder: the local folder; it exists while the mirror is open, and is kept only where uploading failed.
    """

    def __init__(self, address: Address, *, last: tuple[str, ...] = (), skipped: tuple[str, ...] = ()):
        self.address = address
        self._last, self._skipped = last, {LOCK_FILE, *skipped}
        self.folder: pathlib.Path = cache_folder() / "outgoing" / f"{address.name}-{uuid.uuid4().hex[:12]}"
        self._known: dict[str, tuple[int, int]] = {}
        self._token = ""

    def release(self) -> None:
        """Gives up the lock while the mirror is open, for a process that is about to end."""
        release(self.address, self._token)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Locks the folder of the store, and uploads at the end what hasn't been, also after an error.

        Raises:
            LockedError: if another process is writing into it.
            RemoteError: if the last upload fails; the message names the local folder, which is kept.
            TrainingInterrupted: if Ctrl-C stops the last upload; likewise.
        """
        with store_lock(self.address) as self._token:
            self.folder.mkdir(parents=True)
            try:
                yield
            finally:
                self._finish()

    def _finish(self) -> None:
        kept = f"is kept in {self.folder}: copy it to the store, or resume from what was uploaded before"
        try:
            self.push()
        except RemoteError as error:
            raise RemoteError(f"{error}. What couldn't be uploaded {kept}") from error
        except KeyboardInterrupt:
            raise TrainingInterrupted(
                f"The upload to {self.address} was stopped. What wasn't uploaded {kept}"
            ) from None
        shutil.rmtree(self.folder, ignore_errors=True)

    def pull(self) -> None:
        """Fetches everything that the store has.

        Raises:
            RemoteError: if it can't be read.
        """
        for name in list_objects(self.address):
            if name not in self._skipped:
                fetch(self.address / name, self.folder / name)
                self._known[name] = _signature(self.folder / name)

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects of the store by their names, and all below those that end in a slash.

        Raises:
            RemoteError: if they can't be removed.
        """
        names = tuple(names)
        folders = tuple(name for name in names if name.endswith("/"))
        found = [name for name in list_objects(self.address) if name in names or name.startswith(folders)]
        remove(self.address / name for name in found)
        for name in found:
            self._known.pop(name, None)

    def push(self, *, required: bool = True) -> None:
        """Uploads the files that are new or changed, and removes those that are gone.

        Args:
            required: whether a failure is an error; otherwise it is a warning, and the next call tries again.

        Raises:
            RemoteError: if `required` and the store can't be written to.
        """
        try:
            self._push()
        except RemoteError as error:
            if required:
                raise
            warnings.warn(f"{error}. The work continues and uploads again later", UploadWarning, stacklevel=2)

    def _push(self) -> None:
        files = {file.relative_to(self.folder).as_posix(): file for file in self.folder.rglob("*") if file.is_file()}
        files = {name: file for name, file in files.items() if name not in self._skipped and not _is_unfinished(file)}
        for name in sorted(files, key=lambda name: (self._last.index(name) + 1 if name in self._last else 0, name)):
            signature = _signature(files[name])
            if self._known.get(name) != signature:
                upload(files[name], self.address / name)
                self._known[name] = signature
        gone = [name for name in self._known if name not in files]
        remove(self.address / name for name in gone)
        for name in gone:
            del self._known[name]


def _is_unfinished(file: pathlib.Path) -> bool:
    return file.name.startswith(".") or ".tmp" in file.suffixes


def _signature(file: pathlib.Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns

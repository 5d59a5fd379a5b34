"""A lock on a folder of an object store.

Stores have no locks. An object `.lock` with the owner's name stands for one: a process that finds it writes nothing.
Where the store creates an object in one step unless it exists (S3, Google Cloud Storage), two processes can't both
create it; elsewhere it is read again, which leaves a moment in which two that start together aren't told apart. The
object stays behind when a process is killed or loses the network, and must then be deleted by hand.
"""

import contextlib
import datetime
import json
import os
import platform
import uuid
from collections.abc import Iterator

from keras_a2i.errors import AddressNotFoundError, LockedError, RemoteError
from keras_a2i.media.folder_lock import LOCK_FILE
from keras_a2i.remote.address import Address
from keras_a2i.remote.store import create, read_bytes, remove


@contextlib.contextmanager
def store_lock(folder: Address) -> Iterator[str]:
    """Locks a folder of a store against other processes of this library.

    Yields:
        The token of the lock, for `release`.

    Raises:
        LockedError: if another process has locked it.
        RemoteError: if the store can't be written to.
    """
    address = folder / LOCK_FILE
    own = {
        "process": os.getpid(),
        "machine": platform.node(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "token": uuid.uuid4().hex,
    }
    # A request that is repeated because its answer was lost finds the object that it has created itself.
    create(address, json.dumps(own).encode())
    owner = _read_owner(address)
    if owner.get("token") != own["token"]:
        raise LockedError(
            f"Only one process at a time may write into a folder. Received: {folder}, which process "
            f"{owner.get('process', '(unknown)')} on {owner.get('machine', '(unknown)')} has been writing since "
            f"{owner.get('time', '(unknown)')}. Wait until it has finished, or choose another folder. If it was "
            f"killed, delete the object {address}"
        )
    try:
        yield str(own["token"])
    finally:
        release(folder, str(own["token"]))


def release(folder: Address, token: str) -> None:
    """Removes the lock of a token; without network it stays, since an error of the work itself says more."""
    address = folder / LOCK_FILE
    with contextlib.suppress(RemoteError):
        if _read_owner(address).get("token") == token:
            remove([address])


def _read_owner(address: Address) -> dict[str, object]:
    try:
        owner = json.loads(read_bytes(address))
    except (AddressNotFoundError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}

"""The folder of what can be fetched or computed again: copies of remote files, networks that judge images."""

import os
import pathlib
import sys

CACHE_VARIABLE = "KERAS_A2I_CACHE"
_README = (
    "Files that keras-a2i can fetch or compute again: copies of files in object stores (copies, temporary), and the "
    "weights of the networks with which evaluate judges images (networks). Delete what you like, except in outgoing, "
    "which holds what couldn't be uploaded.\n"
)


def cache_folder() -> pathlib.Path:
    """Returns the cache folder, which exists: $KERAS_A2I_CACHE, else keras-a2i in the user's folder of caches.

    Raises:
        OSError: if it can't be created.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        folder = pathlib.Path(named).expanduser().absolute()
    elif sys.platform == "win32":
        folder = pathlib.Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "keras-a2i"
    elif sys.platform == "darwin":
        folder = pathlib.Path("~/Library/Caches/keras-a2i").expanduser()
    else:
        folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "keras-a2i"
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README"
    if not readme.exists():
        readme.write_text(_README, encoding="utf-8")
    return folder

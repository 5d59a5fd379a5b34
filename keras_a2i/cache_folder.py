"""The cache folder: copies of remote files, and networks that judge images."""

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
    """Returns the cache folder and creates it if needed: $KERAS_A2I_CACHE, or keras-a2i in the user's cache directory.

    Raises:
        OSError: if it can't be created, or the user has no home directory.
    """
    try:
        folder = _place()
    except RuntimeError as error:
        raise OSError(f"{error} Set {CACHE_VARIABLE} to a folder") from error
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README"
    if not readme.exists():
        readme.write_text(_README, encoding="utf-8")
    return folder


def _place() -> pathlib.Path:
    if named := os.environ.get(CACHE_VARIABLE):
        return pathlib.Path(named).expanduser().absolute()
    if sys.platform == "win32":
        return pathlib.Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "keras-a2i"
    if sys.platform == "darwin":
        return pathlib.Path("~/Library/Caches/keras-a2i").expanduser()
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "keras-a2i"

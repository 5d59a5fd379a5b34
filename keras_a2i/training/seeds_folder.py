"""A folder with one run folder for every seed, as `fit_seeds` writes it; read without Keras."""

import pathlib
import re

from keras_a2i.errors import UsageError
from keras_a2i.media.folder_lock import LOCK_FILE
from keras_a2i.training.run_folder import RunFolder


def check_seeds_folder(out: pathlib.Path) -> None:
    """Raises a UsageError unless a folder is new, empty or one of runs, as an earlier call leaves it."""
    if out.is_file():
        raise UsageError(f"out must be a folder. Received: the file {out}")
    names = {path.name for path in out.iterdir()} - {LOCK_FILE} if out.is_dir() else set()
    # A call that ended before a run began leaves a folder without a run, or a log.
    others = [name for name in names if not re.fullmatch(r"seed-\d+(\.log)?", name)]
    if others and not existing_runs(out):
        raise UsageError(
            f"The runs of several seeds must be written to a new or empty folder, or that of an earlier call. "
            f"Received: {out}, which holds {'a run itself' if RunFolder(out).exists else 'other files'}"
        )


def existing_runs(out: pathlib.Path) -> list[RunFolder]:
    """Returns the runs of an earlier call, that of the lowest seed first."""
    numbered = ((path.name.removeprefix("seed-"), path) for path in out.glob("seed-*"))
    found = sorted((int(number), path) for number, path in numbered if number.isdecimal())
    return [RunFolder(path) for _, path in found if RunFolder(path).exists]

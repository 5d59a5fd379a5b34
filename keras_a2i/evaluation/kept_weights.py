"""Weights of the networks that judge images, stored in the cache folder for the next evaluation."""

import contextlib
import hashlib
import json
import os
import pathlib
import uuid
import zipfile
from collections.abc import Mapping

import keras
import numpy as np

from keras_a2i.cache_folder import cache_folder
from keras_a2i.media.durable import written_whole
from keras_a2i.version import library_versions

MAX_FILES = 200
"""Maximum number of files; the files that were used last are kept. Most are smaller than 1 MB."""


class KeptWeights:
    """The weights after one training, in a file whose name is a hash of everything that determines the result.

    That is: the initial weights and random states, the loss, the arrays, the settings, Keras' dtype policy and the
    versions of the libraries. The same training therefore has the same file in every process. If the folder can't be
    written to, nothing is stored.

    Args:
        model: the network, before its training.
        loss: of the network.
        arrays: the inputs and the targets.
        settings: of the training, as JSON values.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: str | keras.losses.Loss,
        arrays: tuple[np.ndarray, np.ndarray],
        settings: Mapping[str, float],
    ):
        named = loss if isinstance(loss, str) else keras.losses.serialize(loss)
        versions = library_versions("keras", keras.backend.backend(), "numpy")
        policy = keras.config.dtype_policy().name
        digest = hashlib.sha256(json.dumps([named, dict(settings), policy, versions], sort_keys=True).encode())
        for array in (*_values_of(model), *arrays):
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        self.name = f"{digest.hexdigest()}.npz"

    def restore(self, model: keras.Model) -> bool:
        """Assigns the weights of the same training, if they are stored, and returns whether they are."""
        try:
            path = _folder() / self.name
            with np.load(path, allow_pickle=False) as file:
                values = [file[name] for name in file.files]
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            return False
        # Another user's file can be read, but not be marked as used.
        with contextlib.suppress(OSError):
            os.utime(path)
        if [value.shape for value in values] != [variable.shape for variable in model.variables]:
            return False
        for variable, value in zip(model.variables, values, strict=True):
            variable.assign(value)
        return True

    def save(self, model: keras.Model) -> None:
        """Stores the weights of a trained model, and removes the files that were unused for longest."""
        with contextlib.suppress(OSError):
            folder = _folder()
            # Another process may be storing the same training.
            temporary = f".{uuid.uuid4().hex}.npz"
            with written_whole(folder / self.name, temporary=temporary, durable=False) as part:
                np.savez(part, *_values_of(model))
            files = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime)
            for file in files[:-MAX_FILES]:
                file.unlink(missing_ok=True)


def _values_of(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]


def _folder() -> pathlib.Path:
    folder = cache_folder() / "networks"
    folder.mkdir(exist_ok=True)
    return folder

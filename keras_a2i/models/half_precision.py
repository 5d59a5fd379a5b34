"""Keras files whose large weights are stored in half precision, in less than half the bytes."""

import io
import pathlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py

_WEIGHTS = "model.weights.h5"
_SMALLEST = 1_000
"""Elements of a weight from which it is rounded. Biases and statistics take little room, and stay exact."""


def round_weights(path: pathlib.Path) -> None:
    """Rewrites a `.keras` file with its kernels and other large weights as float16.

    Keras reads such a file as any other, and converts the weights to the data type of their variables. Each is rounded
    to 11 significant bits; weights that exceed the range of float16 stay as they are.
    """
    import h5py

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    # HDF5 files never shrink: the rounded weights go into a new one.
    rounded = io.BytesIO()
    with h5py.File(io.BytesIO(members[_WEIGHTS])) as old, h5py.File(rounded, "w") as new:
        _copy(old, new)
    members[_WEIGHTS] = rounded.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _copy(old: "h5py.Group", new: "h5py.Group") -> None:
    import h5py

    new.attrs.update(old.attrs)
    for name, item in old.items():
        if isinstance(item, h5py.Group):
            _copy(item, new.create_group(name))
        else:
            new.create_dataset(name, data=_rounded(item[()])).attrs.update(item.attrs)


def _rounded(values: np.ndarray) -> np.ndarray:
    is_large = values.size >= _SMALLEST and values.dtype == np.float32
    return values.astype(np.float16) if is_large and np.abs(values).max() <= np.finfo(np.float16).max else values

"""Models and run folders in an object store, of which a local copy is read."""

import os
import pathlib

from keras_a2i.remote.address import Address, as_location
from keras_a2i.remote.copies import local_copy

# What only a training that is resumed needs, and sheets.
_LEFT_OUT = ("state/", "tensorboard/", "samples/", ".")


def local_model(model: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of a model or a run folder on the disk, fetched from an object store if need be.

    Args:
        model: a path or a name, which is returned as a path; or an address such as "s3://bucket/run". Of a run, what
            only a training needs is left out.

    Raises:
        AddressNotFoundError: if nothing is at the address.
        RemoteError: if the store can't be read.
    """
    location = as_location(model)
    if not isinstance(location, Address):
        return location
    return local_copy(location, lambda name: not name.startswith(_LEFT_OUT))

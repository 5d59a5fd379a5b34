"""Types of paths on the command line: of the disk alone, also in an object store, or of a model."""

import pathlib
from typing import Any

import click

from keras_a2i.remote.address import Address, Location, as_location


class LocalPath(click.Path):
    """A path on the disk; an address in an object store is refused."""

    def __init__(self, **options: Any):
        super().__init__(path_type=pathlib.Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(as_location(value), Address):
            self.fail(f"it must be a path on the disk. Received: {value}. Choose a local path, and copy it", param, ctx)
        return super().convert(value, param, ctx)


class LocationType(click.ParamType):
    """A path on the disk, or an address in an object store."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        return as_location(value)


class ModelPath(click.ParamType):
    """The path, the name or the address of a model: a `pathlib.Path`, or the text of an address."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> pathlib.Path | str:
        location = as_location(value)
        return str(location) if isinstance(location, Address) else location

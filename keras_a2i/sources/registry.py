"""The registry of source types: how each is recognised, which options it has, and how it is opened."""

import dataclasses
import functools
import itertools
import typing
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.remote.address import Address, Location, as_location
from keras_a2i.remote.copies import local_copy
from keras_a2i.remote.store import find_kind, list_names
from keras_a2i.sources.csv_table import read_header, read_unnamed_rows
from keras_a2i.sources.pair import Source

_FIRST_ROWS = 20

SOURCE_TYPES: "dict[str, SourceType]" = {}
"""Source types by id, ordered by their `position`."""


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """Base of the options of a source type: a frozen dataclass whose fields `option` declares.

    Fields may be `str`, `int`, `float`, `bool`, a `Literal` of texts, or `tuple[str, ...]`.

    Raises:
        UsageError: if a field that is a `Literal` has another value.
    """

    def __post_init__(self) -> None:
        for option_ in list_options(type(self)):
            value = getattr(self, option_.name)
            if option_.choices and value not in option_.choices:
                allowed = " or ".join(f'"{choice}"' for choice in option_.choices)
                raise UsageError(f"{option_.name} must be {allowed}. Received: {option_.name}={value!r}")


def option(default: Any, help: str, *, flag: str = "", metavar: str = "", shared: bool = False) -> Any:
    """Declares a field of `SourceOptions`.

    Args:
        default: its value unless it is given.
        help: one sentence for help texts.
        flag: the option's name on the command line without dashes, if it isn't the field's.
        metavar: placeholder for its value in help texts.
        shared: whether others use the option too, so that it may be given although no source uses it.
    """
    metadata = {"help": help, "flag": flag, "metavar": metavar, "shared": shared}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Option:
    """A declared option.

    Attributes:
        name: of the argument.
        type: of its value; for several values that of one.
        default: its value unless it is given.
        choices: the values it may have; () for any.
        multiple: whether it is a tuple of values.
        help, flag, metavar, shared: as in `option`.
    """

    name: str
    type: type
    default: Any
    choices: tuple[str, ...]
    multiple: bool
    help: str
    flag: str
    metavar: str
    shared: bool


def list_options(options: type[SourceOptions]) -> tuple[Option, ...]:
    """Returns the options that a class declares."""
    hints = typing.get_type_hints(options)
    found = []
    for field in dataclasses.fields(options):
        hint, multiple = hints[field.name], typing.get_origin(hints[field.name]) is tuple
        choices: tuple[str, ...] = ()
        if typing.get_origin(hint) is Literal:
            hint, choices = str, typing.get_args(hint)
        elif multiple:
            hint = typing.get_args(hint)[0]
        metadata = dict(field.metadata)
        metadata["flag"] = metadata["flag"] or field.name.replace("_", "-")
        found.append(Option(field.name, hint, field.default, choices, multiple, **metadata))
    return tuple(found)


class Spec:
    """The argument by which a user specifies a source.

    Args:
        text: a path, an address in an object store, or the name of a source such as "synthetic:surf".

    Attributes:
        path: the text as a path or an address.
        is_folder, is_file: whether there is a folder or a file at the path.
        table: the csv file that it denotes: itself, or in a folder the one with a name that a source type has; or None.
            Of one in an object store, a local copy.

    Raises:
        RemoteError: if an object store can't be read.
    """

    def __init__(self, text: str):
        self.text, self.path = text, as_location(text)
        if isinstance(self.path, Address):
            kind = find_kind(self.path)
            self.is_folder, self.is_file = kind == "folder", kind == "file"
        else:
            self.is_folder, self.is_file = self.path.is_dir(), self.path.is_file()
        self._table = self._find_table()
        self.table = local_copy(self._table) if isinstance(self._table, Address) else self._table

    def _find_table(self) -> Location | None:
        if self.is_file and self.suffix == ".csv":
            return self.path
        if not self.is_folder:
            return None
        names = [type_.table_name for type_ in SOURCE_TYPES.values() if type_.table_name]
        if isinstance(self.path, Address):
            present = list_names(self.path)
        else:
            present = {name for name in names if (self.path / name).is_file()}
        return next((self.path / name for name in names if name in present), None)

    @property
    def suffix(self) -> str:
        """The suffix of a file, lower case; "" for anything else."""
        return self.path.suffix.lower() if self.is_file else ""

    @property
    def table_path(self) -> Location:
        """The table, if there is one; else the path."""
        return self._table or self.path

    @property
    def store(self) -> str:
        """The bucket of an address, such as "s3://bucket"; "" for a path."""
        return self.path.bucket if isinstance(self.path, Address) else ""

    @functools.cached_property
    def columns(self) -> list[str]:
        """The column names of the table, lower case; [] if there is no table.

        Raises:
            SourceError: if the csv can't be read.
        """
        return read_header(self.table) if self.table else []

    @functools.cached_property
    def first_rows(self) -> list[tuple[int, list[str]]]:
        """The first rows of the table with their lines, as of a csv without column names; [] if it can't be read so."""
        if self.table is None:
            return []
        try:
            return list(itertools.islice(read_unnamed_rows(self.table, 1, _FIRST_ROWS), _FIRST_ROWS))
        except SourceError:
            return []


class SourceType:
    """A type of source. Register a subclass with `register_source`.

    Attributes:
        id: its name.
        title: what a source of this type is, for messages: "a csv of pairs".
        usage: the specs of this type, for messages.
        details: the same with more detail, for the help of the command.
        columns: the columns of its csv, for messages; "" if it has none.
        table_name: a file by whose name a folder denotes a source of this type; "" if there is none.
        names: specs that aren't files, such as "synthetic:surf".
        options: the options it has.
        uses_audio_settings: whether `features.sample_rate` and `features.n_mfcc` apply.
        merges: whether all specs of this type become one source.
        reads_stores: whether a spec may be an address in an object store.
        position: where it comes among the types when a spec is recognised, and in texts that list them.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    usage: ClassVar[str]
    details: ClassVar[str] = ""
    columns: ClassVar[str] = ""
    table_name: ClassVar[str] = ""
    names: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[type[SourceOptions]] = SourceOptions
    uses_audio_settings: ClassVar[bool] = True
    merges: ClassVar[bool] = False
    reads_stores: ClassVar[bool] = False
    position: ClassVar[int] = 100

    def recognises(self, spec: Spec) -> bool:
        """Returns whether the spec denotes a source of this type."""
        raise NotImplementedError

    def open(self, specs: Sequence[Spec], options: Any, *, features: FeatureConfig, image: ImageConfig) -> Source:
        """Opens the source; `specs` has one element unless `merges`, and `options` is an instance of `self.options`."""
        raise NotImplementedError

    def hint(self, spec: Spec) -> str:
        """Returns what a file that no type recognises lacks to be a source of this type; "" for files it can't use."""
        return ""


def register_source(source_type: type[SourceType]) -> type[SourceType]:
    """Registers a subclass of `SourceType` (a class decorator)."""
    types = SOURCE_TYPES | {source_type.id: source_type()}
    SOURCE_TYPES.clear()
    SOURCE_TYPES.update(sorted(types.items(), key=lambda item: item[1].position))
    return source_type

"""What a report is made of: tables, sentences, plots, images, as data.

Text stays text here: the terminal prints it, and the HTML page escapes it.
"""

import dataclasses
from collections.abc import Callable

import PIL.Image

from keras_a2i.evaluation.report_data import Example


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's head: its title, whether it holds numbers, a note, and whether the terminal shows it."""

    title: str
    number: bool = False
    note: str = ""
    style: str = ""
    brief: bool = True


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell: its text, a note below it, and a CSS class."""

    text: str
    note: str = ""
    style: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table; `group` opens a group of rows with a title before it."""

    cells: tuple[Cell, ...]
    group: str = ""
    group_style: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its head."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    narrow: bool = False
    kind: str = dataclasses.field(default="table", init=False)


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Sentences as a list of points."""

    items: tuple[str, ...]
    kind: str = dataclasses.field(default="sentences", init=False)


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Headline figures: (figure, unit, what it is, details, style) each."""

    items: tuple[tuple[str, str, str, str, str], ...]
    kind: str = dataclasses.field(default="tiles", init=False)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A plot: what it shows in words, a caption, and the function that draws it as SVG."""

    alt: str
    caption: str
    draw: Callable[[], str]


@dataclasses.dataclass(frozen=True)
class Figures:
    """Plots side by side."""

    items: tuple[Figure, ...]
    kind: str = dataclasses.field(default="figures", init=False)


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Examples with their images, under a title each group."""

    groups: tuple[tuple[str, tuple[Example, ...]], ...]
    introduction: str = ""
    kind: str = dataclasses.field(default="gallery", init=False)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A sheet of images with its title and a note; None where it can't be read."""

    title: str
    note: str
    image: PIL.Image.Image | None


@dataclasses.dataclass(frozen=True)
class Sheets:
    """Sheets of images, one below the other."""

    items: tuple[Sheet, ...]
    kind: str = dataclasses.field(default="sheets", init=False)


@dataclasses.dataclass(frozen=True)
class Terms:
    """Terms, a note beside each, and what they mean."""

    items: tuple[tuple[str, str, str], ...]
    kind: str = dataclasses.field(default="terms", init=False)


@dataclasses.dataclass(frozen=True)
class Command:
    """What to type, and a line about where it ran."""

    text: str
    about: str = ""
    kind: str = dataclasses.field(default="command", init=False)


Block = Table | Sentences | Tiles | Figures | Gallery | Sheets | Terms | Command


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report with its title; `brief` sections are shown on the terminal."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    brief: bool = True

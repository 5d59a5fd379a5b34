"""The video files in a folder that are named after YouTube ids: whole videos, and clips that are cut from them."""

import array
import math
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from keras_a2i.media.folder_files import walk_files
from keras_a2i.media.suffixes import VIDEO_SUFFIXES
from keras_a2i.sources.text_column import ColumnWriter

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
# yt-dlp names a video "TITLE [ID].mp4" by default.
_TITLED = re.compile(rf".*\[({YOUTUBE_ID.pattern})\]", re.DOTALL)
_NAMED = re.compile(rf"({YOUTUBE_ID.pattern})(?:[_-](\d+(?:\.\d+)?)(?:[_-](\d+(?:\.\d+)?))?)?")
# From this difference on, whole numbers are milliseconds: no clip of these sets is a thousand seconds long.
_MIN_MILLISECONDS = 1_000
# Rounding of floats, in seconds.
_EQUAL = 1e-7


class FoundFile(NamedTuple):
    """A file of a row: its number, and whether it is the clip itself and not the whole video."""

    number: int
    is_clip: bool


class NamedClip(Protocol):
    """A clip of a video of YouTube: the id, and its start and end in seconds."""

    @property
    def id(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


class _Name(NamedTuple):
    """What a file name states: the id, and start and end of the clip in seconds, NaN where it states none.

    `step` is the last decimal place of the times: they are rounded to it, or cut off.
    """

    id: str
    start: float = math.nan
    end: float = math.nan
    step: float = 1.0


class ClipFiles:
    """An index of the video files in a folder and below, made by one walk (see `walk_files`).

    Args:
        folder: the folder.

    Attributes:
        paths: the files relative to the folder, sorted within each folder, with forward slashes. Only those that have
            a YouTube id in their name are listed.

    Raises:
        SourceError: if the folder can't be read.
    """

    def __init__(self, folder: pathlib.Path):
        ids, paths = bytearray(), ColumnWriter()
        times = array.array("d")
        for path in walk_files(folder, VIDEO_SUFFIXES):
            if name := _parse(path):
                ids += name.id.encode()
                times.extend(name[1:])
                paths.append(path)
        self.paths = paths.column()
        by_file = np.frombuffer(bytes(ids), "S11")
        self._order = np.argsort(by_file, kind="stable")
        self._ids = by_file[self._order]
        self._times = np.array(times).reshape(-1, 3)

    def find(self, clips: Sequence[NamedClip], *, by_start: bool, id_is_clip: bool) -> Iterator[FoundFile | None]:
        """Yields the file of every clip: the whole video, else the clip whose name has its times; None if none does.

        Of several such files it is the one whose name has the times most exactly, then the first.

        Args:
            clips: what has a YouTube id, and start and end in seconds of that video.
            by_start: whether a name with the start alone will do.
            id_is_clip: whether a file that is named by the id alone is the clip and not the whole video.
        """
        ids = np.array([clip.id for clip in clips], "S11")
        lows, highs = (np.searchsorted(self._ids, ids, side).tolist() for side in ("left", "right"))
        for clip, low, high in zip(clips, lows, highs, strict=True):
            numbers = self._order[low:high].tolist()
            yield self._choose(numbers, clip.start, clip.end, by_start, id_is_clip) if numbers else None

    def _choose(
        self, numbers: list[int], start: float, end: float, by_start: bool, id_is_clip: bool
    ) -> FoundFile | None:
        best: tuple[float, int] | None = None
        for number in numbers:
            named_start, named_end, step = self._times[number].tolist()
            if math.isnan(named_start):
                if not id_is_clip:
                    return FoundFile(number, is_clip=False)
                distance = math.inf
            elif math.isnan(named_end):
                if not (by_start and _fits(named_start, start, step)):
                    continue
                distance = abs(named_start - start)
            else:
                if not (_fits(named_start, start, step) and _fits(named_end, end, step)):
                    continue
                distance = abs(named_start - start) + abs(named_end - end)
            if best is None or distance < best[0]:
                best = distance, number
        return None if best is None else FoundFile(best[1], is_clip=True)


def _parse(path: str) -> _Name | None:
    stem = os.path.splitext(path.rpartition("/")[2])[0]  # noqa: PTH122
    if found := _TITLED.fullmatch(stem):
        return _Name(found[1])
    if not (found := _NAMED.fullmatch(stem)):
        return None
    id_, start, end = found.groups()
    if start is None:
        return _Name(id_)
    places = max(len(text.partition(".")[2]) for text in (start, end or ""))
    if end is None:
        return _Name(id_, float(start), step=10.0**-places)
    unit = 1
    if places == 0 and int(end) - int(start) >= _MIN_MILLISECONDS:
        unit = 1_000
    return _Name(id_, float(start) / unit, float(end) / unit, 10.0**-places / unit)


def _fits(named: float, time: float, step: float) -> bool:
    """Whether a time in a name is a given one, rounded to the step or cut off."""
    return -step / 2 - _EQUAL <= time - named < step - _EQUAL or abs(time - named) <= _EQUAL

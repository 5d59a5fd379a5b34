"""Pairs listed in a csv: one sound file and one picture a row."""

import collections
import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.sources.csv_table import file_within, read_rows, relative_path, stamp
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Unit
from keras_a2i.sources.picture import read_picture
from keras_a2i.sources.sound import read_sound

COLUMNS = ("audio", "image")
_SPLITS = ("", "train", "val", "test")
_UNIT_ROWS = 64


class _Row(NamedTuple):
    line: int
    audio: str
    image: str
    key: PairKey


class PairsCsvSource:
    """A csv with the columns audio,image and optionally label,source,time,split; other columns are ignored.

    Paths are relative to the csv's folder and may not leave it. A row's id is its audio path, followed by "|" and the
    image path where rows share the audio. `source` is by default the audio path, so that each recording is its own
    source; `time` is by default the row's number within its source x duration, as if the rows of a source were
    consecutive. `split` may say train, val or test.

    Args:
        csv_path: the csv file.
        features: sample rate and duration of a pair's sound.
        image: size and channels of its picture.
        pad: fills sound that is shorter than the duration with silence; False drops the pair.
        long: "start" takes the start of sound that is longer than the duration, "drop" drops the pair.

    Raises:
        UsageError: if `long` is neither.
    """

    def __init__(
        self,
        csv_path: str | pathlib.Path,
        *,
        features: FeatureConfig,
        image: ImageConfig,
        pad: bool = True,
        long: str = "start",
    ):
        if long not in ("start", "drop"):
            raise UsageError(f'long must be "start" or "drop". Received: long={long!r}')
        self.csv_path = pathlib.Path(csv_path).absolute()
        self.features, self.image = features, image
        self.pad, self.long = bool(pad), long

    def plan(self) -> Plan:
        """Lists the rows in units of 64.

        Raises:
            SourceError: if the csv is missing, malformed or without rows, lacks a column, or a row's time or split
                isn't one.
        """
        rows, dropped = self._rows()
        listed = list(rows.values())
        starts = range(0, len(listed), _UNIT_ROWS)
        return Plan(tuple(self._unit(listed[start : start + _UNIT_ROWS]) for start in starts), dropped)

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Decodes the rows of a unit one by one; a file that can't be used drops its own pair only.

        Raises:
            SourceError: if the csv was changed since the unit was planned.
        """
        rows, _ = self._rows()
        folder = self.csv_path.parent.resolve()
        for key in unit.keys:
            row = rows.get(key.id)
            if row is None or row.key != key:
                raise SourceError(f"{self.csv_path.name} changed while it was being read. Start again")
            try:
                waveform = self._waveform(folder, row.audio)
                picture = read_picture(file_within(folder, row.image), self.image)
            except SourceError as error:
                yield Dropped(key.id, str(error))
            else:
                yield Pair(key=key, image=picture, waveform=waveform, origin=row.audio)

    def describe(self) -> dict[str, Any]:
        """Kind, name of the csv, and what is done with sound that is too short or too long."""
        return {"kind": "pairs", "name": self.csv_path.name, "pad": self.pad, "long": self.long}

    def _waveform(self, folder: pathlib.Path, audio: str) -> np.ndarray:
        n_samples, duration = self.features.n_samples, f"{self.features.duration:g} s"
        waveform, seen = read_sound(file_within(folder, audio), self.features.sample_rate, n_samples)
        if seen > n_samples and self.long == "drop":
            raise SourceError(f"{audio} is longer than {duration}")
        if len(waveform) < n_samples and not self.pad:
            raise SourceError(f"{audio} lasts {len(waveform) / self.features.sample_rate:.3f} s, less than {duration}")
        return np.pad(waveform, (0, n_samples - len(waveform)))

    def _unit(self, rows: list[_Row]) -> Unit:
        folder = self.csv_path.parent
        return Unit(
            name=f"{self.csv_path.name} lines {rows[0].line}-{rows[-1].line}",
            keys=tuple(row.key for row in rows),
            cost=float(len(rows)),
            stamp=stamp(folder / path for row in rows for path in (row.audio, row.image)),
        )

    def _rows(self) -> tuple[dict[str, _Row], tuple[Dropped, ...]]:
        return _load(self.csv_path, self.features.duration, stamp([self.csv_path]))


@functools.lru_cache(maxsize=2)
def _load(path: pathlib.Path, duration: float, version: str) -> tuple[dict[str, _Row], tuple[Dropped, ...]]:
    """Rows by id and rows that can't be used; kept, so that a process parses the csv once for all of its units."""
    usable, dropped = [], []
    first_lines: dict[tuple[str, str], int] = {}
    for line, cells in read_rows(path, COLUMNS):
        try:
            audio, image = (relative_path(cells[column], column) for column in COLUMNS)
            first = first_lines.setdefault((audio, image), line)
            if first != line:
                raise SourceError(f"the same audio and image as line {first}")
        except SourceError as error:
            dropped.append(Dropped(f"{path.name} line {line}", str(error)))
        else:
            usable.append((line, audio, image, cells))
    uses = collections.Counter(audio for _, audio, _, _ in usable)
    in_source: collections.Counter[str] = collections.Counter()
    rows = {}
    for line, audio, image, cells in usable:
        source = cells.get("source") or audio
        where = f"{path.name}, line {line}"
        time = _time(cells.get("time", ""), where, in_source[source] * duration)
        split = _split(cells.get("split", ""), where)
        in_source[source] += 1
        key = PairKey(audio if uses[audio] == 1 else f"{audio}|{image}", source, time, cells.get("label", ""), split)
        rows[key.id] = _Row(line, audio, image, key)
    return rows, tuple(dropped)


def _time(cell: str, where: str, default: float) -> float:
    if not cell:
        return default
    try:
        time = float(cell)
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise SourceError(f"{where}: time must be a number of seconds, 0 or more. Received: {cell[:40]!r}")
    return time


def _split(cell: str, where: str) -> str:
    if cell.lower() not in _SPLITS:
        raise SourceError(f"{where}: split must be train, val, test or empty. Received: {cell[:40]!r}")
    return cell.lower()

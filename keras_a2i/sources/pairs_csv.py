"""Pairs listed in a csv: one sound file and one picture a row."""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.audio import read_audio
from keras_a2i.media.image import read_image
from keras_a2i.sources.csv_table import file_within, relative_path, stamp
from keras_a2i.sources.pair import Dropped, Pair, Plan, Unit
from keras_a2i.sources.pair_rows import UNIT_ROWS, PairRow, read_pair_rows

COLUMNS = ("audio", "image")


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
        starts = range(0, len(listed), UNIT_ROWS)
        return Plan(tuple(self._unit(listed[start : start + UNIT_ROWS]) for start in starts), dropped)

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
                waveform = self._waveform(folder, row.first)
                picture = read_image(file_within(folder, row.second), self.image)
            except SourceError as error:
                yield Dropped(key.id, str(error))
            else:
                yield Pair(key=key, image=picture, waveform=waveform, origin=row.first)

    def describe(self) -> dict[str, Any]:
        """Kind, name of the csv, and what is done with sound that is too short or too long."""
        return {"kind": "pairs", "name": self.csv_path.name, "pad": self.pad, "long": self.long}

    def _waveform(self, folder: pathlib.Path, audio: str) -> np.ndarray:
        n_samples, duration = self.features.n_samples, f"{self.features.duration:g} s"
        waveform, seen = read_audio(file_within(folder, audio), self.features.sample_rate, n_samples)
        if seen > n_samples and self.long == "drop":
            raise SourceError(f"{audio} is longer than {duration}")
        if len(waveform) < n_samples and not self.pad:
            raise SourceError(f"{audio} lasts {len(waveform) / self.features.sample_rate:.3f} s, less than {duration}")
        return np.pad(waveform, (0, n_samples - len(waveform)))

    def _unit(self, rows: list[PairRow]) -> Unit:
        folder = self.csv_path.parent
        return Unit(
            name=f"{self.csv_path.name} lines {rows[0].line}-{rows[-1].line}",
            keys=tuple(row.key for row in rows),
            cost=float(len(rows)),
            stamp=stamp(folder / path for row in rows for path in (row.first, row.second)),
        )

    def _rows(self) -> tuple[dict[str, PairRow], tuple[Dropped, ...]]:
        return _load(self.csv_path, self.features.duration, stamp([self.csv_path]))


@functools.lru_cache(maxsize=2)
def _load(path: pathlib.Path, duration: float, version: str) -> tuple[dict[str, PairRow], tuple[Dropped, ...]]:
    """Rows by id and rows that can't be used; kept, so that a process parses the csv once for all of its units."""

    def name_parts(cells: dict[str, str]) -> tuple[str, str]:
        audio, image = (relative_path(cells[column], column) for column in COLUMNS)
        return audio, image

    return read_pair_rows(path, COLUMNS, name_parts, duration, "audio and image")

"""Pairs listed in a csv: one audio file and one image per row."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.audio import read_audio
from keras_a2i.media.audio_excerpts import ExcerptReader
from keras_a2i.media.suffixes import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from keras_a2i.remote.address import Address
from keras_a2i.sources.files import TableFiles, open_table, read_pair_image, relative_path, stamp
from keras_a2i.sources.pair import Dropped, Pair, Plan, Source, Unit
from keras_a2i.sources.pair_rows import PairRow, PairRun, PairTable, read_pair_rows
from keras_a2i.sources.registry import SourceOptions, SourceType, Spec, option, register_source
from keras_a2i.sources.vectors import holds_embeddings

_COLUMNS = ("audio", "image")


@dataclasses.dataclass(frozen=True)
class PairsCsvOptions(SourceOptions):
    """Options of `PairsCsvSource`."""

    short: Literal["pad", "skip"] = option("pad", "Audio shorter than a clip: pad it with silence, or skip the pair.")
    long: Literal["start", "skip"] = option(
        "start", "Audio longer than a clip: use its start (or the excerpt at the row's time), or skip the pair."
    )


class PairsCsvSource:
    """A csv with the columns audio,image and optionally label,source,time,split; other columns are ignored.

    Paths are relative to the csv's folder and must not leave it. A row's id is its audio path, followed by "|" and the
    image path if several rows have the same audio. `source` is by default the audio path, so that each recording is its
    own source; `time` is by default the row's number within its source x duration, as if the rows of a source were
    consecutive. `split` is train, val or test.

    Rows that name the same audio and state different times are excerpts of a recording: the clip of each begins at its
    time, in seconds within the file. In all other cases, the clip is the start of the file, and `time` only states its
    position within the source.

    Args:
        csv_path: the csv file, or its address in an object store.
        features: sample rate and duration of a clip.
        image: size and channels of an image.
        short: "pad" pads audio that is shorter than a clip with silence, "skip" drops the pair.
        long: for audio that is longer than a clip, "start" uses its start, or the excerpt, and "skip" drops the pair.

    Raises:
        UsageError: if `short` or `long` has another value.
    """

    def __init__(
        self,
        csv_path: str | pathlib.Path | Address,
        *,
        features: FeatureConfig,
        image: ImageConfig,
        short: Literal["pad", "skip"] = "pad",
        long: Literal["start", "skip"] = "start",
    ):
        self.options = PairsCsvOptions(short=short, long=long)
        self._files = open_table(csv_path)
        self.csv_path = self._files.path
        self.paths = [self.csv_path]
        self.features, self.image = features, image

    def plan(self) -> Plan:
        """Lists the rows in units of 64.

        Raises:
            SourceError: if the csv is missing, malformed or without rows, lacks a column, or a row's time or split
                isn't valid.
        """
        table = self._table()
        return Plan(tuple(self._unit(run) for run in table.runs()), table.dropped)

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Decodes the rows of a unit one by one; a file that can't be used drops its own pairs only.

        Excerpts of a recording that follow one another in time are read in one pass.

        Raises:
            SourceError: if the csv was changed since the unit was planned.
        """
        table = self._table()
        with contextlib.closing(_Recording(self._files, self.features.sample_rate)) as recording:
            for key in unit.keys:
                row = table.find(key.id)
                if row is None or row.key != key:
                    raise SourceError(f"{self.csv_path.name} changed while it was being read. Start again")
                try:
                    waveform, note = self._excerpt(row, recording) if row.is_excerpt else self._waveform(row.first)
                    with self._files.opened(row.second) as file:
                        image = read_pair_image(file, self.image)
                except SourceError as error:
                    yield Dropped(key.id, str(error))
                else:
                    yield Pair(key=key, image=image, waveform=waveform, origin=row.first, note=note)

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        options = dataclasses.asdict(self.options)
        return {"kind": "pairs", "name": self.csv_path.name, "has_audio": True, **options}

    def _waveform(self, audio: str) -> tuple[np.ndarray, str]:
        """The waveform of a clip, and what was wrong with the file within the clip."""
        troubles: list[str] = []
        with self._files.opened(audio) as path:
            waveform, n_read = read_audio(path, self.features.sample_rate, self.features.n_samples, troubles.append)
        return self._fit(waveform, n_read, audio), "; ".join(troubles)

    def _excerpt(self, row: PairRow, recording: "_Recording") -> tuple[np.ndarray, str]:
        """The clip that begins at the row's time, and what was wrong with the file up to its end."""
        reader, rate = recording.open(row.first), self.features.sample_rate
        waveform = reader.read(round(row.key.time * rate), self.features.n_samples)
        if not len(waveform):
            raise SourceError(
                f"{row.first} lasts {reader.n_read / rate:.3f} s; its excerpt would begin at {row.key.time:.12g} s"
            )
        name = f"{row.first} from {row.key.time:.12g} s"
        return self._fit(waveform, reader.n_read, name, row.first), "; ".join(reader.troubles)

    def _fit(self, waveform: np.ndarray, n_read: int, name: str, audio: str = "") -> np.ndarray:
        """A waveform of the length of a clip, where the options `short` and `long` allow it."""
        n_samples, duration = self.features.n_samples, f"{self.features.duration:g} s"
        if n_read > n_samples and self.options.long == "skip":
            raise SourceError(f"{audio or name} is longer than {duration}")
        if len(waveform) < n_samples and self.options.short == "skip":
            raise SourceError(f"{name} lasts {len(waveform) / self.features.sample_rate:.3f} s, less than {duration}")
        return np.pad(waveform, (0, n_samples - len(waveform)))

    def _unit(self, run: PairRun) -> Unit:
        files = itertools.chain.from_iterable(zip(run.firsts, run.seconds, strict=True))
        # The audio of excerpts changes with their times.
        times = hashlib.sha256(run.excerpts.astype("<f8").tobytes()).hexdigest()[:16] if len(run.excerpts) else ""
        return Unit(
            name=f"{self.csv_path.name} lines {run.first_line}-{run.last_line}",
            keys=run.keys,
            cost=float(len(run.keys)),
            stamp=self._files.stamp(files) + times,
        )

    def _table(self) -> PairTable:
        return _load(self.csv_path, self.features.duration, stamp([self.csv_path]))


@functools.lru_cache(maxsize=2)
def _load(path: pathlib.Path, duration: float, version: str) -> PairTable:
    """Cached, so that a process parses the csv once for all of its units."""

    def name_parts(cells: dict[str, str]) -> tuple[str, str]:
        return relative_path(cells["audio"], "audio"), relative_path(cells["image"], "image")

    return read_pair_rows(path, _COLUMNS, name_parts, duration, "audio and image", excerpts=True)


class _Recording:
    """The audio file whose excerpts are being read; the next one takes its place.

    Args:
        files: those of the table.
        sample_rate: rate of the excerpts, Hz.
    """

    def __init__(self, files: TableFiles, sample_rate: int):
        self._files, self._sample_rate = files, sample_rate
        self._opened = contextlib.ExitStack()
        self._readers: dict[str, ExcerptReader] = {}

    def open(self, audio: str) -> ExcerptReader:
        """Returns the reader of a file.

        Raises:
            SourceError, RemoteError: as `TableFiles.opened`.
        """
        if audio not in self._readers:
            self.close()
            path = self._opened.enter_context(self._files.opened(audio))
            self._readers[audio] = ExcerptReader(path, self._sample_rate)
        return self._readers[audio]

    def close(self) -> None:
        """Closes the file."""
        self._readers.clear()
        self._opened.close()


@register_source
class PairsCsv(SourceType):
    """A csv of audio and image files, or a folder with a pairs.csv."""

    id = "pairs"
    title = "a csv of pairs (audio,image)"
    usage = "a csv with the columns audio,image or a folder with a pairs.csv"
    details = "a pairs.csv with the columns audio,image and optionally label,source,time,split"
    columns = "audio,image"
    table_name = "pairs.csv"
    options = PairsCsvOptions
    position = 20
    reads_stores = True

    def recognises(self, spec: Spec) -> bool:
        """Returns whether the table has the columns audio and image, and none of embeddings."""
        return set(_COLUMNS) <= set(spec.columns) and not holds_embeddings(spec.columns)

    def open(
        self, specs: Sequence[Spec], options: PairsCsvOptions, *, features: FeatureConfig, image: ImageConfig
    ) -> Source:
        """Opens the table."""
        return PairsCsvSource(specs[0].table_path, features=features, image=image, **dataclasses.asdict(options))

    def hint(self, spec: Spec) -> str:
        """Returns what an audio file or an image lacks."""
        for suffixes, what, other in (
            (AUDIO_SUFFIXES, "An audio file", "image"),
            (IMAGE_SUFFIXES, "An image", "audio"),
        ):
            if spec.suffix in suffixes:
                return f"{what} needs its {other}: list both in a pairs.csv with the columns audio,image"
        return ""

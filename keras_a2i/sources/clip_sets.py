"""AVSpeech, VGGSound and AudioSet: a csv of clips of YouTube videos beside a folder of the video files."""

import bisect
import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.file_names import printable_name
from keras_a2i.media.video_decode import decode_clips_at
from keras_a2i.media.video_file import import_av, open_video
from keras_a2i.media.video_frames import Crop
from keras_a2i.remote.address import Location, local_path
from keras_a2i.sources.clip_files import YOUTUBE_ID, ClipFiles
from keras_a2i.sources.clip_rows import AUDIOSET, AVSPEECH, VGGSOUND, Clip, ClipTable, Layout, read_clips
from keras_a2i.sources.files import stamp
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Source, Unit
from keras_a2i.sources.pair_keys import PairKeys
from keras_a2i.sources.registry import SOURCE_TYPES, SourceOptions, SourceType, Spec, option, register_source
from keras_a2i.sources.video import to_pair

CROP_SIZE = 0.6
"""Default side of the square around a face, as a share of the frame's shorter side: head and shoulders."""

# Pairs of a unit: whole clips are added until there are as many.
_UNIT_PAIRS = 32
# The cost of a second, as of `VideoSource`, for frames of 640 x 360.
_SECOND_COST = 0.25
# Times of a csv have at most as many decimals; a float of them is the nearest such fraction.
_MICROSECONDS = 1_000_000


@dataclasses.dataclass(frozen=True)
class ClipSetOptions(SourceOptions):
    """Options of every data set of clips."""

    id_files: Literal["whole", "cut"] = option(
        "whole",
        "What files named ID.mp4 contain: whole videos, from which clips are cut, or clips that are already cut.",
    )


@dataclasses.dataclass(frozen=True)
class AVSpeechOptions(ClipSetOptions):
    """Options of AVSpeech."""

    crop_size: float = option(
        CROP_SIZE,
        f"Side of the square around a face of AVSpeech as a share of the frame's shorter side (default {CROP_SIZE}).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.crop_size <= 1:
            raise UsageError(f"crop_size must be a share above 0 and up to 1. Received: crop_size={self.crop_size}")


@dataclasses.dataclass(frozen=True, slots=True)
class ClipUnit(Unit):
    """A run of clips.

    Attributes:
        clips: the clips; each has the next `n_pairs` of the keys.
    """

    clips: Sequence[Clip] = ()


class ClipSource:
    """Pairs from the clips that a csv lists: pair k is the audio from kD to (k+1)D of a clip, and the frame midway.

    A clip's file lies in the folder of the csv or below. It is a whole video, named `ID.*` or `TITLE [ID].*` (yt-dlp),
    or the clip itself, cut already and named after the id and its times: `ID_START_END.*` in seconds with any number of
    decimals, rounded or cut off, or in whole milliseconds, which are recognised by a difference of 1,000 or more; for
    VGGSound and AudioSet also `ID_START.*` in seconds. Numbers may have leading zeros; `-` separates as well as `_`.
    The whole video is preferred, as it is cut exactly.

    In a whole video, time 0 of the csv is the start of the earliest track. Audio and image are chosen as by
    `VideoSource`, with the start of the clip as time 0; a frame before it is used only where it is still being shown at
    the middle of a pair that has none nearby. A clip that is cut already is used from its own beginning. A row's
    source is the YouTube id, its time the one in that video.

    Rows without a file are counted. Rows that aren't valid, repeat a clip, are shorter than a pair, or whose cut file
    could be another row's too are dropped.

    Args:
        csv_path: the csv, without column names.
        layout: how its rows are written.
        features: duration and sample rate of a pair.
        image: size and channels of the images.
        options: `id_files` is what a file named `ID.*` is: "whole" for the video, "cut" for the clip. `crop_size` of
            AVSpeech is the side of the square that images show, as a share of the frame's shorter side. Its centre is
            that of the face; a square that would leave the frame is moved into it.

    Reference:
        AVSpeech: Ephrat et al., Looking to Listen at the Cocktail Party, 2018. VGGSound: Chen et al., VGGSound: A
        Large-scale Audio-Visual Dataset, 2020. AudioSet: Gemmeke et al., Audio Set, 2017.
    """

    split_by_source = True

    def __init__(
        self,
        csv_path: str | Location,
        layout: Layout,
        *,
        features: FeatureConfig,
        image: ImageConfig,
        options: ClipSetOptions,
    ):
        self.csv_path = local_path(csv_path, "csv_path").absolute()
        self.layout, self.options = layout, options
        self.features, self.image = features, image

    @property
    def paths(self) -> list[pathlib.Path]:
        """The csv, beside which the videos lie."""
        return [self.csv_path]

    def plan(self) -> Plan:
        """Lists the clips that have a file, in units of about 32 pairs, without opening the files.

        Raises:
            SourceError: if the csv isn't one or holds no rows, or no row has a file.
            MissingPackageError: if PyAV isn't installed.
        """
        import_av()
        files, folder = ClipFiles(self.csv_path.parent), printable_name(self.csv_path.parent.name)
        id_is_clip = self.options.id_files == "cut"
        table = read_clips(self.csv_path, self.layout, files, self.features.duration, id_is_clip=id_is_clip)
        if table.n_missing and not table.n_found:
            raise SourceError(
                f"Rows of {self.csv_path.name} must have their videos in the folder '{folder}' or below. Received: "
                f"{table.n_missing:,} of {table.n_rows:,} rows without a video ({table.describe_missing()}), and "
                f"{len(files.paths):,} videos named after YouTube ids, none of which belongs to a row. Name a whole "
                "video ID.mp4, and a clip that is cut already ID_START_END.mp4"
            )
        missing = []
        if table.n_missing:
            reason = f"{table.n_missing:,} of {table.n_rows:,} rows without a video in '{folder}' or below"
            missing.append(Dropped(self.csv_path.name, f"{reason}: {table.describe_missing()}"))
        return Plan(tuple(self._units(table)), (*missing, *table.dropped))

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Decodes the clips of a unit one by one; a file that can't be used drops its own pairs only."""
        yield from self.read_at(unit, range(len(unit.keys)))

    def read_at(self, unit: Unit, positions: Sequence[int]) -> Iterator[Pair | Dropped]:
        """Yields what `read` yields for the keys at ascending positions; clips without one aren't opened."""
        assert isinstance(unit, ClipUnit)
        ends = itertools.accumulate((clip.n_pairs for clip in unit.clips), initial=0)
        for clip, (first, end) in zip(unit.clips, itertools.pairwise(ends), strict=True):
            wanted = positions[bisect.bisect_left(positions, first) : bisect.bisect_left(positions, end)]
            if wanted:
                keys = [unit.keys[position] for position in wanted]
                yield from self._read(clip, keys, [position - first for position in wanted])

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        options = dataclasses.asdict(self.options)
        return {"kind": self.layout.kind, "name": self.csv_path.name, "has_audio": True, "continuous": True, **options}

    def _units(self, table: ClipTable) -> Iterator[Unit]:
        keys = PairKeys.of(table.keys(self.features.duration))
        done = 0
        for start, stop in _runs(table.n_pairs.tolist()):
            clips = table.clips(start, stop)
            n_pairs = sum(clip.n_pairs for clip in clips)
            unit_keys = keys[done : done + n_pairs]
            yield ClipUnit(
                name=f"{self.csv_path.name} lines {table.lines[start]}-{table.lines[stop - 1]}",
                keys=unit_keys,
                cost=n_pairs * self.features.duration * _SECOND_COST,
                stamp=self._stamp(clips, unit_keys),
                clips=clips,
            )
            done += n_pairs

    def _stamp(self, clips: Sequence[Clip], keys: PairKeys) -> str:
        """Changes with the files, and with what the rows say beyond the ids of the pairs."""
        digest = hashlib.sha256(stamp(f"{self.csv_path.parent}/{clip.path}" for clip in clips).encode())
        for text in (*map(repr, clips), *keys.texts("label")):
            digest.update(f"{text}\n".encode())
        return digest.hexdigest()[:16]

    def _read(self, clip: Clip, keys: Sequence[PairKey], positions: Sequence[int]) -> Iterator[Pair | Dropped]:
        path, name = self.csv_path.parent / clip.path, printable_name(clip.path)
        start = Fraction(0) if clip.is_clip else Fraction(clip.start).limit_denominator(_MICROSECONDS)
        crop = None
        if isinstance(self.options, AVSpeechOptions):
            crop = Crop(clip.x, clip.y, self.options.crop_size)
        done = 0
        try:
            for result in decode_clips_at(path, positions, self.features, self.image, start=start, crop=crop):
                if done == 0 and isinstance(result, str):
                    _check_duration(path, name, start)
                yield to_pair(keys[done], result, name)
                done += 1
        except SourceError as error:
            yield from (Dropped(key.id, str(error)) for key in keys[done:])


def _runs(n_pairs: list[int]) -> Iterator[tuple[int, int]]:
    """Yields the bounds of runs of clips with at least `_UNIT_PAIRS` pairs, the last with fewer."""
    start = total = 0
    for stop, n in enumerate(n_pairs, 1):
        total += n
        if total >= _UNIT_PAIRS or stop == len(n_pairs):
            yield start, stop
            start, total = stop, 0


def _check_duration(path: pathlib.Path, name: str, start: Fraction) -> None:
    """Raises a SourceError if a video ends before a clip begins."""
    with open_video(path) as file:
        duration = file.duration()
    if duration <= start:
        raise SourceError(
            f"{name} lasts {duration:.2f} s, and the clip begins at {float(start):.12g} s. If files named after the id "
            "alone are clips that are cut already, say so (id_files='cut', --id-files cut)"
        )


class ClipSet(SourceType):
    """Base of the data sets of clips, which are recognised by the first rows of their csv.

    Attributes:
        layout: how the rows are written.
    """

    layout: ClassVar[Layout]
    usage = "the csv of AVSpeech, VGGSound or AudioSet in a folder above its videos"
    options: ClassVar[type[SourceOptions]] = ClipSetOptions

    def recognises(self, spec: Spec) -> bool:
        """Returns whether of the first rows some are valid ones of the data set, and none of another."""
        valid = {set_.id for set_ in _clip_sets() for _, cells in spec.first_rows if set_.layout.is_valid(cells)}
        return valid == {self.id}

    def open(
        self, specs: Sequence[Spec], options: ClipSetOptions, *, features: FeatureConfig, image: ImageConfig
    ) -> Source:
        """Opens the table."""
        return ClipSource(specs[0].table_path, self.layout, features=features, image=image, options=options)

    def hint(self, spec: Spec) -> str:
        """Returns what rows lack that begin with a YouTube id."""
        ids = [line for line, cells in spec.first_rows if YOUTUBE_ID.fullmatch(cells[0])]
        if not ids:
            return ""
        layouts = ", or all ".join(f"{set_.layout.columns} ({type(set_).__name__})" for set_ in _clip_sets())
        return f"Line {ids[0]} begins with a YouTube id: without column names, rows must be all {layouts}"


def _clip_sets() -> list[ClipSet]:
    return [source_type for source_type in SOURCE_TYPES.values() if isinstance(source_type, ClipSet)]


@register_source
class AVSpeech(ClipSet):
    """The csv of AVSpeech with its videos."""

    id = AVSPEECH.kind
    title = f"AVSpeech's csv ({AVSPEECH.columns})"
    details = (
        f"the csv of AVSpeech ({AVSPEECH.columns}) in a folder above its videos, from which clips are cut and cropped"
    )
    layout = AVSPEECH
    options = AVSpeechOptions
    position = 12


@register_source
class VGGSound(ClipSet):
    """The csv of VGGSound with its videos."""

    id = VGGSOUND.kind
    title = f"VGGSound's csv ({VGGSOUND.columns})"
    details = f"the csv of VGGSound ({VGGSOUND.columns}) in a folder above its videos or clips"
    layout = VGGSOUND
    position = 14


@register_source
class AudioSet(ClipSet):
    """A csv of segments of AudioSet with its videos."""

    id = AUDIOSET.kind
    title = f"AudioSet's csv ({AUDIOSET.columns})"
    details = f"a csv of segments of AudioSet ({AUDIOSET.columns}) in a folder above its videos or clips"
    layout = AUDIOSET
    position = 16

"""Video files as a source: the frame nearest the middle of every second with the sound of that second (PyAV)."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.video_clip import VIDEO_SUFFIXES, import_av, open_clip
from keras_a2i.media.video_decode import ClipReader, InexactSkipError
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Unit

KIND = "videos"
# Matroska rounds durations to milliseconds; a clip that much short of a whole second counts as whole.
_ROUNDING = 0.001


def find_videos(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists the video files in a folder and below, by suffix, sorted by path; hidden files and folders are left out."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    visible = (file for file in files if not any(part.startswith(".") for part in file.parts))
    return [folder / file for file in sorted(visible, key=pathlib.Path.as_posix) if (folder / file).is_file()]


class VideoSource:
    """Pairs from video files: pair k is the sound from kD to (k+1)D, D = `features.duration`, and the frame mid-way.

    Time 0 is the start of the earliest track of a file. The picture is the frame whose presentation time is nearest
    (k+0.5)D, the earlier of two at the same distance; it may lie one frame duration away, or D/4 if that is more.
    Sound is mono (mean over the channels) at `features.sample_rate`, placed by its time stamps; a second of which at
    least half has sound is filled up with silence. Every whole second of a clip becomes a pair or a `Dropped`
    that says why not. Each file is read in one sequential pass at constant memory.

    Args:
        paths: video files.
        root: the folder that their names in records are relative to.
        features: duration of a pair and sample rate of its sound.
        image: size and channels of the pictures.

    Raises:
        UsageError: if a file doesn't lie within `root`.
    """

    def __init__(
        self, paths: Sequence[pathlib.Path], root: pathlib.Path, *, features: FeatureConfig, image: ImageConfig
    ):
        self.root = pathlib.Path(root)
        self.features = features
        self.image = image
        self._paths: dict[str, pathlib.Path] = {}
        for path in map(pathlib.Path, paths):
            if not path.is_relative_to(self.root):
                raise UsageError(f"Every video must lie within the folder {self.root.name}. Received: {path.name}")
            self._paths[path.relative_to(self.root).as_posix()] = path

    def plan(self) -> Plan:
        """Lists the seconds of every file from its header; one without duration is scanned, not decoded.

        Raises:
            MissingPackageError: if PyAV isn't installed.
        """
        import_av()
        units, dropped = [], []
        for name, path in self._paths.items():
            try:
                units.append(self._unit(name, path))
            except SourceError as error:
                dropped.append(Dropped(name, str(error)))
        return Plan(tuple(units), tuple(dropped))

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Yields a pair, or the reason why there is none, for every key of the unit in order.

        A file that breaks off or is damaged gives the seconds that can be read.
        """
        done = 0
        for skip in (True, False):
            try:
                for result in self._read_from(unit, done, skip):
                    yield result
                    done += 1
                return
            except InexactSkipError:
                continue
            except SourceError as error:
                yield from (Dropped(key.id, str(error)) for key in unit.keys[done:])
                return

    def describe(self) -> dict[str, Any]:
        """Kind and number of files."""
        return {"kind": KIND, "files": len(self._paths)}

    def _unit(self, name: str, path: pathlib.Path) -> Unit:
        clip, step = open_clip(path), self.features.duration
        with contextlib.closing(clip.container):
            duration = clip.duration()
            pixels = clip.video.width * clip.video.height
        n_pairs = int((duration + _ROUNDING) / step)
        if n_pairs == 0:
            raise SourceError(f"The clip lasts {duration:.2f} s; a pair needs {step:g} s")
        # Sound costs about as much to decode as a picture of this size.
        return Unit(
            name, tuple(self._key(name, k) for k in range(n_pairs)), cost=n_pairs * step * (pixels + 20_000) / 1e6
        )

    def _key(self, name: str, k: int) -> PairKey:
        time = round(k * self.features.duration, 6)
        return PairKey(f"{name}@{time:.12g}", source_id=name, time=time)

    def _read_from(self, unit: Unit, first: int, skip: bool) -> Iterator[Pair | Dropped]:
        wanted = {round(key.time / self.features.duration): key for key in unit.keys[first:]}
        clip = open_clip(self._paths[unit.name])
        with contextlib.closing(clip.container):
            for k, second in enumerate(ClipReader(clip, max(wanted) + 1, self.features, self.image, skip)):
                if k not in wanted:
                    continue
                if isinstance(second, str):
                    yield Dropped(wanted[k].id, second)
                else:
                    waveform, picture = second
                    yield Pair(key=wanted[k], image=picture, waveform=waveform, origin=unit.name)

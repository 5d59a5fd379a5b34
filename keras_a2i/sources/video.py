"""Video files as a source: the audio of every clip, and the video frame nearest to its middle (PyAV)."""

import contextlib
import copy
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.file_names import printable_name
from keras_a2i.media.folder_files import walk_files
from keras_a2i.media.suffixes import VIDEO_SUFFIXES
from keras_a2i.media.video_decode import DecodedClip, decode_clips_at
from keras_a2i.media.video_file import VideoFile, import_av, open_video
from keras_a2i.remote.address import Address, Location, as_location, common_folder, relative_name
from keras_a2i.remote.copies import fetched
from keras_a2i.remote.store import list_objects, opened, stat
from keras_a2i.sources.files import stamp, stamp_objects
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Source, Unit
from keras_a2i.sources.pair_keys import PairKeys
from keras_a2i.sources.registry import SourceType, Spec, register_source

ROUNDING = 0.001
"""Seconds: a last pair that is shorter by as much counts as whole, as Matroska rounds durations to milliseconds."""


def find_videos(folder: Location) -> list[Location]:
    """Lists the video files in a folder and below, by suffix, sorted by path; hidden files and folders are omitted.

    Links to folders are followed on the disk (see `walk_files`).

    Raises:
        SourceError: if a folder of the disk can't be read.
        RemoteError: if an object store can't be read.
    """
    if isinstance(folder, Address):
        names = (pathlib.PurePosixPath(name) for name in list_objects(folder))
        return [
            folder / str(name)
            for name in sorted(names, key=str)
            if name.suffix.lower() in VIDEO_SUFFIXES and not any(part.startswith(".") for part in name.parts)
        ]
    return [folder / name for name in sorted(walk_files(folder, VIDEO_SUFFIXES))]


class VideoSource:
    """Pairs from video files: pair k is the audio from kD to (k+1)D, D = `features.duration`, and the frame midway.

    Time 0 is the start of the earliest track of a file. The image is the frame whose presentation time is nearest
    (k+0.5)D, the earlier of two at the same distance; the distance may be one frame duration, or D/4 if that is more.
    If there is no such frame, as in a slide show, the image is the frame that is visible at that moment. The audio is
    mono (the mean of the channels) at `features.sample_rate`, placed by its time stamps; a clip of which at least half
    has audio is padded with silence. Every whole clip of a file becomes a pair or a `Dropped` with the reason. Each
    file is read once from start to end in constant memory. Of a file in an object store, only the header is fetched for
    the plan; the file is fetched when it is read, and the copy is deleted afterwards. A symbolic link to another of the
    files is dropped, because the same pair could be in several splits.

    Args:
        paths: video files, or their addresses in an object store.
        root: the folder that their names in records are relative to.
        features: duration and sample rate of a clip.
        image: size and channels of the images.

    Raises:
        UsageError: if a file doesn't lie within `root`.
    """

    def __init__(self, paths: Sequence[Location], root: Location, *, features: FeatureConfig, image: ImageConfig):
        self.root = _absolute(root)
        self.features = features
        self.image = image
        self._paths: dict[str, Location] = {}
        for path in map(_absolute, paths):
            name = relative_name(path, self.root)
            if name is None:
                raise UsageError(f"Every video must lie within the folder {self.root.name}. Received: {path.name}")
            self._paths[printable_name(name)] = path

    @property
    def paths(self) -> list[pathlib.Path]:
        """One file of every folder of the disk."""
        paths = [path for path in self._paths.values() if isinstance(path, pathlib.Path)]
        return list({path.parent: path for path in paths}.values())

    def select(self, units: Iterable[Unit]) -> "VideoSource":
        """Returns a source of the files of some units."""
        selected = copy.copy(self)
        selected._paths = {unit.name: self._paths[unit.name] for unit in units}
        return selected

    def plan(self) -> Plan:
        """Lists the clips of every file from its header; a file whose header has no duration is scanned, not decoded.

        Raises:
            MissingPackageError: if PyAV isn't installed.
            RemoteError: if an object store can't be read.
        """
        import_av()
        files, dropped, repeated = [], [], self._find_repeated()
        for name, path in self._paths.items():
            if name in repeated:
                dropped.append(Dropped(name, f"the same file as {repeated[name]}. Pass each file once"))
                continue
            try:
                # A file that changes while it is planned has a stamp of before.
                state = stamp_objects([stat(path)]) if isinstance(path, Address) else stamp([path])
                files.append((name, *self._count(path), state))
            except SourceError as error:
                dropped.append(Dropped(name, str(error)))
        keys = PairKeys.of(self._key(name, k) for name, n_pairs, *_ in files for k in range(n_pairs))
        ends = itertools.accumulate((n_pairs for _, n_pairs, *_ in files), initial=0)
        units = (
            Unit(name, keys[start:end], cost, state)
            for (name, _, cost, state), (start, end) in zip(files, itertools.pairwise(ends), strict=True)
        )
        return Plan(tuple(units), tuple(dropped))

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Yields a pair, or the reason why there is none, for every key of the unit in order.

        The clips before a damaged place, or before the place where a file breaks off, are pairs.

        Raises:
            RemoteError: if an object store can't be read.
        """
        yield from self.read_at(unit, range(len(unit.keys)))

    def read_at(self, unit: Unit, positions: Sequence[int]) -> Iterator[Pair | Dropped]:
        """Yields what `read` yields for the keys at ascending positions; files with an index are skipped between them.

        Raises:
            RemoteError: if an object store can't be read.
        """
        path, done = self._paths[unit.name], 0
        try:
            with fetched(path) if isinstance(path, Address) else contextlib.nullcontext(path) as file:
                for clip in decode_clips_at(file, positions, self.features, self.image):
                    yield to_pair(unit.keys[positions[done]], clip, unit.name)
                    done += 1
        except SourceError as error:
            yield from (Dropped(unit.keys[position].id, str(error)) for position in positions[done:])

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        return {"kind": "videos", "has_audio": True, "continuous": True, "files": len(self._paths)}

    def _find_repeated(self) -> dict[str, str]:
        """The names of files of the disk that are reached by links to others, each with the name of the other."""
        firsts: dict[str, str] = {}
        paths = {name: path for name, path in self._paths.items() if isinstance(path, pathlib.Path)}
        targets = {name: os.path.realpath(path) for name, path in paths.items()}
        # A file itself comes before links to it.
        for name in sorted(
            targets, key=lambda name: (targets[name] != os.fspath(paths[name]), paths[name].is_symlink())
        ):
            firsts.setdefault(targets[name], name)
        return {name: firsts[target] for name, target in targets.items() if firsts[target] != name}

    def _count(self, path: Location) -> tuple[int, float]:
        """The number of whole clips of a file, and its cost."""
        step = self.features.duration
        with _header(path) as file:
            duration = file.duration()
            pixels = file.video.width * file.video.height
        n_pairs = int((duration + ROUNDING) / step)
        if n_pairs == 0:
            raise SourceError(f"{path.name} lasts {duration:.2f} s; a clip has {step:g} s")
        # Audio costs about as much to decode as frames of this size.
        return n_pairs, n_pairs * step * (pixels + 20_000) / 1e6

    def _key(self, name: str, k: int) -> PairKey:
        time = round(k * self.features.duration, 6)
        return PairKey(f"{name}@{time:.12g}", source_id=name, time=time)


def _absolute(path: Location) -> Location:
    """The path without "..", so that a file has one name however it is spelled; links stay as they are."""
    location = as_location(path)
    if isinstance(location, Address) or ".." not in location.parts:
        return location if isinstance(location, Address) else location.absolute()
    plain = pathlib.Path(os.path.abspath(location))  # noqa: PTH100 (pathlib keeps "..")
    # Behind a link to a folder, ".." leads elsewhere than the text says.
    return plain if plain.resolve() == location.resolve() else location.resolve()


@contextlib.contextmanager
def _header(path: Location) -> Iterator[VideoFile]:
    if isinstance(path, pathlib.Path):
        with open_video(path) as file:
            yield file
        return
    with opened(path) as stream, open_video(pathlib.PurePosixPath(path.name), stream=stream) as file:
        yield file


def to_pair(key: PairKey, clip: DecodedClip, origin: str) -> Pair | Dropped:
    """Returns the pair of a decoded clip, or the reason why there is none."""
    if isinstance(clip, str):
        return Dropped(key.id, clip)
    waveform, image = clip
    return Pair(key=key, image=image, waveform=waveform, origin=origin)


@register_source
class Videos(SourceType):
    """Video files and folders of them; all that are given are one source."""

    id = "videos"
    title = "videos"
    usage = "a video file or a folder of videos"
    details = "a video file, or a folder of videos (one image with its audio for every second)"
    merges = True
    reads_stores = True
    position = 10

    def recognises(self, spec: Spec) -> bool:
        """Returns whether it is a video by its suffix, or a folder with videos and without a table."""
        return spec.suffix in VIDEO_SUFFIXES or (spec.is_folder and spec.table is None and bool(find_videos(spec.path)))

    def open(self, specs: Sequence[Spec], options: Any, *, features: FeatureConfig, image: ImageConfig) -> Source:
        """Opens all files as one source; their names are relative to the folder that they have in common."""
        root = common_folder([_absolute(spec.path if spec.is_folder else spec.path.parent) for spec in specs])
        places = [(_absolute(spec.path), spec.is_folder) for spec in specs]
        files = [file for path, is_folder in places for file in (find_videos(path) if is_folder else [path])]
        return VideoSource(list(dict.fromkeys(files)), root, features=features, image=image)

    def hint(self, spec: Spec) -> str:
        """Returns the suffixes of videos."""
        if spec.table is not None:
            return ""
        return f"Videos end in one of {', '.join(sorted(VIDEO_SUFFIXES))}"

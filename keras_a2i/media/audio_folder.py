"""Clips of the audio files in a folder, in memory: a sample of bounded size."""

import dataclasses
import itertools
import pathlib

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import MissingPackageError, SourceError, UsageError
from keras_a2i.media.audio import stream_audio
from keras_a2i.media.clips import cut_clips
from keras_a2i.media.conversion import from_int16, to_int16
from keras_a2i.media.folder_files import walk_files
from keras_a2i.media.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from keras_a2i.spread import spread_rows


@dataclasses.dataclass(frozen=True, eq=False)
class FolderClips:
    """Clips of the files in a folder.

    Attributes:
        name: of the folder.
        waveforms: float32 (n, n_samples) in [-1, 1], rounded to 16 bits as in records.
        n_files: number of files that were read.
        skipped: sentences about files that can't be read.
    """

    name: str
    waveforms: np.ndarray
    n_files: int
    skipped: list[str]


def audio_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the audio files and videos in a folder and below it, sorted; see `walk_files` for links and hidden ones.

    Raises:
        SourceError: if it doesn't exist or can't be read.
        UsageError: if it isn't a folder or holds none.
    """
    if not folder.exists():
        raise SourceError(f"A folder of audio files must exist. Received: {folder}, which doesn't")
    if not folder.is_dir():
        raise UsageError(f"A folder of audio files must be a folder. Received: the file {folder}")
    found = sorted(folder / name for name in walk_files(folder, AUDIO_SUFFIXES + VIDEO_SUFFIXES))
    if not found:
        raise UsageError(
            f"A folder of audio files must hold at least one ({', '.join(AUDIO_SUFFIXES)}, or a video). Received: "
            f"{folder}, which holds none"
        )
    return found


def read_folder_clips(folder: pathlib.Path, features: FeatureConfig, n: int) -> FolderClips:
    """Cuts up to n clips out of the files of a folder: the first ones of each, equally many where files are long.

    Of more than n files, n are read, spread evenly. The last clip of a file is padded with silence.

    Args:
        folder: the folder.
        features: sample rate and duration of the clips.
        n: maximum number of clips, from 1.

    Raises:
        SourceError: as `audio_files`, or if none of the files can be read.
        UsageError: as `audio_files`.
    """
    files = audio_files(folder)
    files = [files[i] for i in spread_rows(len(files), n)]
    clips: list[np.ndarray] = []
    skipped: list[str] = []
    for i, path in enumerate(files):
        # What short files leave of their share goes to those after them.
        share = max(1, (n - len(clips)) // (len(files) - i))
        try:
            stream = cut_clips(stream_audio(path, features.sample_rate), features.n_samples)
            clips += list(itertools.islice(stream, share))
        except (SourceError, MissingPackageError) as error:
            skipped.append(str(error))
    if not clips:
        raise SourceError(
            f"A folder of audio files must hold one that can be read. Received: {len(files)} files. {skipped[0]}"
        )
    waveforms = from_int16(to_int16(np.stack(clips)))
    return FolderClips(folder.resolve().name, waveforms, len(files) - len(skipped), skipped)

"""`generate_audio`: from images to a folder of wav files."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.image import read_image
from keras_a2i.media.sound_file import save_wav
from keras_a2i.media.suffixes import IMAGE_SUFFIXES
from keras_a2i.remote.address import local_path
from keras_a2i.serving.staged_folder import StagedFolder

if TYPE_CHECKING:
    from keras_a2i.models.image_to_audio import ImageToAudio

_BATCH = 16
Paths = Sequence[str | pathlib.Path]


@dataclasses.dataclass(frozen=True)
class GeneratedAudio:
    """The result of `generate_audio`.

    Attributes:
        paths: the wav files, in the order of the images.
        skipped: sentences about images that can't be read.
    """

    paths: list[pathlib.Path]
    skipped: list[str]


def generate_audio(
    model: Union["ImageToAudio", str, pathlib.Path],
    images: str | pathlib.Path | Paths,
    folder: str | pathlib.Path,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> GeneratedAudio:
    """Generates a wav file for every image.

    The files are named after the images, mono with 16 bits at the model's sample rate. They get their final names when
    all files are complete, and only replace files of an earlier call.

    Args:
        model: an `ImageToAudio`, or the path of a run folder of `fit_image_to_audio` or of a `.keras` file.
        images: a png or jpg file, a folder of them, or several of either.
        folder: the folder for the files; it is created if it doesn't exist.
        temperature: standard deviation of the style, which all images share, 0 to 4; 0 is the usual audio of an image.
        seed: random seed of the style and of the initial phases of Griffin-Lim.
        overwrite: replace the files that an earlier call wrote; a file in the folder lists them.
        strict: raise an error at the first image that can't be read, instead of skipping it.
        progress: called with the number of images done and of all images.

    Returns:
        The files, and the images that were skipped.

    Raises:
        UsageError: if there is no image, two have the same name, or `folder` is a file, or holds files of an earlier
            call and `overwrite` is False, or a file that no call wrote is in the way.
        SourceError: if none of the images can be read, or, with `strict`, one of them can't.
        ModelError: if a path isn't a model that generates audio.

    Example:
        >>> import keras_a2i as a2i
        >>> a2i.generate_audio("run", "drawings", "sounds").paths  # doctest: +SKIP
    """
    files = find_images([images] if isinstance(images, str | pathlib.Path) else images)
    names = _wav_names(files)
    staged = StagedFolder(local_path(folder, "folder"), overwrite)

    from keras_a2i.models.image_to_audio import ImageToAudio

    loaded = model if isinstance(model, ImageToAudio) else ImageToAudio.from_preset(model)
    paths: list[pathlib.Path] = []
    skipped: list[str] = []
    with staged:
        for start in range(0, len(files), _BATCH):
            read = _read(loaded, files[start : start + _BATCH], names[start : start + _BATCH], skipped, strict)
            if read:
                stack = from_uint8(np.stack(list(read.values())))
                audio = loaded.generate(stack, temperature=temperature, seed=seed)
                for name, waveform in zip(read, audio, strict=True):
                    save_wav(staged.stage(name), waveform, loaded.sample_rate)
                    paths.append(pathlib.Path(folder) / name)
            if progress is not None:
                progress(min(start + _BATCH, len(files)), len(files))
        if not paths:
            raise SourceError(f"No image could be read ({len(files):,} given). {skipped[0]}")
        staged.commit()
    return GeneratedAudio(paths, skipped)


def find_images(places: Paths) -> list[pathlib.Path]:
    """Returns the given files, and the png and jpg files in the given folders.

    Raises:
        UsageError: if there is none.
    """
    found: list[pathlib.Path] = []
    for place in map(pathlib.Path, places):
        inside = sorted(place.iterdir()) if place.is_dir() else [place]
        found += [path for path in inside if path == place or path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise UsageError(f"images must be {', '.join(IMAGE_SUFFIXES)} files or folders of them. Received: no such file")
    return found


def _wav_names(files: Sequence[pathlib.Path]) -> list[str]:
    """Returns a name for each file: its stem, with its suffix too where stems repeat."""
    stems = collections.Counter(path.stem for path in files)
    names = [path.stem if stems[path.stem] == 1 else path.name for path in files]
    repeated = sorted(name for name, count in collections.Counter(names).items() if count > 1)
    if repeated:
        raise UsageError(f"images must have different names. Received: {repeated[0]} twice. Use several calls")
    return [f"{name}.wav" for name in names]


def _read(
    model: "ImageToAudio", files: Sequence[pathlib.Path], names: Sequence[str], skipped: list[str], strict: bool
) -> dict[str, np.ndarray]:
    """Returns the images that can be read by the names of their wav files, and adds sentences about the others."""
    read = {}
    for path, name in zip(files, names, strict=True):
        try:
            read[name] = read_image(path, model.image)
        except SourceError as error:
            if strict:
                raise
            skipped.append(str(error))
    return read

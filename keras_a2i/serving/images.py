"""Audio into a folder of PNG images."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.conversion import to_uint8
from keras_a2i.media.image import save_png, to_pillow
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.serving.model_inputs import count_inputs
from keras_a2i.serving.predictor import Predictor, as_predictor

_MAX_ON_SHEET = 64


def generate_images(
    model: Any,
    audio: np.ndarray | str | pathlib.Path,
    folder: str | pathlib.Path,
    *,
    sample_rate: int | None = None,
    samples: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    sheet: bool = True,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[pathlib.Path]:
    """Generates an image for each clip of audio (a second unless configured otherwise), in constant memory.

    The images are named 0000.png, 0001.png and so on; with `samples`, 0000-1.png, 0000-2.png and so on.

    Args:
        model: anything that `as_predictor` accepts: a Predictor, a Keras model, or the path of a model.
        audio: an audio file or a video; samples, with `sample_rate`; or the model's inputs, such as embeddings or a
            file of them. As for `Predictor.predict`.
        folder: where the images go; it is created if it doesn't exist.
        sample_rate: Hz of samples.
        samples: images for each clip, by a model with a style; None generates one.
        temperature: with `samples`, how far they are from the usual image: the standard deviation of the style, 0 to 4.
        seed: with `samples`, the random seed of the styles.
        sheet: whether to draw a contact sheet of up to 64 clips beside the folder, named `folder`.png.
        overwrite: replace the images that an earlier call wrote.
        progress: called with the number of clips done and of all clips, after every batch.

    Returns:
        The paths of the images, in order.

    Raises:
        UsageError: if `folder` is a file, or holds images and `overwrite` is False; or as `Predictor.predict` and
            `Predictor.sample`.
        SourceError: if a file can't be read.
        ModelError: if a path isn't a model.

    Example:
        >>> import keras_a2i as a2i
        >>> paths = a2i.generate_images("model.tflite", "song.wav", "images")  # doctest: +SKIP
    """
    folder = pathlib.Path(folder)
    old = check_image_folder(folder, overwrite)
    predictor = as_predictor(model)
    if samples is not None:
        predictor.check_sampling(samples, temperature)
    config = predictor.metadata.features
    if isinstance(audio, str | pathlib.Path):
        total = count_inputs(pathlib.Path(audio), predictor.metadata)
    else:
        total = -(-len(audio) // (1 if sample_rate is None else max(1, round(sample_rate * config.duration))))
    paths: list[pathlib.Path] = []
    shown: list[np.ndarray] = []
    captions: list[str] = []
    count = 0
    for batch in _stream(predictor, audio, sample_rate, samples, temperature, seed):
        folder.mkdir(parents=True, exist_ok=True)
        while old:
            old.pop().unlink()
        for images in to_uint8(batch):
            for number, image in enumerate(images, 1):
                paths.append(folder / (f"{count:04d}.png" if samples is None else f"{count:04d}-{number}.png"))
                save_png(to_pillow(image), paths[-1])
            if count % max(1, -(-total // _MAX_ON_SHEET)) == 0:
                shown.append(images)
                captions.append(f"{count}" if config.embedding else f"{count * config.duration:g} s")
            count += 1
        if progress is not None:
            progress(count, max(count, total))
    if sheet:
        rows = list(np.stack(shown, axis=1))
        labels = [] if samples is None else [f"sample {number}" for number in range(1, samples + 1)]
        save_png(draw_sheet(rows, labels, captions), folder.with_name(folder.name + ".png"))
    return paths


def check_image_folder(folder: pathlib.Path, overwrite: bool) -> list[pathlib.Path]:
    """Returns the images in a folder that an earlier call wrote.

    Raises:
        UsageError: if there are any and `overwrite` is False, or the folder is a file.
    """
    if folder.is_file():
        raise UsageError(f"folder must be a folder. Received: the file {folder}")
    old = list(folder.glob("[0-9][0-9][0-9][0-9]*.png"))
    if old and not overwrite:
        raise UsageError(
            f"folder must not hold images of an earlier call. Received: {folder} with {len(old)} of them. Choose "
            "another, or pass overwrite=True"
        )
    return old


def _stream(
    predictor: Predictor,
    audio: np.ndarray | str | pathlib.Path,
    sample_rate: int | None,
    samples: int | None,
    temperature: float,
    seed: int,
) -> Iterator[np.ndarray]:
    """Yields images (n, samples, size, size, channels) of consecutive clips; one of each without `samples`."""
    for inputs in predictor.stream_inputs(audio, sample_rate):
        if samples is None:
            yield predictor.predict_inputs(inputs)[:, None]
        else:
            yield predictor.sample(inputs, samples, temperature, seed)

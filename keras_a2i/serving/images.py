"""`generate_images`: from audio to a folder of PNG images."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_a2i.media.conversion import to_uint8
from keras_a2i.media.image import save_png, to_pillow
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.remote.address import local_path
from keras_a2i.serving.model_inputs import count_inputs
from keras_a2i.serving.predictor import Predictor, as_predictor
from keras_a2i.serving.staged_folder import StagedFolder

_MAX_ON_SHEET = 64
_MAX_LABEL = 16


def generate_images(
    model: Any,
    audio: np.ndarray | str | pathlib.Path,
    folder: str | pathlib.Path,
    *,
    sample_rate: int | None = None,
    samples: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    reference: np.ndarray | str | pathlib.Path | None = None,
    sheet: bool = True,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_labels: Callable[[list[str]], None] | None = None,
) -> list[pathlib.Path]:
    """Generates an image for each clip of audio (one second by default), in constant memory.

    The images are named 0000.png, 0001.png and so on; with `samples`, 0000-1.png, 0000-2.png and so on. They get their
    final names when all images are complete, and only replace images of an earlier call.

    Args:
        model: anything that `as_predictor` accepts: a Predictor, a Keras model, or the path of a model.
        audio: as for `Predictor.predict`: an audio file or a video; samples, with `sample_rate`; or the model's inputs,
            such as embeddings or a file of embeddings.
        folder: where the images go; it is created if it doesn't exist.
        sample_rate: Hz of samples.
        samples: number of images for each clip, for a model with a style; None generates one image.
        temperature: with `samples`, the standard deviation of the style, 0 to 4; at 0 every sample is the usual image.
        seed: with `samples`, the random seed of the styles.
        reference: for a model with a reference image, such as one of the recipe talking: the image to animate, see
            `Predictor.with_reference`.
        sheet: whether to write a contact sheet of up to 64 clips beside the folder, named `folder`.png. If the model
            classifies, the caption of each clip contains its predicted label, or "unknown".
        overwrite: replace the images that an earlier call wrote; a file in the folder lists them.
        progress: called with the number of clips done and of all clips, after every batch.
        on_labels: called with the predicted labels of the clips of every batch, the `answers` of
            `Predictor.predict_labels`, if the model classifies.

    Returns:
        The paths of the images, in order.

    Raises:
        UsageError: if `folder` is a file, or holds images of an earlier call and `overwrite` is False, or a file that
            no call wrote is in the way; or as `Predictor.predict` and `Predictor.sample`.
        SourceError: if a file can't be read.
        ModelError: if a path isn't a model.

    Example:
        >>> import keras_a2i as a2i
        >>> paths = a2i.generate_images("model.tflite", "song.wav", "images")  # doctest: +SKIP
    """
    folder = local_path(folder, "folder")
    sheet_name = f"{folder.name}.png"
    files = StagedFolder(folder, overwrite, (sheet_name,) if sheet else ())
    predictor = as_predictor(model).with_reference(reference)
    if samples is not None:
        predictor.check_sampling(samples, temperature)
    config = predictor.metadata.features
    if isinstance(audio, str | pathlib.Path):
        total = count_inputs(local_path(audio, "audio"), predictor.metadata)
    else:
        total = -(-len(audio) // (1 if sample_rate is None else max(1, round(sample_rate * config.duration))))
    paths: list[pathlib.Path] = []
    shown: list[tuple[str, np.ndarray]] = []
    count, every = 0, 1
    with files:
        for inputs, batch in _stream(predictor, audio, sample_rate, samples, temperature, seed):
            labels = [""] * len(batch)
            if predictor.can_classify and (sheet or on_labels is not None):
                labels = predictor.predict_labels(inputs).answers
                if on_labels is not None:
                    on_labels(labels)
            for images, label in zip(to_uint8(batch), labels, strict=True):
                for number, image in enumerate(images, 1):
                    name = f"{count:04d}.png" if samples is None else f"{count:04d}-{number}.png"
                    save_png(to_pillow(image), files.stage(name))
                    paths.append(folder / name)
                if count % every == 0:
                    place = f"{count}" if config.embedding else f"{count * config.duration:g} s"
                    shown.append((f"{place}: {_short(label)}" if label else place, images))
                if len(shown) > _MAX_ON_SHEET:
                    # How long the audio is turns out only at its end.
                    shown, every = shown[::2], 2 * every
                count += 1
            if progress is not None:
                progress(count, max(count, total))
        if sheet:
            rows = list(np.stack([images for _, images in shown], axis=1))
            names = [] if samples is None else [f"sample {number}" for number in range(1, samples + 1)]
            captions = [caption for caption, _ in shown]
            save_png(draw_sheet(rows, names, captions), files.stage(f"../{sheet_name}"))
        files.commit()
    return paths


def _short(label: str) -> str:
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…"


def _stream(
    predictor: Predictor,
    audio: np.ndarray | str | pathlib.Path,
    sample_rate: int | None,
    samples: int | None,
    temperature: float,
    seed: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields inputs, and images (n, samples, size, size, channels) of consecutive clips; one each without `samples`."""
    for inputs in predictor.stream_inputs(audio, sample_rate):
        if samples is None:
            yield inputs, predictor.predict_inputs(inputs)[:, None]
        else:
            yield inputs, predictor.sample(inputs, samples, temperature, seed)

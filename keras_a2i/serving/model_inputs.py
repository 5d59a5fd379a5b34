"""The inputs of a model, in batches: from audio files, audio arrays, clips, or vectors."""

import itertools
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.errors import SourceError, UsageError
from keras_a2i.features.mfcc import mfcc
from keras_a2i.media.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, open_audio, resample, stream_audio, to_mono
from keras_a2i.media.clips import cut_clips
from keras_a2i.media.conversion import from_int16, to_int16
from keras_a2i.media.sound_file import MAX_PEAK
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.remote.address import local_path
from keras_a2i.sources.vectors import VECTOR_SUFFIXES, checked_parts, read_vectors

BATCH = 32


def stream_inputs(
    audio: np.ndarray | str | pathlib.Path, metadata: ModelMetadata, sample_rate: int | None = None
) -> Iterator[np.ndarray]:
    """Yields the inputs of a model, up to 32 at a time; of a file, in constant memory.

    Audio is cut into consecutive clips of the configured duration, the last padded with silence.

    Args:
        audio: an audio file or a video, of any rate, length and channels. Or samples (n,) or (n, channels), float in
            [-1, 1] or int16, with `sample_rate`. Or, without it, the model's inputs themselves: features
            (batch, n_features) or clips (batch, n_samples), by `metadata.input`. For a model of embeddings: vectors
            (batch, n) or (n,), or a `.npy` or `.npz` file of them.
        metadata: of the model.
        sample_rate: Hz of samples, 1,000 to 768,000.

    Yields:
        float32 (n, n_inputs).

    Raises:
        UsageError: if an array has the wrong shape or isn't finite, the rate is out of range, or a model of embeddings
            is given audio.
        SourceError: if a file can't be read as audio, or as vectors of the model's length.
    """
    if isinstance(audio, str | pathlib.Path):
        path = local_path(audio, "audio")
        if metadata.features.embedding:
            yield from checked_parts(open_vectors(path, metadata), path.name, BATCH)
            return
        config = metadata.features
        clips = cut_clips(stream_audio(path, config.sample_rate), config.n_samples)
        while batch := list(itertools.islice(clips, BATCH)):
            yield clip_inputs(np.stack(batch), metadata)
        return
    if sample_rate is None:
        inputs = np.asarray(audio)
        if metadata.input == "waveform":
            inputs = _to_floats(inputs)
        inputs = check_inputs(inputs.astype(np.float32), metadata)
    else:
        metadata.require_audio(f"samples at {sample_rate} Hz")
        inputs = clip_inputs(_cut_clips(_check_samples(np.asarray(audio)), sample_rate, metadata), metadata)
    for start in range(0, len(inputs), BATCH):
        yield inputs[start : start + BATCH]


def clip_inputs(clips: np.ndarray, metadata: ModelMetadata) -> np.ndarray:
    """Computes the inputs of a model, float32 (n, n_inputs), for clips (n, n_samples) in [-1, 1] at its sample rate.

    Records hold 16-bit audio and its features, so clips are rounded to 16 bits here too.
    """
    metadata.require_audio("clips of audio")
    rounded = from_int16(to_int16(clips))
    return rounded if metadata.input == "waveform" else mfcc(rounded, metadata.features)


def check_inputs(inputs: np.ndarray, metadata: ModelMetadata) -> np.ndarray:
    """Returns inputs as (batch, n_inputs); a single embedding (n,) becomes a batch of one.

    Raises:
        UsageError: if they have another shape or aren't finite.
    """
    config, wanted = metadata.features, metadata.n_inputs
    if config.embedding and inputs.ndim == 1:
        inputs = inputs[None]
    if inputs.ndim == 2 and inputs.shape[1] == wanted and np.isfinite(inputs).all():
        return inputs
    hint = ""
    if metadata.input == "waveform":
        name, hint = "clips of audio", ". Pass sample_rate with audio of any rate and length"
    else:
        name = config.description if config.embedding else "features"
    raise UsageError(
        f"The inputs of this model must be finite {name}, (batch, {wanted}). Received: shape {inputs.shape}{hint}"
    )


def check_latents(latents: Any, latent_dim: int | None) -> np.ndarray:
    """Returns latent vectors as float32 (n, latent_dim).

    Args:
        latents: the vectors.
        latent_dim: their length, or None where it isn't known.

    Raises:
        UsageError: if they have another shape or aren't finite.
    """
    latents = np.asarray(latents, np.float32)
    if latents.ndim != 2 or latent_dim not in (None, latents.shape[1]) or not np.isfinite(latents).all():
        wanted = "latent_dim" if latent_dim is None else latent_dim
        raise UsageError(f"latents must be finite, (n, {wanted}). Received: shape {latents.shape}")
    return latents


def check_references(references: Any, metadata: ModelMetadata, n: int) -> np.ndarray:
    """Returns reference images as float32 (n, size, size, channels).

    Raises:
        UsageError: if they have another shape or aren't finite, or the model needs none.
    """
    if not metadata.reference:
        raise UsageError("references must be left out for a model without a reference image. Received: some")
    references, shape = np.asarray(references, np.float32), (n, *metadata.image.shape)
    if references.shape != shape or not np.isfinite(references).all():
        raise UsageError(
            f"references must be finite images in [-1, 1], {shape}, one for every input. Received: shape "
            f"{references.shape}"
        )
    return references


def open_vectors(path: pathlib.Path, metadata: ModelMetadata) -> np.ndarray:
    """Opens a file of vectors for a model of embeddings.

    Args:
        path: a `.npy` file with one vector (n_features,) or many (n, n_features), or a `.npz` file: its array
            "embeddings", or all of its arrays.
        metadata: of the model.

    Returns:
        (n, n_features), as stored on the disk.

    Raises:
        SourceError: if the file can't be read, or its vectors aren't of the model's length.
        UsageError: if it is another file, such as audio.
    """
    if path.suffix.lower() not in VECTOR_SUFFIXES:
        metadata.require_audio(str(path))
    vectors = read_vectors(path)
    if vectors.shape[1] != metadata.features.embedding:
        raise SourceError(
            f"The vectors of a file must be {metadata.features.description}. "
            f"Received: {path.name} with vectors of {vectors.shape[1]}"
        )
    return vectors


def count_inputs(path: pathlib.Path, metadata: ModelMetadata, seconds: float | None = None) -> int:
    """Estimates how many inputs a file holds, for a progress bar: 1 where that isn't known before it is read.

    Args:
        path: the file.
        metadata: of the model.
        seconds: from one input to the next; None is the duration of a clip.
    """
    try:
        if metadata.features.embedding:
            return len(open_vectors(path, metadata))
        with open_audio(path) as file:
            return max(1, math.ceil(file.frames / (file.samplerate * (seconds or metadata.features.duration))))
    except (SourceError, OSError):
        return 1


def _check_samples(waveform: np.ndarray) -> np.ndarray:
    waveform = _to_floats(waveform)
    if waveform.ndim not in (1, 2) or waveform.size == 0 or not np.isfinite(waveform).all():
        raise UsageError(
            f"audio must be finite samples, (n,) or (n, channels), and at least one. Received: shape {waveform.shape}"
        )
    if waveform.ndim == 2 and waveform.shape[0] < waveform.shape[1] and waveform.shape[0] <= 8:
        raise UsageError(f"audio must have its channels last, (n, channels). Received: shape {waveform.shape}")
    return waveform


def _to_floats(waveform: np.ndarray) -> np.ndarray:
    """Converts samples of any type to floats with full scale [-1, 1]: integers by the range of their type."""
    kind = waveform.dtype.kind
    if kind in "iu":
        if waveform.dtype.itemsize > 4 or waveform.dtype == np.uint16:
            raise UsageError(
                f"audio must be floats in [-1, 1], int8, int16, int32 or uint8. Received: {waveform.dtype}. Divide the "
                "samples by their full scale, such as 32768 for 16-bit values"
            )
        middle = 128 if kind == "u" else 0
        return ((waveform.astype(np.float64) - middle) / 2.0 ** (8 * waveform.dtype.itemsize - 1)).astype(np.float32)
    if kind != "f":
        raise UsageError(f"audio must be numbers. Received: {waveform.dtype}")
    peak = np.abs(waveform).max(initial=0)
    if np.isfinite(peak) and peak > MAX_PEAK:
        raise UsageError(
            f"audio must lie within [-1, 1], apart from short peaks. Received: a peak of {peak:g}. Divide the samples "
            "by their full scale, 32768 for 16-bit values"
        )
    return waveform


def _cut_clips(waveform: np.ndarray, sample_rate: int, metadata: ModelMetadata) -> np.ndarray:
    """Cuts samples into consecutive clips (n, n_samples), at least one, the last padded with silence."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise UsageError(
            f"sample_rate must be between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz. "
            f"Received: sample_rate={sample_rate}"
        )
    config = metadata.features
    waveform = np.clip(resample(to_mono(waveform), sample_rate, config.sample_rate), -1, 1)
    n_clips = max(1, -(-len(waveform) // config.n_samples))
    return np.pad(waveform, (0, n_clips * config.n_samples - len(waveform))).reshape(n_clips, config.n_samples)

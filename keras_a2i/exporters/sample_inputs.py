"""Inputs that an export is compared and calibrated on: from records, from arrays, or synthetic ones."""

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.media.conversion import from_int16, from_uint8
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.remote.address import Location

N_COMPARED = 128
N_CALIBRATED = 256
_N_SYNTHETIC = 16


def read_inputs(records: Location, metadata: ModelMetadata, split: str, count: int) -> np.ndarray:
    """Reads up to `count` inputs of a split, spread evenly over it.

    Raises:
        RecordsError: if the folder holds no records, or no audio where the model's input is a waveform.
        UsageError: if they are records of other features or images.
    """
    from keras_a2i.records.records import as_records

    opened = as_records(records)
    metadata.require_records(opened.features, opened.image)
    inputs, _ = opened.sample(split if split in opened.counts else "train", count, metadata.input)
    return inputs


def read_references(records: Location, metadata: ModelMetadata, split: str, count: int) -> np.ndarray:
    """Reads the reference images, float32 in [-1, 1], of the inputs that `read_inputs` reads: their sources' first."""
    from keras_a2i.records.records import as_records

    opened = as_records(records)
    split = split if split in opened.counts else "train"
    pairs = opened.sample_pairs(split, count, metadata.input)
    return from_uint8(opened.reference_images(split, pairs.sources))


def make_references(metadata: ModelMetadata, count: int) -> np.ndarray:
    """Makes smooth images of random colours, float32 (count, size, size, channels) in [-1, 1], always the same ones."""
    rng, (size, _, channels) = np.random.default_rng(1), metadata.image.shape
    coarse = rng.uniform(-1, 1, (count, 4, 4, channels))
    return np.repeat(np.repeat(coarse, size // 4, axis=1), size // 4, axis=2).astype(np.float32)


def check_inputs(calibration: np.ndarray, metadata: ModelMetadata) -> np.ndarray:
    """Returns a user's calibration inputs as float32 (n, n_inputs).

    Raises:
        UsageError: if they have another shape than the model's inputs, aren't finite, or are a waveform beyond [-1, 1].
    """
    inputs = np.asarray(calibration)
    if metadata.input == "waveform" and inputs.dtype == np.int16:
        inputs = from_int16(inputs)
    if inputs.ndim != 2 or inputs.shape[1] != metadata.n_inputs or not len(inputs) or inputs.dtype.kind not in "fiu":
        raise UsageError(
            f"calibration must be an array of inputs, (n, {metadata.n_inputs}). "
            f"Received: shape {inputs.shape} of {inputs.dtype}"
        )
    if not np.isfinite(inputs).all():
        raise UsageError("calibration must be finite. Received: NaN or infinite numbers")
    if metadata.input == "waveform" and np.abs(inputs).max() > 1:
        raise UsageError(
            f"calibration must be audio in [-1, 1], or int16. Received: a peak of {np.abs(inputs).max():g}. Divide it "
            "by its full scale"
        )
    return inputs.astype(np.float32)


def make_inputs(metadata: ModelMetadata) -> np.ndarray:
    """Makes sixteen inputs of the model's kind, always the same ones."""
    rng = np.random.default_rng(0)
    if metadata.input == "waveform":
        return _make_waveforms(rng, metadata.features)
    n_features = metadata.n_inputs
    mean = np.array(metadata.feature_mean or np.zeros(n_features))
    std = np.array(metadata.feature_std or np.full(n_features, 15.0))
    return (mean + std * rng.standard_normal((_N_SYNTHETIC, n_features))).astype(np.float32)


def _make_waveforms(rng: np.random.Generator, config: FeatureConfig) -> np.ndarray:
    """Tones in noise from -60 dB to full scale."""
    time = np.arange(config.n_samples) / config.sample_rate
    tones = np.sin(2 * np.pi * rng.uniform(50, config.sample_rate / 2, (_N_SYNTHETIC, 1)) * time)
    mix = rng.uniform(0, 1, (_N_SYNTHETIC, 1))
    level = 10 ** (rng.uniform(-3, 0, (_N_SYNTHETIC, 1)))
    waveforms = level * (mix * tones + (1 - mix) * rng.uniform(-1, 1, tones.shape))
    return waveforms.astype(np.float32)

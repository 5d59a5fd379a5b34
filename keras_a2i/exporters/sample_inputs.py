"""What an export is compared on: real inputs from records, or made ones where there are none."""

import pathlib

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.models.model_file import ModelMetadata

N_COMPARED = 128
N_CALIBRATED = 256
_N_MADE = 16


def read_inputs(records: pathlib.Path, metadata: ModelMetadata, split: str, count: int) -> np.ndarray:
    """Up to `count` inputs of a split, spread evenly.

    Raises:
        RecordsError: if the folder holds no records, or no sound where the model takes sound.
        UsageError: if they are records of other features.
    """
    from keras_a2i.records.records import as_records

    opened = as_records(records)
    metadata.require_records(opened.features, opened.image)
    inputs, _ = opened.sample(split if split in opened.counts else "train", count, metadata.input)
    return inputs


def make_inputs(metadata: ModelMetadata) -> np.ndarray:
    """Sixteen inputs of the kind the model takes, always the same."""
    rng = np.random.default_rng(0)
    return _make_sounds(rng, metadata.features) if metadata.input == "waveform" else _make_features(rng, metadata)


def _make_features(rng: np.random.Generator, metadata: ModelMetadata) -> np.ndarray:
    """Feature vectors distributed like the training features."""
    n_features = metadata.n_inputs
    mean = np.array(metadata.feature_mean or np.zeros(n_features))
    std = np.array(metadata.feature_std or np.full(n_features, 15.0))
    return (mean + std * rng.standard_normal((_N_MADE, n_features))).astype(np.float32)


def _make_sounds(rng: np.random.Generator, config: FeatureConfig) -> np.ndarray:
    """Tones in noise from -60 dB to full scale."""
    time = np.arange(config.n_samples) / config.sample_rate
    tones = np.sin(2 * np.pi * rng.uniform(50, config.sample_rate / 2, (_N_MADE, 1)) * time)
    mix = rng.uniform(0, 1, (_N_MADE, 1))
    level = 10 ** (rng.uniform(-3, 0, (_N_MADE, 1)))
    sound = level * (mix * tones + (1 - mix) * rng.uniform(-1, 1, tones.shape))
    return sound.astype(np.float32)

"""The functions that `Records` replaced. This file is to be deleted once training and evaluation use `Records`."""

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from keras_a2i.records.orders import InOrder, Neighbours, Order, Shuffled, WithinLabel
from keras_a2i.records.records import Records


def load_records(
    path: str | pathlib.Path,
    split: str = "train",
    *,
    shuffle: bool | None = None,
    seed: int = 0,
    epoch: tf.Variable | None = None,
    features: str = "features",
    shuffle_within_label: bool = False,
    neighbours: bool = False,
    **options: Any,
) -> tf.data.Dataset:
    """Use `Records.dataset`."""
    order: Order = InOrder()
    if shuffle or (shuffle is None and split == "train"):
        kind = WithinLabel if shuffle_within_label else Neighbours if neighbours else Shuffled
        order = kind(seed, epoch)
    return Records(path).dataset(split, input=features, order=order, seed=seed, **options)


def read_examples(path: str | pathlib.Path, split: str = "train", *, waveform: bool = False) -> tf.data.Dataset:
    """Use `Records.stream` or `Records.decoded`."""
    reader = Records(path)._reader(split, "waveform" if waveform else "features")
    return reader.pairs().batch(64).prefetch(2)


def feature_statistics(path: str | pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Use `Records.feature_statistics`."""
    return Records(path).feature_statistics()

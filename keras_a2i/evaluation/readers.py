"""Readers of real pictures, turned on generated ones: do they show the right label, the right hidden factors?"""

import keras
import numpy as np

from keras_a2i.evaluation.data import Pairs, scaled
from keras_a2i.evaluation.report_data import FactorRecovery, LabelAccuracy
from keras_a2i.evaluation.statistics import thumbnails

LARGEST = 64
STEPS = 500
MOST_EPOCHS = 100
_BATCH = 32


def label_accuracy(train: Pairs, held_out: Pairs, generated: np.ndarray, shuffled: np.ndarray) -> LabelAccuracy | None:
    """Trains a small classifier on the real training pictures and lets it name generated ones.

    Args:
        train: the training pairs.
        held_out: the held-out pairs.
        generated, shuffled: pictures (n, size, size, channels) in [-1, 1] for them, from own and from shuffled sounds.

    Returns:
        The accuracies, or None where the training pairs have fewer than two labels. Held-out pairs whose label never
        occurs in training count as wrong.
    """
    names, classes = np.unique(train.labels, return_inverse=True)
    if len(names) < 2:
        return None
    reader = _reader(min(LARGEST, train.images.shape[1]), train.images.shape[-1], len(names))
    reader.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    _train(reader, scaled(train.images), classes)
    read = [names[_read(reader, images).argmax(axis=1)] for images in (generated, shuffled, scaled(held_out.images))]
    right = [pictures == held_out.labels for pictures in read]
    frequent = names[np.bincount(classes).argmax()]
    return LabelAccuracy(
        generated=float(right[0].mean()),
        shuffled=float(right[1].mean()),
        real=float(right[2].mean()),
        most_frequent=float((held_out.labels == frequent).mean()),
        named=dict(zip(held_out.ids.tolist(), read[0].tolist(), strict=True)),
        by_label={str(name): float(right[0][held_out.labels == name].mean()) for name in np.unique(held_out.labels)},
    )


def factor_recovery(train: Pairs, held_out: Pairs, generated: np.ndarray) -> list[FactorRecovery]:
    """Trains a small reader of the hidden factors on real training pictures and reads generated ones with it.

    Factors with two values are scored by accuracy, the others by R2, the share of their variance that is read.

    Returns:
        One result a factor; [] where the pairs have none.
    """
    if not train.factors[0]:
        return []
    names = list(train.factors[0])
    known, truth = (
        np.array([[f[name] for name in names] for f in pairs.factors], np.float32) for pairs in (train, held_out)
    )
    mean, std = known.mean(axis=0), known.std(axis=0) + 1e-6
    reader = _reader(min(LARGEST, train.images.shape[1]), train.images.shape[-1], len(names))
    reader.compile("adam", "mse")
    _train(reader, scaled(train.images), (known - mean) / std)
    read = [_read(reader, images) * std + mean for images in (generated, scaled(held_out.images))]
    found = []
    for i, name in enumerate(names):
        binary = len(np.unique(known[:, i])) <= 2
        values = [_accuracy(r[:, i], truth[:, i]) if binary else _r2(r[:, i], truth[:, i]) for r in read]
        found.append(
            FactorRecovery(name=name, measure="accuracy" if binary else "R2", generated=values[0], real=values[1])
        )
    return found


def _reader(size: int, channels: int, outputs: int) -> keras.Model:
    layers = keras.layers
    stages = [
        layer
        for width in (16, 32, 64)
        for layer in (layers.Conv2D(width, 3, padding="same", activation="relu"), layers.MaxPooling2D())
    ]
    head = [layers.Flatten(), layers.Dropout(0.3), layers.Dense(128, activation="relu"), layers.Dense(outputs)]
    return keras.Sequential([keras.Input((size, size, channels)), *stages, *head])


def _train(reader: keras.Model, images: np.ndarray, targets: np.ndarray) -> None:
    reader.fit(thumbnails(images, LARGEST), targets, batch_size=_BATCH, epochs=_epochs(len(images)), verbose=0)


def _epochs(n: int) -> int:
    return min(MOST_EPOCHS, max(3, round(STEPS * _BATCH / n)))


def _read(reader: keras.Model, images: np.ndarray) -> np.ndarray:
    return reader.predict(thumbnails(images, LARGEST), verbose=0)


def _accuracy(read: np.ndarray, truth: np.ndarray) -> float:
    middle = (truth.min() + truth.max()) / 2
    return float(((read > middle) == (truth > middle)).mean())


def _r2(read: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - ((read - truth) ** 2).sum() / max(((truth - truth.mean()) ** 2).sum(), 1e-12))

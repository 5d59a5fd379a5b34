"""Probes: small networks that learn labels or hidden factors from real images and are applied to generated ones."""

import keras
import numpy as np

from keras_a2i.evaluation.pairs import MEMORY_BUDGET, Pairs, Rows, chunks_of, thumbnails_of
from keras_a2i.evaluation.report_data import FactorRecovery, LabelAccuracy
from keras_a2i.evaluation.train_network import train_network
from keras_a2i.models.prediction import predict_eagerly
from keras_a2i.spread import spread_rows

FACTOR_SIZE, LABEL_SIZE = 64, 32
"""Input resolution in pixels per side: classification needs less detail than the regression of factors."""
FACTOR_STEPS, LABEL_STEPS, SOURCE_STEPS = 500, 2000, 1000
"""Training steps at most: images that are moved and turned need more; more don't help to tell sources apart."""
_MIN_EPOCHS = 3
# Cross entropy of a label probe that has learned what can be learned.
_LEARNED = 0.02
# Whatever Keras' global settings are.
_LAYOUT = {"data_format": "channels_last", "dtype": "float32"}


class LabelProbe:
    """A small convolutional classifier of real images.

    It has no batch normalisation, with which it took blurred images for one certain class.

    Args:
        images: uint8 (n, size, size, channels) by row number, n 2 or more.
        names: what to predict, str (n,), two or more different ones.
        steps: training steps at most; None for `LABEL_STEPS`.
    """

    def __init__(self, images: Rows, names: np.ndarray, steps: int | None = None):
        self.names, classes = np.unique(names, return_inverse=True)
        self.model = _classifier(min(LABEL_SIZE, images.shape[1]), images.shape[-1], len(self.names))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        _train(self.model, loss, images, classes, LABEL_STEPS if steps is None else steps, stop_below=_LEARNED)

    def read(self, images: Rows) -> np.ndarray:
        """Names (n,) predicted from images (n, size, size, channels), uint8 or float32 in [-1, 1]."""
        return self.names[self.logits(images).argmax(axis=1)]

    def logits(self, images: Rows) -> np.ndarray:
        """The logits (n, number of names) of images as for `read`."""
        return _predict(self.model, images)


class FactorProbe:
    """A small convolutional regression of the hidden factors of rendered images.

    Args:
        images: uint8 (n, size, size, channels) by row number.
        factors: of each image, all with the same names.
    """

    def __init__(self, images: Rows, factors: list[dict[str, float]]):
        self.names = list(factors[0])
        known = self.values_of(factors)
        self._mean, self.deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
        self.binary = [len(np.unique(column)) <= 2 for column in known.T]
        self.model = _regression(min(FACTOR_SIZE, images.shape[1]), images.shape[-1], len(self.names))
        _train(self.model, "mse", images, (known - self._mean) / self.deviation, FACTOR_STEPS)

    def values_of(self, factors: list[dict[str, float]]) -> np.ndarray:
        """Factors as float32 (n, number of factors)."""
        return np.array([[values[name] for name in self.names] for values in factors], np.float32)

    def read(self, images: Rows) -> np.ndarray:
        """Factors (n, number of factors) read from images (n, size, size, channels), uint8 or float32 in [-1, 1]."""
        return _predict(self.model, images) * self.deviation + self._mean


def label_probe(train: Pairs) -> LabelProbe | None:
    """A probe of the training pairs' labels, or None where there are fewer than two."""
    return LabelProbe(train.images, train.labels) if len(set(train.labels)) > 1 else None


def factor_probe(train: Pairs) -> FactorProbe | None:
    """A probe of the training pairs' hidden factors, or None where they have none."""
    return FactorProbe(train.images, train.factors) if train.factors[0] else None


def label_accuracy(probe: LabelProbe, train: Pairs, held_out: Pairs, generated: Rows, shuffled: Rows) -> LabelAccuracy:
    """Predicts the labels of generated images with a probe.

    Args:
        probe: of the training pairs' labels.
        train: the training pairs.
        held_out: the held-out pairs.
        generated, shuffled: images (n, size, size, channels) in [-1, 1], from the pairs' own and from shuffled audio.

    Returns:
        The accuracies. Held-out pairs whose label never occurs in training count as wrong.
    """
    read = [probe.read(images) for images in (generated, shuffled, held_out.images)]
    right = [names == held_out.labels for names in read]
    names, counts = np.unique(train.labels, return_counts=True)
    return LabelAccuracy(
        generated=float(right[0].mean()),
        shuffled=float(right[1].mean()),
        real=float(right[2].mean()),
        most_frequent=float((held_out.labels == names[counts.argmax()]).mean()),
        named=dict(zip(held_out.ids.tolist(), read[0].tolist(), strict=True)),
        by_label={str(name): float(right[0][held_out.labels == name].mean()) for name in np.unique(held_out.labels)},
    )


def factor_recovery(probe: FactorProbe, held_out: Pairs, generated: Rows) -> list[FactorRecovery]:
    """Reads the hidden factors from generated images, and from real ones for comparison.

    Factors with two values are scored by accuracy, the others by R2, the share of their variance that is explained.
    """
    truth = probe.values_of(held_out.factors)
    read = [probe.read(images) for images in (generated, held_out.images)]
    found = []
    for i, (name, binary) in enumerate(zip(probe.names, probe.binary, strict=True)):
        values = [(_accuracy if binary else _r2)(r[:, i], truth[:, i]) for r in read]
        measure = "accuracy" if binary else "R2"
        found.append(FactorRecovery(name=name, measure=measure, generated=values[0], real=values[1]))
    return found


def _classifier(size: int, channels: int, outputs: int) -> keras.Model:
    layers = keras.layers
    moves = [
        layers.RandomTranslation(0.08, 0.08, fill_mode="nearest", **_LAYOUT),
        layers.RandomRotation(0.04, fill_mode="nearest", **_LAYOUT),
        layers.RandomZoom(0.12, fill_mode="nearest", **_LAYOUT),
    ]
    stages = [
        layer
        # An image of 16 pixels has 2 per side before the last stage: that one keeps the border.
        for width, padding in ((32, "valid"), (64, "valid"), (64, "same"))
        for layer in (
            layers.Conv2D(width, 3, padding=padding, activation="relu", **_LAYOUT),
            layers.MaxPooling2D(**_LAYOUT),
        )
    ]
    head = [layers.Flatten(**_LAYOUT), layers.Dropout(0.5, dtype="float32"), layers.Dense(outputs, dtype="float32")]
    return keras.Sequential([keras.Input((size, size, channels)), *moves, *stages, *head])


def _regression(size: int, channels: int, outputs: int) -> keras.Model:
    layers = keras.layers
    stages = [
        layer
        for width in (16, 32, 64)
        for layer in (
            layers.Conv2D(width, 3, padding="same", activation="relu", **_LAYOUT),
            layers.MaxPooling2D(**_LAYOUT),
        )
    ]
    head = [
        layers.Flatten(**_LAYOUT),
        layers.Dropout(0.3, dtype="float32"),
        layers.Dense(128, activation="relu", dtype="float32"),
        layers.Dense(outputs, dtype="float32"),
    ]
    return keras.Sequential([keras.Input((size, size, channels)), *stages, *head])


def _train(
    model: keras.Model,
    loss: str | keras.losses.Loss,
    images: Rows,
    targets: np.ndarray,
    steps: int,
    stop_below: float = 0.0,
) -> None:
    """Trains on thumbnails of 8-bit images; of very many as many, spread evenly, as fit `MEMORY_BUDGET`."""
    size = model.input_shape[1]
    rows = spread_rows(len(images), MEMORY_BUDGET // (4 * size * size * images.shape[-1]))
    seen = thumbnails_of(images, size, rows)
    train_network(model, loss, seen, np.asarray(targets)[rows], steps, min_epochs=_MIN_EPOCHS, stop_below=stop_below)


def _predict(model: keras.Model, images: Rows) -> np.ndarray:
    size = model.input_shape[1]
    parts = (thumbnails_of(images, size, rows) for rows in chunks_of(len(images)))
    return np.concatenate([predict_eagerly(model, part) for part in parts])


def _accuracy(read: np.ndarray, truth: np.ndarray) -> float:
    middle = (truth.min() + truth.max()) / 2
    return float(((read > middle) == (truth > middle)).mean())


def _r2(read: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - ((read - truth) ** 2).sum() / max(((truth - truth.mean()) ** 2).sum(), 1e-12))

"""Readers of real pictures, turned on generated ones: do they show the right label, the right hidden factors?"""

import keras
import numpy as np

from keras_a2i.evaluation.pairs import Pairs, scaled
from keras_a2i.evaluation.report_data import FactorRecovery, LabelAccuracy
from keras_a2i.evaluation.statistics import thumbnails

LARGEST, LARGEST_NAMED = 64, 32
"""Pixels per side that factors and names are read from: what something is shows in less than how it stands."""
STEPS = 500
FACTOR_STEPS, LABEL_STEPS = 2, 4
"""Times `STEPS`: pictures that are moved and turned take longer to learn."""
MOST_EPOCHS = 250
_BATCH = 32
_RATE = 2e-3


class LabelProbe:
    """A small convolutional classifier of real pictures, without batch normalisation: it took blur for a certain class.

    Args:
        images: uint8 (n, size, size, channels), n 2 or more.
        names: of what is to be named, str (n,), two or more different ones.
    """

    def __init__(self, images: np.ndarray, names: np.ndarray):
        self.names, classes = np.unique(names, return_inverse=True)
        self._model = _classifier(min(LARGEST_NAMED, images.shape[1]), images.shape[-1], len(self.names))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        _train(self._model, loss, images, classes, LABEL_STEPS * STEPS)

    def read(self, pictures: np.ndarray) -> np.ndarray:
        """Names (n,) of pictures (n, size, size, channels) in [-1, 1]."""
        return self.names[_read(self._model, pictures).argmax(axis=1)]


class FactorProbe:
    """A small convolutional regression of the hidden factors of synthetic pictures.

    Args:
        images: uint8 (n, size, size, channels).
        factors: of each, all with the same names.
    """

    def __init__(self, images: np.ndarray, factors: list[dict[str, float]]):
        self.names = list(factors[0])
        known = self.values_of(factors)
        self._mean, self.deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
        self.binary = [len(np.unique(column)) <= 2 for column in known.T]
        self._model = _regression(min(LARGEST, images.shape[1]), images.shape[-1], len(self.names))
        _train(self._model, "mse", images, (known - self._mean) / self.deviation, FACTOR_STEPS * STEPS)

    def values_of(self, factors: list[dict[str, float]]) -> np.ndarray:
        """Factors as float32 (n, number of factors)."""
        return np.array([[values[name] for name in self.names] for values in factors], np.float32)

    def read(self, pictures: np.ndarray) -> np.ndarray:
        """Factors (n, number of factors) of pictures (n, size, size, channels) in [-1, 1]."""
        return _read(self._model, pictures) * self.deviation + self._mean


def label_probe(train: Pairs) -> LabelProbe | None:
    """A reader of the training pairs' labels, or None where there are fewer than two."""
    return LabelProbe(train.images, train.labels) if len(set(train.labels)) > 1 else None


def factor_probe(train: Pairs) -> FactorProbe | None:
    """A reader of the training pairs' hidden factors, or None where they have none."""
    return FactorProbe(train.images, train.factors) if train.factors[0] else None


def label_accuracy(
    reader: LabelProbe, train: Pairs, held_out: Pairs, generated: np.ndarray, shuffled: np.ndarray
) -> LabelAccuracy:
    """Lets a reader name generated pictures.

    Args:
        reader: of the training pairs' labels.
        train: the training pairs.
        held_out: the held-out pairs.
        generated, shuffled: pictures (n, size, size, channels) in [-1, 1] for them, from own and from shuffled sounds.

    Returns:
        The accuracies. Held-out pairs whose label never occurs in training count as wrong.
    """
    read = [reader.read(images) for images in (generated, shuffled, scaled(held_out.images))]
    right = [pictures == held_out.labels for pictures in read]
    names, counts = np.unique(train.labels, return_counts=True)
    return LabelAccuracy(
        generated=float(right[0].mean()),
        shuffled=float(right[1].mean()),
        real=float(right[2].mean()),
        most_frequent=float((held_out.labels == names[counts.argmax()]).mean()),
        named=dict(zip(held_out.ids.tolist(), read[0].tolist(), strict=True)),
        by_label={str(name): float(right[0][held_out.labels == name].mean()) for name in np.unique(held_out.labels)},
    )


def factor_recovery(reader: FactorProbe, held_out: Pairs, generated: np.ndarray) -> list[FactorRecovery]:
    """Reads the hidden factors from generated pictures, beside real ones.

    Factors with two values are scored by accuracy, the others by R2, the share of their variance that is read.
    """
    truth = reader.values_of(held_out.factors)
    read = [reader.read(images) for images in (generated, scaled(held_out.images))]
    found = []
    for i, (name, binary) in enumerate(zip(reader.names, reader.binary, strict=True)):
        values = [(_accuracy if binary else _r2)(r[:, i], truth[:, i]) for r in read]
        measure = "accuracy" if binary else "R2"
        found.append(FactorRecovery(name=name, measure=measure, generated=values[0], real=values[1]))
    return found


def _classifier(size: int, channels: int, outputs: int) -> keras.Model:
    layers = keras.layers
    moves = [
        layers.RandomTranslation(0.08, 0.08, fill_mode="nearest"),
        layers.RandomRotation(0.04, fill_mode="nearest"),
        layers.RandomZoom(0.12, fill_mode="nearest"),
    ]
    stages = [
        layer
        # A picture of 16 pixels is 2 a side before the last stage: that one keeps the border.
        for width, padding in ((32, "valid"), (64, "valid"), (64, "same"))
        for layer in (layers.Conv2D(width, 3, padding=padding, activation="relu"), layers.MaxPooling2D())
    ]
    head = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(outputs)]
    return keras.Sequential([keras.Input((size, size, channels)), *moves, *stages, *head])


def _regression(size: int, channels: int, outputs: int) -> keras.Model:
    layers = keras.layers
    stages = [
        layer
        for width in (16, 32, 64)
        for layer in (layers.Conv2D(width, 3, padding="same", activation="relu"), layers.MaxPooling2D())
    ]
    head = [layers.Flatten(), layers.Dropout(0.3), layers.Dense(128, activation="relu"), layers.Dense(outputs)]
    return keras.Sequential([keras.Input((size, size, channels)), *stages, *head])


def _train(reader: keras.Model, loss: str | keras.losses.Loss, images: np.ndarray, targets: np.ndarray, steps: int):
    """Trains on 8-bit pictures for about so many steps, with a rate that falls by half a cosine."""
    n = len(images)
    epochs = min(MOST_EPOCHS, max(3, round(steps * _BATCH / n)))
    rate = keras.optimizers.schedules.CosineDecay(_RATE, epochs * -(-n // _BATCH), alpha=0.01)
    reader.compile(keras.optimizers.Adam(rate), loss)
    reader.fit(_seen_by(reader, scaled(images)), targets, batch_size=_BATCH, epochs=epochs, verbose=0)


def _seen_by(reader: keras.Model, pictures: np.ndarray) -> np.ndarray:
    return thumbnails(pictures, reader.input_shape[1])


def _read(reader: keras.Model, images: np.ndarray) -> np.ndarray:
    return reader.predict(_seen_by(reader, images), verbose=0)


def _accuracy(read: np.ndarray, truth: np.ndarray) -> float:
    middle = (truth.min() + truth.max()) / 2
    return float(((read > middle) == (truth > middle)).mean())


def _r2(read: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - ((read - truth) ** 2).sum() / max(((truth - truth.mean()) ** 2).sum(), 1e-12))

"""Scores of a model's pictures beside those of predictors that hear nothing."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from keras_a2i.pipeline import read_examples
from keras_a2i.training.held_out import score_pictures

_BATCH = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Mean scores of one predictor over the held-out pairs.

    Attributes:
        name: the predictor.
        ssim: structural similarity, Gaussian window, as tf.image.ssim; 1 is equal.
        mse: mean squared error of pictures in [-1, 1].
        histogram: Pearson correlation of 8-bit histograms, 256 bins a channel.
    """

    name: str
    ssim: float
    mse: float
    histogram: float


def score_model(
    predict: Callable[[np.ndarray], np.ndarray], records: str | pathlib.Path, split: str = "val", seed: int = 0
) -> list[Score]:
    """Scores a model on held-out pairs, and what it must beat to have learnt anything from the sound.

    Args:
        predict: features (batch, n_features) to pictures (batch, size, size, channels) in [-1, 1].
        records: the records folder.
        split: the held-out split.
        seed: of the shuffled sounds.

    Returns:
        Four scores: the model; the same model given each picture's sound from another pair; the mean of all training
        pictures; the mean of the training pictures of the same source (of all, for a source that has none).
    """
    features, images, sources = _arrays(records, split)
    mean, source_means = _mean_pictures(records)
    order = np.random.default_rng(seed).permutation(len(features))
    generated = _predict(predict, features)
    shuffled = _predict(predict, features[order])
    return [
        _score("model", images, lambda rows: generated[rows]),
        _score("model, sounds shuffled", images, lambda rows: shuffled[rows]),
        _score("mean training picture", images, lambda rows: np.repeat(mean[None], len(images[rows]), axis=0)),
        _score(
            "mean picture of the source",
            images,
            lambda rows: np.stack([source_means.get(s, mean) for s in sources[rows]]),
        ),
    ]


def _arrays(records: str | pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    batches = list(read_examples(records, split).as_numpy_iterator())
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("features", "image", "source_id"))


def _mean_pictures(records: str | pathlib.Path) -> tuple[np.ndarray, dict[bytes, np.ndarray]]:
    sums: dict[bytes, np.ndarray] = {}
    counts: dict[bytes, int] = {}
    for batch in read_examples(records, "train").as_numpy_iterator():
        for image, source in zip(batch["image"], batch["source_id"], strict=True):
            sums[source] = sums.get(source, 0) + image.astype(np.float64)
            counts[source] = counts.get(source, 0) + 1
    total = sum(sums.values()) / sum(counts.values())
    return _scaled(total), {source: _scaled(sums[source] / counts[source]) for source in sums}


def _scaled(image: np.ndarray) -> np.ndarray:
    return (image * (2 / 255) - 1).astype(np.float32)


def _predict(predict: Callable[[np.ndarray], np.ndarray], features: np.ndarray) -> np.ndarray:
    return np.concatenate([np.asarray(predict(features[i : i + _BATCH])) for i in range(0, len(features), _BATCH)])


def _score(name: str, images: np.ndarray, pictures: Callable[[slice], np.ndarray]) -> Score:
    rows = [slice(i, i + _BATCH) for i in range(0, len(images), _BATCH)]
    values = [score_pictures(_scaled(images[part]), pictures(part), _BATCH) for part in rows]
    mse, ssim, histogram = np.concatenate(values, axis=1).mean(axis=1, dtype=np.float64).tolist()
    return Score(name=name, ssim=ssim, mse=mse, histogram=histogram)

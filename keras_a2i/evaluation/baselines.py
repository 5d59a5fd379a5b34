"""What a model must beat: predictors that hear nothing, controls that take the sound away, and a ceiling."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_a2i.evaluation.pairs import Pairs, scaled

N_COMPONENTS = 100
Run = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Something that gives a picture for each held-out pair.

    Attributes:
        name, kind, explanation: as `PredictorScores`.
        pictures: float32 in [-1, 1], (n, size, size, channels).
    """

    name: str
    kind: str
    explanation: str
    pictures: np.ndarray


def model_and_controls(run: Run, held_out: Pairs, silence: np.ndarray | None, seed: int) -> list[Predictor]:
    """The model, the model with sounds permuted, and the model in silence.

    Args:
        run: inputs to pictures.
        held_out: the held-out pairs.
        silence: the input of silence (n_inputs,), or None where there is none (features not made from sound here).
        seed: of the permutation.
    """
    rows = shuffled_rows(len(held_out), seed)
    pictures = run(held_out.inputs)
    found = [
        Predictor("model", "model", "the model, given each picture's own sound", pictures),
        Predictor("sounds shuffled", "control", "the same model, given another held-out pair's sound", pictures[rows]),
    ]
    if silence is not None:
        quiet = np.repeat(run(silence[None]), len(held_out), axis=0)
        found.append(Predictor("silence", "control", "the same model, given silence", quiet))
    return found


def shuffled_rows(n: int, seed: int) -> np.ndarray:
    """A permutation in which no pair keeps its own sound (for n >= 2)."""
    order = np.random.default_rng(seed).permutation(n)
    rows = np.empty(n, int)
    rows[order] = np.roll(order, 1)
    return rows


def baselines(train: Pairs, held_out: Pairs) -> list[Predictor]:
    """Predictors without a model, and the linear ceiling.

    Args:
        train: the training pairs.
        held_out: the held-out pairs.

    Returns:
        Mean of all training pictures; of those of the same source; of those of the same label (where there are labels);
        the nearest training picture in time within the source, and the mean of the two nearest; the training picture
        whose features are nearest; and each target projected on the 100 first principal components of the training
        pictures. A source or label that has no training pair gets the mean of all.
    """
    mean = scaled(train.images.mean(axis=0, dtype=np.float64))
    found = [
        Predictor(
            "training mean", "baseline", "one picture for everything", np.repeat(mean[None], len(held_out), axis=0)
        ),
        Predictor("source mean", "baseline", "one picture a source", _group_means(train, held_out, "sources", mean)),
    ]
    if len(set(train.labels)) > 1:
        means = _group_means(train, held_out, "labels", mean)
        found.append(Predictor("label mean", "ceiling", "one picture a label, for who is told the true label", means))
    if set(held_out.sources) & set(train.sources):
        one, two = (_nearest_in_time(train, held_out, count, mean) for count in (1, 2))
        found += [
            Predictor("nearest in time", "baseline", "the source's training picture nearest in time", one),
            Predictor("two nearest in time", "baseline", "the mean of the source's two nearest in time", two),
        ]
    found += [
        Predictor(
            "nearest sound",
            "sound baseline",
            "the picture of the nearest training sound",
            _nearest_sound(train, held_out),
        ),
        Predictor(
            "principal components",
            "ceiling",
            f"the target itself on {N_COMPONENTS} components",
            _projected(train, held_out),
        ),
    ]
    return found


def _group_means(train: Pairs, held_out: Pairs, by: str, default: np.ndarray) -> np.ndarray:
    groups = getattr(train, by)
    means = {name: scaled(train.images[groups == name].mean(axis=0, dtype=np.float64)) for name in set(groups)}
    return np.stack([means.get(name, default) for name in getattr(held_out, by)])


def _nearest_in_time(train: Pairs, held_out: Pairs, count: int, default: np.ndarray) -> np.ndarray:
    pictures = []
    for source, time in zip(held_out.sources, held_out.times, strict=True):
        rows = np.flatnonzero(train.sources == source)
        nearest = rows[np.argsort(np.abs(train.times[rows] - time), kind="stable")[:count]]
        pictures.append(scaled(train.images[nearest].mean(axis=0, dtype=np.float64)) if len(nearest) else default)
    return np.stack(pictures)


def _nearest_sound(train: Pairs, held_out: Pairs) -> np.ndarray:
    mean, std = train.features.mean(axis=0), train.features.std(axis=0)
    known, wanted = ((pairs.features - mean) / np.where(std > 0, std, 1) for pairs in (train, held_out))
    distances = (known**2).sum(axis=1) - 2 * wanted @ known.T
    return scaled(train.images[distances.argmin(axis=1)])


def _projected(train: Pairs, held_out: Pairs) -> np.ndarray:
    known = scaled(train.images).reshape(len(train), -1)
    mean = known.mean(axis=0)
    known -= mean
    # The components from the small Gram matrix: pictures are far more pixels than there are pairs.
    values, vectors = np.linalg.eigh((known @ known.T).astype(np.float64))
    keep = np.argsort(values)[::-1][:N_COMPONENTS]
    keep = keep[values[keep] > values.max() * 1e-9]
    components = (vectors[:, keep] / np.sqrt(values[keep])).T.astype(np.float32) @ known
    target = scaled(held_out.images).reshape(len(held_out), -1) - mean
    return np.clip((target @ components.T) @ components + mean, -1, 1).reshape(held_out.images.shape)

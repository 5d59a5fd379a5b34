"""What a model must beat: contenders without audio, one without a model, and ceilings. `BASELINES` holds them all.

A baseline is added by a function with the decorator `baseline`: from the training and the held-out pairs it returns the
images by row number, or None where it doesn't apply.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from keras_a2i.evaluation.contenders import Contender, Generated, constant
from keras_a2i.evaluation.pairs import MEMORY_BUDGET, Pairs, Rows, chunks_of, labels_known, rows_that_fit, scaled
from keras_a2i.spread import spread_rows

N_COMPONENTS = 100
MOST_COMPONENT_IMAGES = 4000
_DISTANCES_AT_ONCE = 256
Prepare = Callable[[Pairs, Pairs], Rows | None]


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A contender without the model.

    Attributes:
        id: what it is found by.
        title: for tables.
        kind: "baseline" (no audio), "audio-baseline" (audio, no model) or "ceiling" (knows something of the target).
        explanation: what it does, in a line.
        function: (training pairs, held-out pairs) to float32 images in [-1, 1] by row number, or None.
    """

    id: str
    title: str
    kind: str
    explanation: str
    function: Prepare


BASELINES: dict[str, Baseline] = {}


def baseline(id: str, title: str, kind: str, explanation: str) -> Callable[[Prepare], Prepare]:
    """Registers a function as a baseline; the arguments are those of `Baseline`."""

    def register(function: Prepare) -> Prepare:
        BASELINES[id] = Baseline(id, title, kind, explanation, function)
        return function

    return register


def baselines(train: Pairs, held_out: Pairs) -> list[Contender]:
    """Every baseline of `BASELINES` that applies to the pairs.

    Args:
        train: the training pairs.
        held_out: the held-out pairs.
    """
    found = []
    for entry in BASELINES.values():
        images = entry.function(train, held_out)
        if images is not None:
            found.append(Contender(entry.id, entry.title, entry.kind, entry.explanation, images))
    return found


@baseline("training-mean", "mean training image", "baseline", "the same image for every pair")
def training_mean(train: Pairs, held_out: Pairs) -> Rows:
    """The mean of all training images."""
    return constant(_mean_image(train), len(held_out))


@baseline("source-mean", "mean image of the source", "baseline", "one image per source")
def source_mean(train: Pairs, held_out: Pairs) -> Rows:
    """The mean of the source's training images; of all, for a source without."""
    return _group_means(train, held_out, train.sources, held_out.sources)


@baseline("label-mean", "mean image of the label (ceiling)", "ceiling", "one image per true label")
def label_mean(train: Pairs, held_out: Pairs) -> Rows | None:
    """The mean of the label's training images; of all, for a label without."""
    if not labels_known(train, held_out):
        return None
    return _group_means(train, held_out, train.labels, held_out.labels)


@baseline("reference", "reference image", "baseline", "the reference image of the model, unchanged")
def reference_repeated(train: Pairs, held_out: Pairs) -> Rows | None:
    """The reference image of the pair, for a model that receives one."""
    references = held_out.references
    if references is None:
        return None
    return Generated(lambda rows: scaled(references[rows]), len(held_out), train.images.shape[1:])


@baseline("nearest-in-time", "nearest image in time", "baseline", "the nearest training image of the source")
def nearest_in_time(train: Pairs, held_out: Pairs) -> Rows | None:
    """The training image of the source that is nearest in time; the mean of all, for a source without."""
    return _nearest_in_time(train, held_out, 1)


@baseline("two-nearest-in-time", "mean of two nearest in time", "baseline", "of training images of the source")
def two_nearest_in_time(train: Pairs, held_out: Pairs) -> Rows | None:
    """The mean of the two training images of the source that are nearest in time."""
    return _nearest_in_time(train, held_out, 2)


@baseline("nearest-audio", "image of nearest audio", "audio-baseline", "the image of the nearest training clip")
def nearest_audio(train: Pairs, held_out: Pairs) -> Rows:
    """The training image whose standardised features are the nearest."""
    mean, std = train.features.mean(axis=0), train.features.std(axis=0)
    known, wanted = ((pairs.features - mean) / np.where(std > 0, std, 1) for pairs in (train, held_out))
    squares = (known**2).sum(axis=1)
    nearest = np.concatenate(
        [(squares - 2 * wanted[rows] @ known.T).argmin(axis=1) for rows in chunks_of(len(held_out), _DISTANCES_AT_ONCE)]
    )
    return Generated(lambda rows: scaled(train.images[nearest[rows]]), len(held_out), train.images.shape[1:])


@baseline("principal-components", "PCA of the target (ceiling)", "ceiling", f"{N_COMPONENTS} principal components")
def principal_components(train: Pairs, held_out: Pairs) -> Rows:
    """Each target projected on the first principal components of up to 4,000 training images."""
    size = int(np.prod(train.images.shape[1:]))
    images = train.images[spread_rows(len(train), max(2, min(MOST_COMPONENT_IMAGES, MEMORY_BUDGET // size)))]
    pixels = images.reshape(len(images), -1)
    mean, components = _components(pixels)

    def project(rows: np.ndarray) -> np.ndarray:
        target = scaled(held_out.images[rows]).reshape(len(rows), -1) - mean
        return np.clip((target @ components.T) @ components + mean, -1, 1).reshape(-1, *train.images.shape[1:])

    return Generated(project, len(held_out), train.images.shape[1:], keep=True)


def _components(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and orthonormal components (k, d), float32, of 8-bit rows (n, d), a slice of the columns at a time."""
    step = max(1, MEMORY_BUDGET // 16 // len(pixels))
    slices = [slice(start, start + step) for start in range(0, pixels.shape[1], step)]
    mean = np.concatenate([scaled(pixels[:, part]).mean(axis=0) for part in slices])
    # The components from the small Gram matrix: an image has far more pixels than there are images.
    gram = np.zeros((len(pixels), len(pixels)), np.float32)
    for part in slices:
        centred = scaled(pixels[:, part]) - mean[part]
        gram += centred @ centred.T
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    keep = np.argsort(values)[::-1][:N_COMPONENTS]
    keep = keep[values[keep] > values.max() * 1e-9]
    weights = (vectors[:, keep] / np.sqrt(values[keep])).T.astype(np.float32)
    return mean, np.concatenate([weights @ (scaled(pixels[:, part]) - mean[part]) for part in slices], axis=1)


def _mean_image(pairs: Pairs, rows: np.ndarray | None = None) -> np.ndarray:
    """The mean of the images of the given rows, or of all, float32 in [-1, 1]."""
    rows = np.arange(len(pairs)) if rows is None else rows
    total = np.zeros(pairs.images.shape[1:], np.float64)
    for chunk in chunks_of(len(rows), rows_that_fit(pairs.images)):
        total += pairs.images[rows[chunk]].sum(axis=0, dtype=np.float64)
    return scaled(total / len(rows))


def _group_means(train: Pairs, held_out: Pairs, known: np.ndarray, wanted: np.ndarray) -> Rows:
    shape = train.images.shape[1:]
    of_all = _mean_image(train)

    @functools.lru_cache(maxsize=max(1, MEMORY_BUDGET // (4 * int(np.prod(shape)))))
    def mean_of(group: str) -> np.ndarray:
        rows = np.flatnonzero(known == group)
        return _mean_image(train, rows) if len(rows) else of_all

    return Generated(lambda rows: np.stack([mean_of(group) for group in wanted[rows]]), len(held_out), shape)


def _nearest_in_time(train: Pairs, held_out: Pairs, count: int) -> Rows | None:
    if set(held_out.sources).isdisjoint(train.sources):
        return None
    of_all = _mean_image(train)
    rows_of = {source: np.flatnonzero(train.sources == source) for source in set(held_out.sources)}

    def image_of(row: int) -> np.ndarray:
        known = rows_of[held_out.sources[row]]
        if not len(known):
            return of_all
        distances = np.abs(train.times[known] - held_out.times[row])
        return _mean_image(train, known[np.argsort(distances, kind="stable")[:count]])

    return Generated(lambda rows: np.stack([image_of(row) for row in rows]), len(held_out), train.images.shape[1:])

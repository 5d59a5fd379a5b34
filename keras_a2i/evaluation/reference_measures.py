"""Measures of a model with a reference image: whom its images show, and how they change over time."""

import numpy as np

from keras_a2i.evaluation.measures import Evidence, Value, measure
from keras_a2i.evaluation.pairs import Pairs, Rows
from keras_a2i.evaluation.probes import SOURCE_STEPS, LabelProbe

_MAX_SOURCES = 400
_NO_REFERENCE = "the model has no reference image"


@measure("identity", "identity distance", better="lower")
def identity_kept(evidence: Evidence) -> Value | str:
    """How far the images of a source are from its real ones, as a share of the distance between two sources.

    See `IdentityDistances`. 0 is the same, 1 as far as another source.
    """
    train, held_out = evidence.train, evidence.held_out
    if held_out.references is None:
        return _NO_REFERENCE
    if not 2 <= len(set(train.sources)) <= _MAX_SOURCES or len(set(held_out.sources)) < 2:
        return f"it needs 2 to {_MAX_SOURCES} training sources and at least two held-out ones"
    distances = IdentityDistances(train, held_out)
    generated, own, repeated = (
        distances.of(images, np.arange(len(held_out)))
        for images in (evidence.generated, held_out.images, held_out.references)
    )
    words = f"from the real images of the source, 1 is another source; the model's reference image {repeated:.2f}"
    return Value(generated, own, f"{words}; reference: real images")


@measure("flicker", "change over time", better="one")
def flicker(evidence: Evidence) -> Value | str:
    """The mean absolute change from one image of a source to the next, relative to that of the real images."""
    held_out = evidence.held_out
    if held_out.references is None:
        return _NO_REFERENCE
    follows = held_out.sources[1:] == held_out.sources[:-1]
    if not follows.any():
        return "no source has two held-out pairs"
    made, real = (
        float(np.abs(np.diff(images.astype(np.float32), axis=0)[follows]).mean())
        for images in (evidence.generated_thumbnails, evidence.real_thumbnails)
    )
    if real == 0:
        return "the real images don't change"
    return Value(made / real, 1.0, "between consecutive images, relative to real images; reference: real images")


class IdentityDistances:
    """Distances of images from the real images of their source, by a classifier of the sources of training images.

    The place of an image is its vector of logits, centred and of unit length: which of the known sources it is like.
    Generated images and unseen sources take no part in the training.

    Args:
        train: the training pairs, of two sources or more.
        held_out: pairs of two other sources or more.
    """

    def __init__(self, train: Pairs, held_out: Pairs):
        self._probe = LabelProbe(train.images, train.sources, SOURCE_STEPS)
        _, self._numbers = np.unique(held_out.sources, return_inverse=True)
        real = _places(self._probe, held_out.images)
        self._means = np.stack([real[self._numbers == i].mean(axis=0) for i in range(self._numbers.max() + 1)])
        apart = np.linalg.norm(self._means[:, None] - self._means, axis=2)
        self._between = float(apart[np.triu_indices(len(apart), 1)].mean())

    def of(self, images: Rows, rows: np.ndarray) -> float:
        """The mean distance of the images of the held-out rows, as a share of the mean distance of two sources.

        Args:
            images: (n, size, size, channels), uint8 or float32 in [-1, 1], one for each of `rows`.
            rows: numbers of held-out pairs (n,).
        """
        places = _places(self._probe, images)
        return float(np.linalg.norm(places - self._means[self._numbers[rows]], axis=1).mean() / self._between)


def _places(probe: LabelProbe, images: Rows) -> np.ndarray:
    logits = probe.logits(images)
    logits = logits - logits.mean(axis=1, keepdims=True)
    return logits / np.maximum(np.linalg.norm(logits, axis=1, keepdims=True), 1e-8)

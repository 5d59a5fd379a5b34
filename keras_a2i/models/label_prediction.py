"""Which label a clip of audio has, by the classifier or the labelled exemplars of a model."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.models.label_calibration import LabelCalibration, evidence_of, probabilities_of

UNKNOWN = "unknown"
EXEMPLAR_SCALE = 10.0
"""Factor of the cosine similarities to exemplars, with which the objective `matching` trains them by default."""
_ABSENT = 1e-12
_BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class LabelPrediction:
    """Class probabilities of several clips.

    Attributes:
        labels: names of the labels.
        probabilities: float32 (n, n_labels), each row adds up to 1.
        evidence: float32 (n,), how much speaks for any label at all, see `evidence_of`.
        threshold: of the evidence below which the answer is "unknown"; None for no such answer.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    evidence: np.ndarray
    threshold: float | None = None

    @property
    def is_unknown(self) -> np.ndarray:
        """Whether the evidence is below the threshold, bool (n,)."""
        return self.evidence < (-np.inf if self.threshold is None else self.threshold)

    @property
    def answers(self) -> list[str]:
        """The most probable label of every clip, or "unknown"."""
        best = self.probabilities.argmax(axis=1)
        return [UNKNOWN if unknown else self.labels[i] for i, unknown in zip(best, self.is_unknown, strict=True)]


def predict_from_logits(
    logits: np.ndarray, labels: Sequence[str], calibration: LabelCalibration | None
) -> LabelPrediction:
    """Returns the prediction of logits (n, n_labels), by a calibration or, without one, by a temperature of 1."""
    calibration = calibration or LabelCalibration()
    return LabelPrediction(
        tuple(labels),
        probabilities_of(logits, calibration.temperature),
        evidence_of(logits),
        calibration.threshold,
    )


def can_classify(model: Any) -> bool:
    """Whether a model tells labels apart: by a label head, or by exemplars that have labels."""
    if getattr(model, "label_head", None) is not None:
        return True
    parts = _find_exemplars(model)
    return parts is not None and model.n_labels > 1 and bool(np.any(ops.convert_to_numpy(parts[0].labels) >= 0))


def label_logits(model: Any, latents: Any) -> Any:
    """Computes the logits of the labels from latent vectors.

    A label head gives the mean over its ensemble, whose softmax is the geometric mean of the members' probabilities.
    Of exemplars, the probabilities are the shares of those of a label in the softmax of ten times the cosine
    similarities.

    Args:
        model: an `AudioToImage` that `can_classify`.
        latents: float (batch, latent_dim).

    Returns:
        float32 (batch, n_labels).
    """
    if model.label_head is not None:
        n = model.label_head.n_inputs
        return ops.mean(ops.cast(model.label_head(latents[:, :n]), "float32"), axis=1)
    attention, _ = _find_exemplars(model)
    scores = EXEMPLAR_SCALE * attention.similarities(latents[:, : attention.keys.shape[0]])
    members = ops.one_hot(attention.labels, model.n_labels, dtype="float32")
    return EXEMPLAR_SCALE + ops.log(ops.matmul(ops.exp(scores - EXEMPLAR_SCALE), members) + _ABSENT)


def classify(model: Any, inputs: Any) -> np.ndarray:
    """Computes the logits of the labels, float32 (n, n_labels), from a model's inputs (n, n_inputs), 64 at a time.

    The encoder is called as it is: a function compiled for a few batches would cost more than it saves.
    """
    parts = [
        ops.convert_to_numpy(label_logits(model, model.encoder(inputs[i : i + _BATCH], training=False)))
        for i in range(0, len(inputs), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.n_labels), np.float32)


def _find_exemplars(model: Any) -> Any:
    # Imported here: whoever imports this module first has the layers register `AudioToImage` meanwhile.
    from keras_a2i.models.exemplar_generator import find_exemplars

    return find_exemplars(model) if isinstance(getattr(model, "generator", None), keras.Model) else None

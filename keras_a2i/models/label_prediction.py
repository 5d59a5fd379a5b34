"""Predicted labels of clips of audio, from the logits of a model."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_a2i.models.label_calibration import LabelCalibration, evidence_of, probabilities_of

UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, eq=False)
class LabelPrediction:
    """Class probabilities of several clips.

    Attributes:
        labels: names of the labels.
        probabilities: float32 (n, n_labels); each row sums to 1.
        evidence: float32 (n,), the evidence for any label at all, see `evidence_of`.
        threshold: the evidence below which the answer is "unknown"; None disables this answer.
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
    """Returns the prediction for logits (n, n_labels), with a calibration or, without one, a temperature of 1."""
    calibration = calibration or LabelCalibration()
    return LabelPrediction(
        tuple(labels),
        probabilities_of(logits, calibration.temperature),
        evidence_of(logits),
        calibration.threshold,
    )

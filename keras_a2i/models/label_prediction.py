"""Predicted labels of clips of audio, from the logits of a model."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.counts import counted
from keras_a2i.errors import MissingPackageError
from keras_a2i.models.label_calibration import LabelCalibration, evidence_of, probabilities_of

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unknown"
_SHOWN = 3


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

    def __repr__(self) -> str:
        shown = ", ".join([*self.answers[:_SHOWN], *(["..."] if len(self.answers) > _SHOWN else [])])
        return f"LabelPrediction({counted(len(self.answers), 'clip')}, {counted(len(self.labels), 'label')}: {shown})"

    @property
    def is_unknown(self) -> np.ndarray:
        """Whether the evidence is below the threshold, bool (n,)."""
        return self.evidence < (-np.inf if self.threshold is None else self.threshold)

    @property
    def answers(self) -> list[str]:
        """The most probable label of every clip, or "unknown"."""
        best = self.probabilities.argmax(axis=1)
        return [UNKNOWN if unknown else self.labels[i] for i, unknown in zip(best, self.is_unknown, strict=True)]

    def to_frame(self) -> "pd.DataFrame":
        """Returns one row per clip.

        Returns:
            The columns `label` (the most probable one, also where the answer is "unknown"), `confidence` (its
            probability) and `is_unknown`.

        Raises:
            MissingPackageError: if pandas isn't installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise MissingPackageError("pandas", None, "A DataFrame") from error
        best = self.probabilities.argmax(axis=1)
        columns = {
            "label": [self.labels[i] for i in best],
            "confidence": self.probabilities.max(axis=1),
            "is_unknown": self.is_unknown,
        }
        return pd.DataFrame(columns)


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

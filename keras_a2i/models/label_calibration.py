"""What turns logits of labels into honest answers: a temperature of the probabilities, and a threshold of "unknown"."""

import dataclasses
import math

import numpy as np

from keras_a2i.errors import ModelError

MAX_OWN_UNKNOWN = 0.1
"""Share of the held-out pairs that a threshold may call unknown at most."""
_TEMPERATURES = (0.05, 20.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelCalibration:
    """Values that are fitted on held-out pairs, stored with a model.

    Attributes:
        temperature: by which logits are divided before the softmax, above 0; above 1 it makes the probabilities less
            sure.
        threshold: the evidence below which the answer is "unknown"; None disables this answer.

    Raises:
        ModelError: if a value is out of range.

    Reference:
        Guo et al., "On calibration of modern neural networks", arXiv:1706.04599, section 4.2.
    """

    temperature: float = 1.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not (0 < self.temperature < math.inf and (self.threshold is None or math.isfinite(self.threshold))):
            raise ModelError(
                "temperature must be above 0, and threshold a number or None. Received: "
                f"temperature={self.temperature!r}, threshold={self.threshold!r}"
            )


def probabilities_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the softmax, float32 (n, n_labels), of logits (n, n_labels) divided by a temperature."""
    return np.exp(_log_probabilities(logits, temperature)).astype(np.float32)


def evidence_of(logits: np.ndarray) -> np.ndarray:
    """Returns the evidence for any label at all, float32 (n,): the logarithm of the sum of exp(logits).

    Probabilities don't contain this information: they sum to 1 also for audio that is unlike the training data.

    Reference:
        The negative energy of Liu et al., "Energy-based out-of-distribution detection", arXiv:2010.03759.
    """
    highest = logits.max(axis=1)
    return (highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))).astype(np.float32)


def fit_calibration(
    logits: np.ndarray, targets: np.ndarray, sources: np.ndarray, foreign_logits: np.ndarray | None = None
) -> LabelCalibration:
    """Fits the temperature and the threshold.

    Args:
        logits: of held-out pairs, float (n, n_labels), n 1 or more.
        targets: numbers of their labels, int (n,).
        sources: sources of the pairs, (n,): each source has the same weight, whatever its number of pairs.
        foreign_logits: of foreign audio, float (m, n_labels); None leaves out the threshold.
    """
    temperature = fit_temperature(logits, targets, sources)
    if foreign_logits is None:
        return LabelCalibration(temperature=temperature)
    threshold = choose_threshold(evidence_of(logits), evidence_of(foreign_logits))
    return LabelCalibration(temperature=temperature, threshold=threshold)


def fit_temperature(logits: np.ndarray, targets: np.ndarray, sources: np.ndarray) -> float:
    """Finds the temperature, 0.05 to 20, with the lowest mean cross-entropy, in which every source has the same weight.

    The targets are smoothed by 1 / (n + 2), Laplace's rule of succession: if n of n predictions are right, the next one
    isn't certainly right.
    """
    _, members, counts = np.unique(sources, return_inverse=True, return_counts=True)
    weights, rows = 1 / counts[members], np.arange(len(targets))
    smoothing = 1 / (len(targets) + 2)
    low, high = np.log(_TEMPERATURES)
    # The cross-entropy has one minimum: each round leaves the neighbours of the best of 33 values.
    for _ in range(4):
        grid = np.linspace(low, high, 33)
        scaled = [_log_probabilities(logits, math.exp(t)) for t in grid]
        losses = [-weights @ ((1 - smoothing) * p[rows, targets] + smoothing * p.mean(axis=1)) for p in scaled]
        best = int(np.argmin(losses))
        low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    return float(math.exp((low + high) / 2))


def choose_threshold(own: np.ndarray, foreign: np.ndarray) -> float | None:
    """Finds the threshold of evidence that best separates foreign clips from own clips.

    Among the thresholds below which there is at most a tenth of the own clips, it maximises the share of foreign clips
    below it minus the share of own clips (Youden's index).

    Args:
        own: evidence of held-out pairs, float (n,).
        foreign: evidence of foreign audio, float (m,).

    Returns:
        The threshold, or None if for every threshold the share of foreign clips below it isn't larger than that of own
        clips.
    """
    values = np.unique(np.concatenate([own, foreign]).astype(np.float64))
    # Between two values, so that rounding decides about none of them.
    candidates = (values[1:] + values[:-1]) / 2
    own_share, foreign_share = (np.searchsorted(np.sort(each), candidates) / len(each) for each in (own, foreign))
    gains = np.where(own_share <= MAX_OWN_UNKNOWN, foreign_share - own_share, -1.0)
    if not len(gains) or gains.max() <= 0:
        return None
    return float(candidates[int(gains.argmax())])


def _log_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))

"""Measures of a classifying model's confidence: how true its probabilities are, and whether it knows what it knows."""

import dataclasses

import numpy as np

from keras_a2i.evaluation.foreign_measures import NO_AUDIO, foreign_inputs, name_of_foreign, rendered_inputs
from keras_a2i.evaluation.measures import Evidence, Value, measure, shared
from keras_a2i.models.label_calibration import evidence_of, fit_calibration, probabilities_of
from keras_a2i.spread import spread_rows

N_BINS = 10
_MAX_ROWS, _MIN_ROWS = 1000, 20
_N_SIMULATED = 50
_NO_CLASSIFIER = "the model doesn't predict the labels of the records"
_TOO_FEW = f"it needs at least {_MIN_ROWS} held-out pairs whose labels the model can predict"


@dataclasses.dataclass(frozen=True, eq=False)
class _Half:
    """The logits (n, n_labels) and targets (n,) of half of the held-out pairs, calibrated on the other half."""

    logits: np.ndarray
    targets: np.ndarray
    temperature: float
    threshold: float | None


@measure("calibration", "expected calibration error", better="lower")
def calibration(evidence: Evidence) -> Value | str:
    """Expected calibration error of the class probabilities, in 10 bins of equal width of the highest one.

    The temperature of each half of the held-out sources is fitted on the other half. Beside it the mean error of labels
    that are drawn from the probabilities, which few pairs leave of perfect ones.

    Reference:
        Guo et al., "On calibration of modern neural networks", arXiv:1706.04599.
    """
    halves = _halves(evidence)
    if isinstance(halves, str):
        return halves
    probabilities = np.concatenate([probabilities_of(half.logits, half.temperature) for half in halves])
    targets = np.concatenate([half.targets for half in halves])
    raw = probabilities_of(np.concatenate([half.logits for half in halves]))
    rng = np.random.default_rng(evidence.seed)
    simulated = [calibration_error(probabilities, _draw(probabilities, rng)) for _ in range(_N_SIMULATED)]
    found = calibration_error(probabilities, targets)
    right = np.mean(probabilities.argmax(axis=1) == targets)
    temperatures = ", ".join(f"{half.temperature:.2f}" for half in halves)
    words = (
        f"{N_BINS} bins, {len(targets):,} pairs, mean confidence {probabilities.max(axis=1).mean():.3f}, accuracy "
        f"{right:.3f}; without temperature ({temperatures}) {calibration_error(raw, targets):.3f}; reference: perfect "
        "probabilities"
    )
    return Value(found, np.mean(simulated), words)


@measure("known-foreign", "AUROC, held-out vs. foreign audio")
def own_from_foreign(evidence: Evidence) -> Value | str:
    """Area under the ROC curve of the evidence for any label: how often own audio has more of it than foreign audio."""
    halves, foreign = _halves(evidence), _foreign_evidence(evidence)
    if isinstance(halves, str) or isinstance(foreign, str):
        return halves if isinstance(halves, str) else str(foreign)
    own = np.concatenate([evidence_of(half.logits) for half in halves])
    words = f"by the evidence for any label, {name_of_foreign(evidence)}; reference: chance"
    return Value(area_under_curve(own, foreign), 0.5, words)


@measure("unknown-foreign", "foreign audio predicted as unknown")
def foreign_called_unknown(evidence: Evidence) -> Value | str:
    """Share of foreign audio whose answer is "unknown", beside that of own audio.

    The threshold for each half of the held-out sources is chosen on the other half and on rendered audio of another
    seed, as `calibrate` does.
    """
    halves, foreign = _halves(evidence), _foreign_evidence(evidence)
    if isinstance(halves, str) or isinstance(foreign, str):
        return halves if isinstance(halves, str) else str(foreign)
    thresholds = [-np.inf if half.threshold is None else half.threshold for half in halves]
    value = np.mean([(foreign < threshold).mean() for threshold in thresholds])
    own = [evidence_of(half.logits) < threshold for half, threshold in zip(halves, thresholds, strict=True)]
    words = f"{name_of_foreign(evidence)}; threshold chosen on other clips; reference: held-out audio"
    return Value(value, np.concatenate(own).mean(), words)


def calibration_error(probabilities: np.ndarray, targets: np.ndarray, n_bins: int = N_BINS) -> float:
    """Returns the expected calibration error.

    Args:
        probabilities: float (n, n_labels).
        targets: numbers of the labels, int (n,).
        n_bins: bins of equal width of the highest probability, over (0, 1].

    Returns:
        The mean over the bins, weighted by their number of clips, of |share of right labels - mean confidence|.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=right - confidence.astype(np.float64), minlength=n_bins)
    return float(np.abs(gaps).sum() / len(targets))


def area_under_curve(higher: np.ndarray, lower: np.ndarray) -> float:
    """Returns the probability that a value of `higher` (n,) exceeds one of `lower` (m,); equal ones count half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / (2 * len(lower)))


def split_by_source(sources: np.ndarray) -> np.ndarray:
    """Returns which half each pair belongs to, bool (n,): whole sources in turn, or ten pairs in turn of a single one.

    Args:
        sources: of pairs that are ordered by source and time, (n,).
    """
    names, members = np.unique(sources, return_inverse=True)
    return members % 2 == 1 if len(names) > 1 else np.arange(len(sources)) // 10 % 2 == 1


@shared
def _halves(evidence: Evidence) -> list[_Half] | str:
    """Two halves of the held-out pairs, or the reason why there are none."""
    if evidence.classify is None or not evidence.classes:
        return _NO_CLASSIFIER
    numbers = {label: i for i, label in enumerate(evidence.classes)}
    targets = np.array([numbers.get(label, -1) for label in evidence.held_out.labels])
    known = np.flatnonzero(targets >= 0)
    rows = known[spread_rows(len(known), _MAX_ROWS)]
    is_second = split_by_source(evidence.held_out.sources[rows])
    if min(is_second.sum(), (~is_second).sum()) < _MIN_ROWS // 2:
        return _TOO_FEW
    logits, targets = evidence.classify(evidence.held_out.inputs[rows]), targets[rows]
    rendered, sources, halves = _rendered_logits(evidence), evidence.held_out.sources[rows], []
    for judged in (~is_second, is_second):
        fitted = fit_calibration(logits[~judged], targets[~judged], sources[~judged], rendered)
        halves.append(_Half(logits[judged], targets[judged], fitted.temperature, fitted.threshold))
    return halves


def _rendered_logits(evidence: Evidence) -> np.ndarray | None:
    """Logits of rendered audio of another seed than that which is judged."""
    inputs = rendered_inputs(evidence, evidence.seed + 1)
    return None if inputs is None or evidence.classify is None else evidence.classify(inputs)


@shared
def _foreign_evidence(evidence: Evidence) -> np.ndarray | str:
    inputs = foreign_inputs(evidence)
    if inputs is None:
        return NO_AUDIO
    return _NO_CLASSIFIER if evidence.classify is None else evidence_of(evidence.classify(inputs))


def _draw(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a label (n,) by each row of probabilities."""
    sums = np.cumsum(probabilities, axis=1)
    return np.minimum((rng.random((len(sums), 1)) > sums).sum(axis=1), sums.shape[1] - 1)

"""Measures of the images of foreign audio: rendered clips, or clips of the user's files."""

from collections.abc import Callable

import numpy as np

from keras_a2i.counts import counted
from keras_a2i.datasets.foreign_audio import N_CLIPS, foreign_audio
from keras_a2i.evaluation.contenders import Generated
from keras_a2i.evaluation.measures import Evidence, Value, measure, shared
from keras_a2i.evaluation.pairs import Rows, thumbnails_of
from keras_a2i.evaluation.realism_measures import (
    N_NEIGHBOURS,
    TOO_FEW,
    density_of,
    features_of,
    image_features,
    precision_of,
    too_few,
)
from keras_a2i.evaluation.two_sample import draw_patches
from keras_a2i.evaluation.two_sample_measures import (
    ONE_LABEL,
    error_at_equal_labels,
    error_of_patches,
    error_of_real_images,
)

NO_AUDIO = "the records hold no audio"
ONE_REFERENCE = "the images of audio without a pair would all show the same reference image"


@measure("two-sample-foreign", "equal error rate, foreign audio")
def two_sample_on_foreign_audio(evidence: Evidence) -> Value | str:
    """As `two-sample`, for images of foreign audio: the user's, or rendered tones, noise, clicks, sweeps and speech."""
    if reason := _missing(evidence):
        return reason
    value = error_of_patches(_foreign_patches(evidence), evidence)
    return Value(value, error_of_real_images(evidence), f"{name_of_foreign(evidence)}; reference: training images")


@measure("two-sample-foreign-labels", "equal error rate, foreign audio, equal labels")
def two_sample_on_foreign_audio_at_equal_labels(evidence: Evidence) -> Value | str:
    """As `two-sample-labels`, for images of foreign audio, which sounds like few of the labels."""
    if reason := _missing(evidence):
        return reason
    if evidence.labels is None:
        return ONE_LABEL
    shown = evidence.labels.read(_foreign_images(evidence))
    return error_at_equal_labels(_foreign_patches(evidence), shown, evidence, f"images of {name_of_foreign(evidence)}")


@measure("precision-foreign", "precision on foreign audio")
def precision_on_foreign_audio(evidence: Evidence) -> Value | str:
    """As `precision`, for images of foreign audio, beside the model's own precision on held-out audio."""
    return _beside_own(precision_of, evidence)


@measure("density-foreign", "density on foreign audio")
def density_on_foreign_audio(evidence: Evidence) -> Value | str:
    """As `density`, for images of foreign audio, beside the model's own density on held-out audio."""
    return _beside_own(density_of, evidence)


@shared
def foreign_inputs(evidence: Evidence) -> np.ndarray | None:
    """The model's inputs, float32 (n, n_inputs), for foreign audio; None where the model's input is no audio."""
    if evidence.foreign is not None and evidence.to_inputs is not None:
        return evidence.to_inputs(evidence.foreign.waveforms)
    return rendered_inputs(evidence, evidence.seed)


def rendered_inputs(evidence: Evidence, seed: int) -> np.ndarray | None:
    """The model's inputs for rendered audio; None where no audio tells its length, as with embeddings."""
    known = evidence.train.waveforms if evidence.foreign is None else evidence.foreign.waveforms
    if known is None or evidence.to_inputs is None:
        return None
    return evidence.to_inputs(foreign_audio(N_CLIPS, known.shape[1], seed))


def _missing(evidence: Evidence) -> str:
    if too_few(evidence):
        return TOO_FEW
    if evidence.held_out.references is not None:
        return ONE_REFERENCE
    return NO_AUDIO if foreign_inputs(evidence) is None else ""


@shared
def _foreign_images(evidence: Evidence) -> Rows:
    """Images of foreign audio, float32 in [-1, 1], by row number; kept where they fit the memory budget."""
    inputs = np.asarray(foreign_inputs(evidence))
    shape = evidence.held_out.images.shape[1:]
    return Generated(lambda rows: evidence.predict_fn(inputs[rows]), len(inputs), shape, keep=True)


@shared
def _foreign_patches(evidence: Evidence) -> np.ndarray:
    images = _foreign_images(evidence)
    return draw_patches(images, np.arange(len(images)), evidence.seed)


@shared
def _foreign_features(evidence: Evidence) -> np.ndarray:
    return features_of(evidence, thumbnails_of(_foreign_images(evidence)))


def name_of_foreign(evidence: Evidence) -> str:
    """How many foreign clips there are and what they are, in words."""
    if evidence.foreign is not None:
        return f"{counted(len(evidence.foreign.waveforms), 'clip')} of {evidence.foreign.name}"
    return f"{N_CLIPS} rendered clips"


def _beside_own(measure_of: Callable[[np.ndarray, np.ndarray], float], evidence: Evidence) -> Value | str:
    """A measure of features among those of real images, of foreign audio and beside it of held-out audio."""
    if reason := _missing(evidence):
        return reason
    real, generated, _ = image_features(evidence)
    foreign, own = (measure_of(real, features) for features in (_foreign_features(evidence), generated))
    ratio = f"{foreign / own:.2f} of the reference" if own > 0 else "the reference is 0"
    words = f"realism: {ratio}, k = {N_NEIGHBOURS}, {name_of_foreign(evidence)}; reference: held-out audio"
    return Value(foreign, own, words)

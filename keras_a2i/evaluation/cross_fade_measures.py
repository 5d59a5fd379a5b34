"""Measures of the images between two clips, as the audio of one is cross-faded into that of the other."""

import numpy as np

from keras_a2i.counts import counted
from keras_a2i.evaluation.contenders import Generated
from keras_a2i.evaluation.foreign_measures import NO_AUDIO, ONE_REFERENCE
from keras_a2i.evaluation.measures import Evidence, Value, measure, shared
from keras_a2i.evaluation.pairs import Rows, thumbnails_of
from keras_a2i.evaluation.realism_measures import TOO_FEW, features_of, too_few
from keras_a2i.evaluation.report_format import percent
from keras_a2i.evaluation.two_sample import draw_patches
from keras_a2i.evaluation.two_sample_measures import error_of_patches, error_of_real_images
from keras_a2i.spread import spread_rows

FADE_STEPS = 11
LARGE_STEP = 0.35
N_FADES = 32
_MIDDLE = slice(3, 8)
_SILENCE = 1e-3


@measure("cross-fade", "largest step of a cross-fade", better="lower")
def largest_step(evidence: Evidence) -> Value | str:
    """How evenly the image changes as one held-out clip is cross-faded into a clip of another source.

    Both clips have the same loudness and are mixed in 11 steps. The value is the largest distance between two
    consecutive images, as a share of the distance of the first and the last: the median of up to 32 pairs of clips, in
    the features of `density`. 0.1 is an even change; a model that only retrieves images has about 1.
    """
    if reason := _missing(evidence):
        return reason
    features = features_of(evidence, thumbnails_of(_cross_fades(evidence)))
    features = features.reshape(-1, FADE_STEPS, features.shape[1])
    steps = np.linalg.norm(np.diff(features, axis=1), axis=2).max(axis=1)
    whole = np.linalg.norm(features[:, -1] - features[:, 0], axis=1)
    if not whole.any():
        return "the model generates the same image for all of these clips"
    shares = steps[whole > 0] / whole[whole > 0]
    words = (
        f"share of the distance between two clips' images; {counted(len(shares), 'pair')}, "
        f"{percent((shares <= LARGE_STEP).mean(), 0)} of them without a step above "
        f"{percent(LARGE_STEP, 0)}; reference: an even change"
    )
    return Value(np.median(shares), 1 / (FADE_STEPS - 1), words)


@measure("two-sample-cross-fade", "equal error rate, halfway through a cross-fade")
def two_sample_halfway(evidence: Evidence) -> Value | str:
    """As `two-sample`, for the five images in the middle of each cross-fade of `cross-fade`."""
    if reason := _missing(evidence):
        return reason
    images = _cross_fades(evidence)
    middle = np.arange(len(images)).reshape(-1, FADE_STEPS)[:, _MIDDLE].ravel()
    value = error_of_patches(draw_patches(images, middle, evidence.seed), evidence)
    words = f"realism of {len(middle)} images of mixed audio; reference: training images"
    return Value(value, error_of_real_images(evidence), words)


def _missing(evidence: Evidence) -> str:
    if too_few(evidence):
        return TOO_FEW
    if evidence.held_out.references is not None:
        return ONE_REFERENCE
    if evidence.held_out.waveforms is None or evidence.to_inputs is None:
        return NO_AUDIO
    return "" if len(_clips_to_fade(evidence)) else "it needs held-out clips of at least two sources that aren't silent"


@shared
def _clips_to_fade(evidence: Evidence) -> np.ndarray:
    """Row numbers of up to 32 pairs of audible clips of different sources, (n, 2)."""
    sources, waveforms = evidence.held_out.sources, evidence.held_out.waveforms
    assert waveforms is not None
    rng = np.random.default_rng(evidence.seed)
    rows = spread_rows(len(sources), N_FADES)
    audible = [row for row in rows if _loudness(waveforms[row : row + 1])[0] > _SILENCE]
    pairs = []
    for row in audible:
        others = [other for other in audible if sources[other] != sources[row]]
        if others:
            pairs.append((row, rng.choice(others)))
    return np.array(pairs, int).reshape(-1, 2)


@shared
def _cross_fades(evidence: Evidence) -> Rows:
    """Images of the mixtures of all pairs of clips, 11 in turn for each; kept where they fit the memory budget."""
    pairs, waveforms, to_inputs = _clips_to_fade(evidence), evidence.held_out.waveforms, evidence.to_inputs
    assert waveforms is not None and to_inputs is not None

    def images_of(numbers: np.ndarray) -> np.ndarray:
        share = (numbers % FADE_STEPS / (FADE_STEPS - 1)).astype(np.float32)[:, None]
        one, other = (waveforms[column] for column in pairs[numbers // FADE_STEPS].T)
        # The quieter clip determines the loudness of both, so that no mixture is clipped.
        levels = _loudness(one)[:, None], _loudness(other)[:, None]
        lower = np.minimum(*levels)
        mixed = (1 - share) * one * (lower / levels[0]) + share * other * (lower / levels[1])
        return evidence.predict_fn(to_inputs(mixed.astype(np.float32)))

    return Generated(images_of, FADE_STEPS * len(pairs), evidence.held_out.images.shape[1:], keep=True)


def _loudness(waveforms: np.ndarray) -> np.ndarray:
    """Root mean squares, float64 (n,)."""
    return np.sqrt(np.square(waveforms, dtype=np.float64).mean(axis=1))

"""How others compute mel features, to the last constant: what a front end's convention stands for."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError
from keras_a2i.features.mel import htk_filters, psf_filters, slaney_filters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convention:
    """The parts of a front end that go without saying where it comes from.

    Attributes:
        reference: whose numbers these are.
        filters: mel filters (n_fft // 2 + 1, n_mels) from sample_rate, n_fft, n_mels, f_min, f_max.
        hann: whether windows are periodic Hann windows, else rectangular.
        power: 2 for the power spectrum, 1 for magnitudes.
        frame_length, hop_length: default lengths.
        in_seconds: whether these are seconds, else samples.
        n_mels, n_mfcc, lifter, preemphasis, f_min, f_max: defaults; an `f_max` of None is half the sample rate.
    """

    reference: str
    filters: Callable[..., np.ndarray]
    hann: bool
    power: int
    frame_length: float
    hop_length: float
    in_seconds: bool
    n_mels: int
    n_mfcc: int
    lifter: int
    preemphasis: float
    f_min: float
    f_max: float | None


_PAPER = FeatureConfig()

CONVENTIONS = {
    "psf": Convention(
        reference="python_speech_features 0.6 on 16-bit samples: rectangular windows, log energy as first coefficient",
        filters=psf_filters,
        hann=False,
        power=2,
        frame_length=_PAPER.frame,
        hop_length=_PAPER.hop,
        in_seconds=True,
        n_mels=_PAPER.n_mels,
        n_mfcc=_PAPER.n_mfcc,
        lifter=_PAPER.lifter,
        preemphasis=_PAPER.preemphasis,
        f_min=0.0,
        f_max=None,
    ),
    "htk": Convention(
        reference="tf.signal: magnitudes, HTK's mel scale, log(x + 1e-6)",
        filters=htk_filters,
        hann=True,
        power=1,
        frame_length=1024,
        hop_length=256,
        in_seconds=False,
        n_mels=80,
        n_mfcc=13,
        lifter=0,
        preemphasis=0.0,
        f_min=80.0,
        f_max=7600.0,
    ),
    "librosa": Convention(
        reference="librosa.feature: centred windows, Slaney's mel scale, decibels within 80 of the loudest",
        filters=slaney_filters,
        hann=True,
        power=2,
        frame_length=2048,
        hop_length=512,
        in_seconds=False,
        n_mels=128,
        n_mfcc=20,
        lifter=0,
        preemphasis=0.0,
        f_min=0.0,
        f_max=None,
    ),
}


def get_convention(name: str) -> Convention:
    """The convention of a name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in CONVENTIONS:
        raise ConfigError(f"The convention must be one of {', '.join(CONVENTIONS)}. Received: {name!r}")
    return CONVENTIONS[name]

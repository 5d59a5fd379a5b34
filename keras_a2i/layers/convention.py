"""The conventions of mel features: how other libraries compute them, to the last constant."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError
from keras_a2i.features.mel import htk_filters, psf_filters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convention:
    """Constants and default settings of a library's mel features.

    Attributes:
        reference: the library, and what sets it apart.
        filters: mel filters (n_fft // 2 + 1, n_mels) from sample_rate, n_fft, n_mels, f_min, f_max.
        hann: True for periodic Hann windows, False for rectangular ones.
        power: 2 for the power spectrum, 1 for magnitudes.
        frame_length, hop_length: defaults, in seconds if `in_seconds`, else in samples.
        in_seconds: unit of the lengths.
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
        reference="tf.signal: Hann windows, magnitudes, the mel scale of HTK, log(x + 1e-6)",
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
}


def get_convention(name: str) -> Convention:
    """Returns the convention of that name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in CONVENTIONS:
        raise ConfigError(f"convention must be one of {', '.join(CONVENTIONS)}. Received: convention={name!r}")
    return CONVENTIONS[name]

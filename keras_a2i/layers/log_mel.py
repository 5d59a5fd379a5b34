"""Sound to log-mel frames as a Keras layer."""

import math
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError
from keras_a2i.layers.banded import banded_matmul
from keras_a2i.layers.convention import get_convention
from keras_a2i.layers.framing import frame, frame_count

FULL_SCALE = 32_768.0
_TINY = {"psf": float(np.finfo(np.float64).eps), "htk": 1e-6, "librosa": 1e-10}
_TOP_DB = 80.0


@keras.saving.register_keras_serializable("keras_a2i")
class LogMel(keras.layers.Layer):
    """Log-mel frames of sound, equal to those of a reference.

    Computes in float32 whatever the dtype policy is. Silence and clipped sound give finite values. Uses operators
    that TFLite has built in.

    Args:
        sample_rate: of the sound, Hz.
        convention: "psf" (python_speech_features' `logfbank` on 16-bit samples, to 1e-3), "htk" (tf.signal, to 1e-5)
            or "librosa" (`power_to_db(melspectrogram)`, to 2e-3 dB).
        frame_length: samples of a window; None takes the convention's: 0.25 s, 1024, 2048.
        hop_length: samples from one window to the next; None takes the convention's: 0.125 s, 256, 512.
        n_fft: FFT length, at least `frame_length`; None is the power of two at or above it.
        n_mels: mel filters; None takes the convention's: 26, 80, 128.
        f_min: Hz, lower edge of the first filter; None takes the convention's: 0, 80, 0.
        f_max: Hz, upper edge of the last filter; None takes half the sample rate, for "htk" at most 7600.
        preemphasis: coefficient of the first-order high pass, "psf" only; None takes 0.97.
        **kwargs: name of the layer.

    Call with float (batch, n_samples) in [-1, 1]; n_samples must be known. Returns float32 (batch, n_frames, n_mels).
    "psf" starts a frame at every hop and fills the last with silence; "htk" has no frame that isn't filled;
    "librosa" centres frames on multiples of the hop, with silence at both ends.

    Raises:
        ConfigError: if an argument is out of range, or for "htk" the sound is shorter than a window.

    Example:
        >>> LogMel(16_000, n_mels=40)(np.zeros((2, 16_000), "float32")).shape
        TensorShape([2, 8, 40])
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        *,
        convention: str = "psf",
        frame_length: int | None = None,
        hop_length: int | None = None,
        n_fft: int | None = None,
        n_mels: int | None = None,
        f_min: float | None = None,
        f_max: float | None = None,
        preemphasis: float | None = None,
        **kwargs: Any,
    ):
        # Sound loses its quiet parts in half precision, and a log of what is left is far off.
        super().__init__(**(kwargs | {"dtype": "float32", "autocast": False, "trainable": False}))
        known = get_convention(convention)
        unit = sample_rate if known.in_seconds else 1
        self.convention, self.sample_rate = convention, int(sample_rate)
        self.frame_length = round(known.frame_length * unit) if frame_length is None else int(frame_length)
        self.hop_length = round(known.hop_length * unit) if hop_length is None else int(hop_length)
        self.n_fft = 1 << (self.frame_length - 1).bit_length() if n_fft is None else int(n_fft)
        self.n_mels = known.n_mels if n_mels is None else int(n_mels)
        self.f_min = known.f_min if f_min is None else float(f_min)
        self.f_max = min(known.f_max or math.inf, sample_rate / 2) if f_max is None else float(f_max)
        self.preemphasis = known.preemphasis if preemphasis is None else float(preemphasis)
        self._check()
        self._known = known

    @classmethod
    def from_features(cls, config: FeatureConfig, **kwargs: Any) -> Self:
        """The layer that hears as records of a feature configuration do ("psf")."""
        return cls(
            config.sample_rate,
            frame_length=config.frame_length,
            hop_length=config.hop_length,
            n_fft=config.n_fft,
            n_mels=config.n_mels,
            preemphasis=config.preemphasis,
            **kwargs,
        )

    def _check(self) -> None:
        rules = {
            "sample_rate must be at least 1000 Hz": self.sample_rate >= 1000,
            "hop_length must lie between 1 and frame_length": 1 <= self.hop_length <= self.frame_length,
            "n_fft must be at least frame_length": self.n_fft >= self.frame_length,
            "n_mels must be at least 1": self.n_mels >= 1,
            "f_min and f_max must lie in order between 0 and half the sample rate": (
                0 <= self.f_min < self.f_max <= self.sample_rate / 2
            ),
            "preemphasis must lie in [0, 1), and be 0 unless the convention is seed": (
                0 <= self.preemphasis < 1 and (self.convention == "psf" or not self.preemphasis)
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(f"{rule}. Received: {self._settings()}")

    def call(self, waveform: Any) -> Any:
        return self._log_mel(self._power(waveform))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], self._n_frames(input_shape[-1]), self.n_mels

    def _n_frames(self, n_samples: int | None) -> int:
        if n_samples is None:
            raise ConfigError("The length of the sound must be known to the graph. Received: (batch, None)")
        return frame_count(n_samples, self.frame_length, self.hop_length, self.convention)

    def _power(self, waveform: Any) -> Any:
        """Spectrum (batch, n_frames, n_fft // 2 + 1): powers, or magnitudes where the convention takes them."""
        if len(waveform.shape) != 2:
            raise ConfigError(f"Sound must be (batch, n_samples). Received: shape {tuple(waveform.shape)}")
        x = ops.cast(waveform, "float32")
        if self.convention == "psf":
            x = ops.round(ops.clip(x * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1))
        n_frames = self._n_frames(x.shape[1])
        frames = frame(x, n_frames, self.frame_length, self.hop_length, self.convention, self.preemphasis)
        if self._known.hann:
            frames *= _hann(self.frame_length)
        real, imaginary = ops.rfft(frames, self.n_fft)
        power = ops.square(real) + ops.square(imaginary)
        if self.convention == "psf":
            power /= self.n_fft
        # A root has no gradient at 0.
        return power if self._known.power == 2 else ops.sqrt(ops.maximum(power, 1e-30))

    def _log_mel(self, power: Any) -> Any:
        filters = self._known.filters(self.sample_rate, self.n_fft, self.n_mels, self.f_min, self.f_max)
        mel = banded_matmul(power, filters)
        tiny = _TINY[self.convention]
        if self.convention == "psf":
            return safe_log(mel)
        if self.convention == "htk":
            return ops.log(mel + tiny)
        decibels = ops.log(ops.maximum(mel, tiny)) * (10 / math.log(10))
        return ops.maximum(decibels, ops.max(decibels, axis=(1, 2), keepdims=True) - _TOP_DB)

    def _settings(self) -> dict[str, Any]:
        names = ("sample_rate", "convention", "frame_length", "hop_length", "n_fft", "n_mels", "f_min", "f_max")
        names += ("preemphasis",)
        return {name: getattr(self, name) for name in names}

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._settings()


def safe_log(values: Any) -> Any:
    """Natural logarithm of values >= 0, with float64's epsilon for 0 as python_speech_features has it."""
    return ops.log(ops.where(values > 0, values, _TINY["psf"]))


def _hann(length: int) -> Any:
    """Periodic Hann window, its cosine by the backend: with TensorFlow's it is tf.signal's window digit by digit."""
    angle = np.float32(2 * math.pi) * np.arange(length, dtype=np.float32) / np.float32(length)
    return 0.5 - 0.5 * ops.cos(angle)

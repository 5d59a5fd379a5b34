"""Log-mel frames of a waveform as a Keras layer."""

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
from keras_a2i.layers.power_spectrum import power_spectrum

FULL_SCALE = 32_768.0
HTK_OFFSET = 1e-6
"""What the convention "htk" adds to a magnitude before the logarithm."""
_PSF_FLOOR = float(np.finfo(np.float64).eps)
_INVERTIBLE_FRAME, _INVERTIBLE_MELS, _INVERTIBLE_F_MIN = 0.064, 80, 40.0


@keras.saving.register_keras_serializable("keras_a2i")
class LogMel(keras.layers.Layer):
    """Log-mel frames of a waveform, equal to those of a reference library.

    Silence and clipped audio yield finite values. The layer uses only operators that are built into TFLite;
    while a model is exported to ONNX, it uses only standard operators of ONNX.

    Args:
        sample_rate: sample rate of the waveform in Hz.
        convention: "psf" (python_speech_features' `logfbank` on 16-bit samples, to 1e-3) or "htk" (tf.signal, to 1e-5).
        frame_length: samples of an analysis frame; None is the convention's: 0.25 s, 1024.
        hop_length: samples from one frame to the next; None is the convention's: 0.125 s, 256.
        n_fft: length of the FFT, at least `frame_length`; None is the power of two at or above it.
        n_mels: number of mel filters; None is the convention's: 26, 80.
        f_min: lower edge of the first filter in Hz; None is the convention's: 0, 80.
        f_max: upper edge of the last filter in Hz; None is half the sample rate, for "htk" at most 7600.
        preemphasis: coefficient of the first-order high pass, "psf" only; None is 0.97.
        dtype: dtype or policy of the output. The layer computes in float32, which is the default whatever the global
            policy is: half precision loses the quiet parts of a waveform.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, n_samples) in [-1, 1]; n_samples must be known. Returns (batch, n_frames, n_mels).
    "psf" starts a frame at every hop and pads the last frames with silence; "htk" leaves out frames that the waveform
    doesn't fill.

    Raises:
        ConfigError: if an argument is out of range, or for "htk" the waveform is shorter than a frame.

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
        dtype: Any = "float32",
        **kwargs: Any,
    ):
        super().__init__(dtype=dtype or "float32", **({"autocast": False} | kwargs))
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
        self._known = known
        rules = {
            "sample_rate must be at least 1000 Hz": self.sample_rate >= 1000,
            "hop_length must lie between 1 and frame_length": 1 <= self.hop_length <= self.frame_length,
            "n_fft must be at least frame_length": self.n_fft >= self.frame_length,
            "n_mels must be at least 1": self.n_mels >= 1,
            "f_min must lie below f_max, both between 0 and half the sample rate": (
                0 <= self.f_min < self.f_max <= self.sample_rate / 2
            ),
            "preemphasis must lie in [0, 1), and be 0 unless the convention is psf": (
                0 <= self.preemphasis < 1 and (self.convention == "psf" or not self.preemphasis)
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(f"{rule}. Received: {self._settings()}")

    @classmethod
    def from_features(cls, config: FeatureConfig, **kwargs: Any) -> Self:
        """Returns the layer that computes the features of records with that configuration ("psf")."""
        return cls(
            config.sample_rate,
            frame_length=config.frame_length,
            hop_length=config.hop_length,
            n_fft=config.n_fft,
            n_mels=config.n_mels,
            preemphasis=config.preemphasis,
            **kwargs,
        )

    @classmethod
    def for_inversion(cls, sample_rate: int, **kwargs: Any) -> Self:
        """Returns the layer whose output `keras_a2i.models.ImageToAudio` predicts and converts back into audio ("htk").

        The length of a frame is the power of two of samples that is nearest to 64 ms, and four frames overlap; there
        are 80 bands from 40 Hz to half the sample rate.
        """
        frame_length = 1 << round(math.log2(_INVERTIBLE_FRAME * sample_rate))
        return cls(
            sample_rate,
            convention="htk",
            frame_length=frame_length,
            hop_length=frame_length // 4,
            n_mels=_INVERTIBLE_MELS,
            f_min=_INVERTIBLE_F_MIN,
            f_max=sample_rate / 2,
            **kwargs,
        )

    def call(self, waveform: Any) -> Any:
        return ops.cast(self._log_mel(self._spectrum(waveform)), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], self._n_frames(input_shape[-1]), self.n_mels

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._settings()

    @property
    def filters(self) -> np.ndarray:
        """The mel filters, (n_fft // 2 + 1, n_mels)."""
        return self._known.filters(self.sample_rate, self.n_fft, self.n_mels, self.f_min, self.f_max)

    def _settings(self) -> dict[str, Any]:
        names = ("sample_rate", "convention", "frame_length", "hop_length", "n_fft", "n_mels", "f_min", "f_max")
        return {name: getattr(self, name) for name in (*names, "preemphasis")}

    def _n_frames(self, n_samples: int | None) -> int:
        if n_samples is None:
            raise ConfigError("The length of the waveform must be known to the graph. Received: (batch, None)")
        return frame_count(n_samples, self.frame_length, self.hop_length, self.convention)

    def _spectrum(self, waveform: Any) -> Any:
        """Returns powers, or magnitudes if the convention has them, float32 (batch, n_frames, n_fft // 2 + 1)."""
        if len(waveform.shape) != 2:
            raise ConfigError(f"The waveform must be (batch, n_samples). Received: shape {tuple(waveform.shape)}")
        x = ops.cast(waveform, "float32")
        if self.convention == "psf":
            x = ops.round(ops.clip(x * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1))
        frames = frame(x, self._n_frames(x.shape[1]), self.frame_length, self.hop_length, self.preemphasis)
        if self._known.hann:
            frames = frames * _hann(self.frame_length)
        power = power_spectrum(frames, self.n_fft)
        if self.convention == "psf":
            power = power / self.n_fft
        # The gradient of a square root is infinite at 0.
        return power if self._known.power == 2 else ops.sqrt(ops.maximum(power, 1e-30))

    def _log_mel(self, spectrum: Any) -> Any:
        mel = banded_matmul(spectrum, self.filters)
        return safe_log(mel) if self.convention == "psf" else ops.log(mel + HTK_OFFSET)


def safe_log(values: Any) -> Any:
    """Returns the natural logarithm of values >= 0, with float64's epsilon for 0 as in python_speech_features."""
    # Chosen after the logarithm: the epsilon is 0 in float16, which files of half precision hold.
    positive = values > 0
    return ops.where(positive, ops.log(ops.where(positive, values, 1.0)), math.log(_PSF_FLOOR))


def _hann(length: int) -> Any:
    """Returns a periodic Hann window; with the cosine of TensorFlow it equals that of tf.signal digit by digit."""
    angle = np.float32(2 * math.pi) * np.arange(length, dtype=np.float32) / np.float32(length)
    return 0.5 - 0.5 * ops.cos(ops.convert_to_tensor(angle))

"""The other direction: a network from an image to a log-mel spectrogram, and its conversion to audio."""

import pathlib
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import layers, ops

from keras_a2i.config import ImageConfig
from keras_a2i.errors import ModelError, UsageError
from keras_a2i.features.griffin_lim import ITERATIONS, griffin_lim, mel_to_linear
from keras_a2i.layers import BatchNormalization, Conv2DTranspose
from keras_a2i.layers.log_mel import HTK_OFFSET, LogMel
from keras_a2i.models.dtype_policy import dtype_policy, policy_config, stored_policy
from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.models.initializers import SLOPE
from keras_a2i.models.model_file import check_archive
from keras_a2i.models.preset_path import find_preset
from keras_a2i.models.styles import draw_styles

MIN_DURATION = 0.25
N_MELS = 80
_STAGES = 4
_BATCH = 64


@keras.saving.register_keras_serializable("keras_a2i")
class ImageToAudio(keras.Model):
    """A functional Keras model from an image to the log-mel spectrogram of its audio; `generate` returns the audio.

    Strided convolutions encode the image; a dense layer and four transposed convolutions, each doubling both sides,
    decode the vector. The spectrogram is that of the layer `log_mel`: frames of about 64 ms (a power of two of samples)
    with Hann windows, a hop of a quarter of a frame, and 80 mel bands from 40 Hz to half the sample rate.

    Args:
        image_size: pixels per side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        sample_rate: Hz of the audio.
        duration: seconds of audio per image, 0.25 to 60.
        latent_dim: length of the vector between encoder and decoder.
        widths: channels of the decoder's five maps, from the smallest.
        style_units: length of the style, the variation of the audio of one image, such as pitch, speed and voice.
        dropout: share of the vector's values that is dropped in training, 0 up to below 1.
        normalization: mean and standard deviation of every band's log-mel values, each (80,); None is 0 and 1.
        name: name of the model.

    Attributes:
        image: the configuration of the input.
        n_samples: samples of a generated waveform.
        band_mean, band_deviation: the normalization, float32 (80,) each.

    Call with [images (batch, size, size, channels) in [-1, 1], styles (batch, style_units)]; returns log-mel values,
    float32 (batch, n_frames, 80).

    Raises:
        UsageError: if an argument is out of range.

    Reference:
        Chen, Srivastava, Duan and Xu, "Deep cross-modal audio-visual generation", 2017, which generates in both
        directions; here without an adversarial loss.

    Example:
        >>> model = ImageToAudio(image_size=16, sample_rate=8000)
        >>> model.output_shape, model.generate(np.zeros((2, 16, 16, 3), "float32")).shape
        ((None, 59, 80), (2, 8000))
    """

    generates_audio = True

    def __init__(
        self,
        *,
        image_size: int = 64,
        channels: int = 3,
        sample_rate: int = 16_000,
        duration: float = 1.0,
        latent_dim: int = 128,
        style_units: int = 16,
        widths: Sequence[int] = (128, 64, 48, 32, 16),
        dropout: float = 0.2,
        normalization: tuple[Any, Any] | None = None,
        name: str = "image_to_audio",
    ):
        if not MIN_DURATION <= duration <= 60:
            raise UsageError(f"duration must lie between {MIN_DURATION:g} and 60 seconds. Received: {duration=}")
        if len(widths) != _STAGES + 1 or min(*widths, latent_dim, style_units) < 1 or not 0 <= dropout < 1:
            raise UsageError(
                f"widths must be {_STAGES + 1} whole numbers from 1, latent_dim and style_units at least 1 and dropout "
                f"in [0, 1). Received: widths={tuple(widths)}, {latent_dim=}, {style_units=}, {dropout=}"
            )
        mean, deviation = _check_normalization(normalization)
        image, n_samples = ImageConfig(size=image_size, channels=channels), round(duration * sample_rate)
        n_frames = LogMel.for_inversion(sample_rate).compute_output_shape((None, n_samples))[1]
        encoder = image_encoder(image_size, channels, latent_dim)
        x = layers.LeakyReLU(SLOPE, name="latent")(layers.Dropout(dropout, name="dropout")(encoder.outputs[0]))
        style = keras.Input((style_units,), name="style")
        x = _decode(layers.Concatenate(name="latent_and_style")([x, style]), n_frames, widths)
        x = ops.cast(x, "float32") * deviation + mean
        super().__init__(inputs=[encoder.inputs[0], style], outputs=x, name=name)
        self.image, self.sample_rate, self.duration, self.n_samples = image, sample_rate, duration, n_samples
        self.style_units = style_units
        self._arguments = {
            "latent_dim": latent_dim,
            "style_units": style_units,
            "widths": list(widths),
            "dropout": dropout,
        }
        self.band_mean, self.band_deviation = mean, deviation

    @property
    def log_mel(self) -> LogMel:
        """The layer from waveforms (batch, n_samples) to the spectrograms that the model is trained to predict."""
        return LogMel.for_inversion(self.sample_rate)

    def generate(
        self, images: Any, *, temperature: float = 0.0, seed: int = 0, iterations: int = ITERATIONS
    ) -> np.ndarray:
        """Generates the audio of images.

        The network predicts log-mel spectrograms; `log_mel_to_waveform` computes the audio of each in NumPy.

        Args:
            images: (n, size, size, channels), float in [-1, 1].
            temperature: standard deviation of the style, 0 to 4; 0 yields the usual audio of an image.
            seed: seed of the style, which all images share, and of the initial phases. The same seed yields the same
                audio.
            iterations: iterations of Griffin-Lim.

        Returns:
            float32 (n, n_samples) in [-1, 1].

        Raises:
            UsageError: if the images have another shape, or an argument is out of range.
        """
        spectrograms = self.predict_log_mel(images, draw_styles(self.style_units, 1, temperature, seed)[0])
        return np.stack(
            [log_mel_to_waveform(each, self.sample_rate, self.n_samples, seed, iterations) for each in spectrograms]
        )

    def predict_log_mel(self, images: Any, style: Any = None) -> np.ndarray:
        """Returns the log-mel spectrograms, float32 (n, n_frames, n_mels), of images in [-1, 1].

        Args:
            images: (n, size, size, channels).
            style: (style_units,), of all images; None is zeros, the usual one.

        Raises:
            UsageError: if the images or the style have another shape.
        """
        images = np.asarray(images, np.float32)
        style = np.zeros(self.style_units) if style is None else np.asarray(style)
        if images.ndim != 4 or images.shape[1:] != self.image.shape or not len(images):
            raise UsageError(
                f"images must have the shape (n, size, size, channels) with {self.image.shape}. "
                f"Received: shape {images.shape}"
            )
        if style.shape != (self.style_units,):
            raise UsageError(f"style must have the shape ({self.style_units},). Received: shape {style.shape}")
        parts = (images[i : i + _BATCH] for i in range(0, len(images), _BATCH))
        styles = np.tile(style.astype(np.float32), (_BATCH, 1))
        return np.concatenate([np.asarray(self.predict_on_batch([part, styles[: len(part)]])) for part in parts])

    @classmethod
    def from_preset(cls, preset: str | pathlib.Path) -> Self:
        """Loads a trained model.

        Args:
            preset: a run folder of `keras_a2i.fit_image_to_audio`, a `.keras` file, the address of
                either in an object store, or "hf://USER/REPOSITORY".

        Raises:
            ModelError: if there is no such model, or it doesn't generate audio.
        """
        path = find_preset(preset)
        check_archive(path)
        try:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except (ValueError, OSError, TypeError, KeyError) as error:
            raise ModelError(f"{path.name} can't be loaded as a Keras model: {error}") from error
        if not isinstance(model, cls):
            raise ModelError(
                "A model that generates audio must be one of fit-image-to-audio (keras_a2i.fit_image_to_audio). "
                f"Received: {preset}, whose class is {type(model).__name__}"
            )
        return model

    def get_config(self) -> dict[str, Any]:
        return (
            self._arguments
            | policy_config(self)
            | {
                "image_size": self.image.size,
                "channels": self.image.channels,
                "sample_rate": self.sample_rate,
                "duration": self.duration,
                "normalization": [self.band_mean.tolist(), self.band_deviation.tolist()],
                "name": self.name,
            }
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        config = dict(config)
        with dtype_policy(stored_policy(config)):
            return cls(**config)


def log_mel_to_waveform(
    log_mel: np.ndarray, sample_rate: int, n_samples: int, seed: int = 0, iterations: int = ITERATIONS
) -> np.ndarray:
    """Computes audio of a log-mel spectrogram, by non-negative least squares and fast Griffin-Lim.

    Args:
        log_mel: (n_frames, n_mels), as of `LogMel.for_inversion`.
        sample_rate: Hz.
        n_samples: length of the result; what lies beyond the last frame is silence.
        seed: seed of the initial phases.
        iterations: iterations of Griffin-Lim.

    Returns:
        float32 (n_samples,) in [-1, 1]; louder audio is scaled down.
    """
    layer = LogMel.for_inversion(sample_rate)
    mel = np.maximum(np.exp(np.asarray(log_mel, np.float64)) - HTK_OFFSET, 0)
    linear = mel_to_linear(mel, layer.filters)
    found = griffin_lim(linear, layer.frame_length, layer.hop_length, iterations=iterations, seed=seed)
    waveform = np.zeros(n_samples, np.float32)
    waveform[: len(found)] = found[:n_samples] / max(1.0, float(np.abs(found).max()))
    return waveform


def _decode(x: keras.KerasTensor, n_frames: int, widths: Sequence[int]) -> keras.KerasTensor:
    """The decoder's layers from a vector (batch, latent_dim) to (batch, n_frames, N_MELS)."""
    scale = 1 << _STAGES
    convolution: dict[str, Any] = {"padding": "same", "data_format": "channels_last"}
    rows, columns = -(-n_frames // scale), N_MELS // scale
    x = layers.Dense(rows * columns * widths[0], name="base")(x)
    x = _norm_act(layers.Reshape((rows, columns, widths[0]), name="to_map")(x), "base")
    for i, width in enumerate(widths[1:]):
        x = Conv2DTranspose(width, 4, strides=2, name=f"decoder_{i}", **convolution)(x)
        x = _norm_act(x, f"decoder_{i}")
    x = layers.Conv2D(1, 3, name="to_bands", **convolution)(x)
    return layers.Reshape((rows * scale, N_MELS), name="bands")(x)[:, :n_frames]


def _norm_act(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.LeakyReLU(SLOPE, name=f"{name}_act")(x)


def _check_normalization(normalization: tuple[Any, Any] | None) -> tuple[np.ndarray, np.ndarray]:
    if normalization is None:
        return np.zeros(N_MELS, np.float32), np.ones(N_MELS, np.float32)
    mean, deviation = (np.asarray(part, np.float32) for part in normalization)
    fits = mean.shape == deviation.shape == (N_MELS,)
    if not (fits and np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise UsageError(
            f"normalization must be a mean and a standard deviation above 0 of every band, ({N_MELS},) each and "
            f"finite. Received: shapes {mean.shape} and {deviation.shape}"
        )
    return mean, deviation


def spectrogram_encoder(n_frames: int, n_outputs: int) -> keras.Model:
    """Builds strided convolutions from normalised log-mel values (batch, n_frames, N_MELS) to (batch, n_outputs)."""
    x = values = keras.Input((n_frames, N_MELS), name="log_mel")
    x = layers.Reshape((n_frames, N_MELS, 1), name="spectrogram")(x)
    for i, width in enumerate((16, 32, 48, 64)):
        x = layers.Conv2D(width, 4, strides=2, padding="same", data_format="channels_last", name=f"spectrogram_{i}")(x)
        x = layers.LeakyReLU(SLOPE, name=f"spectrogram_{i}_act")(x)
    x = layers.Flatten(data_format="channels_last", name="spectrogram_flat")(x)
    return keras.Model(values, layers.Dense(n_outputs, name="spectrogram_vector")(x), name="spectrogram_encoder")

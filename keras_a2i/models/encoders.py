"""Encoders: features or sound to a vector that the generator draws from."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.layers import CepstralNormalization, FrameAugmentation, LogMel, TimeAlign
from keras_a2i.models.initializers import SLOPE, torch_init
from keras_a2i.models.recipe import Recipe

LATENT = "latent"
"""Name of the layer whose output the generator draws from."""
CONTENT = "content"
"""Name of what the sound says of it, where the latent vector holds a style too."""

WORD_BANDS, WORD_FRAMES = 40, 48
SCENE_BANDS = 64


def encode_features(x: keras.KerasTensor, recipe: Recipe, normalization: tuple | None, name: str) -> keras.KerasTensor:
    """The paper's encoder: dense layers over a feature vector, (batch, n_features) to (batch, n_latent)."""
    x = _prepare(x, recipe, normalization)
    last = len(recipe.encoder_units) - 1
    for i, units in enumerate(recipe.encoder_units):
        x = layers.Dense(units, **torch_init(x.shape[-1]), name=f"encoder_{i}")(x)
        if recipe.layer_norm:
            x = layers.LayerNormalization(name=f"encoder_{i}_norm")(x)
        x = layers.LeakyReLU(SLOPE, name=name if i == last else f"encoder_{i}_act")(x)
        if recipe.dropout and i < last:
            x = layers.Dropout(recipe.dropout, name=f"encoder_{i}_dropout")(x)
    return x


def encode_word(waveform: keras.KerasTensor, recipe: Recipe, sound: FeatureConfig, name: str) -> keras.KerasTensor:
    """Latent vector of a word, a knock, a bark: a sound that begins and ends.

    Frames of 25 ms of log-mel bands are stretched to a common length and standardised by the sound's own statistics, so
    that speakers and microphones differ less; in training their time and frequency are warped and masked. Convolutions
    follow, then mean and maximum over time. Of an ensemble, every second one listens further into the quiet and leans
    towards high frequencies: beginnings and ends of words, as an s, that the others cut off.

    Args:
        waveform: (batch, n_samples) in [-1, 1].
        recipe: widths, length of the vector, number of encoders and dropout.
        sound: gives the sample rate, 8,000 Hz or more.
        name: of the last layer.

    Returns:
        float (batch, ensemble x n_latent).
    """
    mel = _log_mel(sound.sample_rate, 0.025, 0.010, WORD_BANDS, 60.0, 4_000.0)
    frames, heard = mel(waveform), []
    for i in range(recipe.ensemble):
        end = f"_{chr(ord('a') + i)}" if i else ""
        cut = {"quiet_db": 40.0, "tilt_db": 12.0} if i % 2 else {}
        x = TimeAlign(WORD_FRAMES, jitter=0.08, warp=0.1, name=f"aligned{end}", **cut)(frames)
        x = FrameAugmentation(f_min=mel.f_min, f_max=mel.f_max, noise_snr_db=5.0, name=f"augmented{end}")(x)
        x = CepstralNormalization(name=f"standardised{end}")(x)
        prefix = f"encoder{end}"
        last = name if recipe.ensemble == 1 else f"{prefix}_{name}"
        heard.append(_dense(_convolve(x, recipe, prefix), recipe, last, prefix))
    return layers.Concatenate(name=name)(heard) if recipe.ensemble > 1 else heard[0]


def encode_scene(waveform: keras.KerasTensor, recipe: Recipe, sound: FeatureConfig, name: str) -> keras.KerasTensor:
    """Latent vector of a stretch of a scene: what goes on, with its level and its moment.

    Frames of 50 ms of log-mel bands, each band standardised over the training set so that loudness counts, and held
    within +-`feature_clip`.
    Convolutions follow, then mean and maximum over time, beside the mean spectrum.

    Args, Returns: as `encode_word`.
    """
    mel = _log_mel(sound.sample_rate, 0.050, 0.025, SCENE_BANDS, 40.0, sound.sample_rate / 2)
    x = layers.BatchNormalization(momentum=0.95, center=False, scale=False, name="standardised")(mel(waveform))
    if recipe.feature_clip:
        # Silence lies far outside what was trained on, and unbounded would be drawn as anything.
        x = layers.Rescaling(1 / recipe.feature_clip, name="in_clips")(x)
        x = layers.Activation("hard_tanh", name="clip")(x)
        x = layers.Rescaling(recipe.feature_clip, name="unit_variance")(x)
    x = layers.GaussianNoise(recipe.feature_noise, name="feature_noise")(x) if recipe.feature_noise else x
    spectrum = layers.GlobalAveragePooling1D(name="encoder_spectrum")(x)
    x = layers.Reshape((*x.shape[1:], 1), name="encoder_map")(x)
    return _dense([*_convolve(x, recipe), spectrum], recipe, name)


AUDIO_ENCODERS: dict[str, Callable[..., keras.KerasTensor]] = {"words": encode_word, "scenes": encode_scene}


def _log_mel(rate: int, window: float, hop: float, n_mels: int, f_min: float, f_max: float) -> LogMel:
    return LogMel(
        rate,
        convention="htk",
        frame_length=round(window * rate),
        hop_length=round(hop * rate),
        n_mels=n_mels,
        f_min=f_min,
        f_max=min(f_max, rate / 2),
        name="log_mel",
    )


def _convolve(x: keras.KerasTensor, recipe: Recipe, prefix: str = "encoder") -> list[keras.KerasTensor]:
    """Convolutions over (batch, frames, bands, views); mean and maximum over time of what they find."""
    for i, (width, strides) in enumerate(zip(recipe.encoder_units[:4], ((2, 2), (2, 2), (1, 2), (1, 2)), strict=True)):
        kernel = 3 if i else 5
        x = layers.Conv2D(width, kernel, strides, "same", use_bias=False, name=f"{prefix}_{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{prefix}_{i}_norm")(x)
        x = layers.ReLU(name=f"{prefix}_{i}_act")(x)
        if i == 1 and recipe.dropout:
            x = layers.SpatialDropout2D(recipe.dropout / 3, name=f"{prefix}_1_dropout")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=f"{prefix}_frames")(x)
    x = layers.Conv1D(recipe.encoder_units[4], 3, padding="same", use_bias=False, name=f"{prefix}_4")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{prefix}_4_norm")(x)
    x = layers.ReLU(name=f"{prefix}_4_act")(x)
    return [layers.GlobalAveragePooling1D(name=f"{prefix}_mean")(x), layers.GlobalMaxPooling1D(name=f"{prefix}_max")(x)]


def _dense(pooled: list[keras.KerasTensor], recipe: Recipe, name: str, prefix: str = "encoder") -> keras.KerasTensor:
    x = layers.Concatenate(name=f"{prefix}_pooled")(pooled)
    x = layers.Dropout(recipe.dropout, name=f"{prefix}_dropout")(x)
    x = layers.Dense(recipe.encoder_units[4], "relu", name=f"{prefix}_5")(x)
    x = layers.Dropout(recipe.dropout, name=f"{prefix}_5_dropout")(x)
    return layers.Dense(recipe.encoder_units[5], name=name)(x)


def _prepare(x: keras.KerasTensor, recipe: Recipe, normalization: tuple[np.ndarray, np.ndarray] | None):
    """Standardises, clips and (in training) disturbs the features."""
    clip = recipe.feature_clip
    if recipe.normalize:
        mean, variance = _check_normalization(normalization, x.shape[1])
        scale = clip or 1.0
        x = layers.Normalization(
            mean=mean.tolist(), variance=(variance * scale**2).tolist(), dtype="float32", name="normalize"
        )(x)
        if clip:
            x = layers.Activation("hard_tanh", name="clip")(x)
            x = layers.Rescaling(scale, name="unit_variance")(x)
    if recipe.feature_noise:
        x = layers.GaussianNoise(recipe.feature_noise, name="feature_noise")(x)
    return x


def _check_normalization(normalization: tuple[np.ndarray, np.ndarray] | None, n_features: int):
    if normalization is None:
        return np.zeros(n_features), np.ones(n_features)
    mean, variance = (np.asarray(part, dtype=np.float64) for part in normalization)
    if mean.shape != (n_features,) or variance.shape != (n_features,):
        raise UsageError(
            f"normalization must be a mean and a variance of shape ({n_features},) each. "
            f"Received: {mean.shape} and {variance.shape}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(variance).all() and (variance >= 0).all()):
        raise UsageError("normalization must be finite with a variance of at least 0. Compute it over finite features")
    # A feature that never varied in training carries nothing: as it is, whatever comes later stays finite.
    return mean, np.where(variance > 0, variance, 1.0)

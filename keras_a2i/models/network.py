"""Sound or its features to a picture: an encoder and a generator of transposed convolutions."""

import math

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig, check_image_size
from keras_a2i.errors import UsageError
from keras_a2i.models.frontend import with_frontend
from keras_a2i.models.presets import Preset, get_preset
from keras_a2i.models.word_encoder import encode_words

SLOPE = 0.2


def encoder_generator(
    preset: str | Preset = "default",
    *,
    n_features: int | None = None,
    sound: FeatureConfig | None = None,
    image_size: int = 256,
    channels: int = 3,
    normalization: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """Builds the network of a preset from Keras' own layers, untrained.

    Args:
        preset: a name ("default", "seed", "tiny", "words") or a `Preset`. "seed" is the paper's network.
        n_features: length of the feature vector, from 1; None is what `sound` gives.
        sound: rate, length and features of the sound; None is the default configuration.
        image_size: pixels a side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        normalization: mean and variance of the training features, each (n_features,); None leaves the features as they
            are. A preset that doesn't normalise takes no notice of it.

    Returns:
        A functional model: "features" (batch, n_features) float32, or "waveform" (batch, n_samples) for a preset that
        takes sound, to "image" (batch, image_size, image_size, channels) float32 in [-1, 1]; the encoder's output layer
        is named "latent".

    Raises:
        UsageError: if an argument is out of its range.

    Reference:
        "seed": Vuruma, "Generating Images from Audio Input", tables I and II, in PyTorch's conventions.

    Example:
        >>> encoder_generator("seed").count_params() > 2_555_675
        True
    """
    recipe = get_preset(preset) if isinstance(preset, str) else preset
    check_image_size(image_size)
    sound = sound or FeatureConfig()
    n_features = sound.n_features if n_features is None else n_features
    if n_features < 1:
        raise UsageError(f"n_features must be at least 1. Received: n_features={n_features!r}")
    if channels not in (1, 3):
        raise UsageError(f"channels must be 1 (grey) or 3 (RGB). Received: channels={channels!r}")
    name = f"encoder_generator_{recipe.name}"
    if recipe.encoder == "words":
        waveform = keras.Input((sound.n_samples,), name="waveform")
        latent = encode_words(waveform, sound, recipe.encoder_units[-1], recipe.dropout)
        return keras.Model(waveform, _generate(latent, recipe, image_size, channels), name=name)
    features = keras.Input((n_features,), name="features")
    x = _prepare(features, recipe, normalization)
    x = _encode(x, recipe)
    model = keras.Model(features, _generate(x, recipe, image_size, channels), name=name)
    return with_frontend(model, sound) if recipe.input == "waveform" else model


def _prepare(x: keras.KerasTensor, preset: Preset, normalization: tuple[np.ndarray, np.ndarray] | None):
    """Standardises, clips and (in training) disturbs the features."""
    clip = preset.feature_clip
    if preset.normalize:
        mean, variance = _check_normalization(normalization, x.shape[1])
        scale = clip or 1.0
        x = layers.Normalization(
            mean=mean.tolist(), variance=(variance * scale**2).tolist(), dtype="float32", name="normalize"
        )(x)
        if clip:
            x = layers.Activation("hard_tanh", name="clip")(x)
            x = layers.Rescaling(scale, name="unit_variance")(x)
    if preset.feature_noise:
        x = layers.GaussianNoise(preset.feature_noise, name="feature_noise")(x)
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


def _encode(x: keras.KerasTensor, preset: Preset) -> keras.KerasTensor:
    last = len(preset.encoder_units) - 1
    for i, units in enumerate(preset.encoder_units):
        x = layers.Dense(units, **_torch_init(x.shape[-1]), name=f"encoder_{i}")(x)
        if preset.layer_norm:
            x = layers.LayerNormalization(name=f"encoder_{i}_norm")(x)
        x = layers.LeakyReLU(SLOPE, name="latent" if i == last else f"encoder_{i}_act")(x)
        if preset.dropout and i < last:
            x = layers.Dropout(preset.dropout, name=f"encoder_{i}_dropout")(x)
    return x


def _generate(x: keras.KerasTensor, preset: Preset, image_size: int, channels: int) -> keras.KerasTensor:
    base = preset.base_size
    if preset.base_channels:
        x = layers.Dense(base * base * preset.base_channels, **_torch_init(x.shape[-1]), name="base")(x)
    x = layers.Reshape((base, base, -1), name="to_map")(x)
    if preset.base_channels:
        x = _norm_act(x, "base")
    doublings = int(math.log2(image_size // (base * preset.final_scale)))
    for i in range(doublings):
        width = preset.generator_channels[min(i, len(preset.generator_channels) - 1)]
        x = _norm_act(_enlarge(x, width, 2, f"generator_{i}"), f"generator_{i}")
    x = _enlarge(x, channels, preset.final_scale, "to_image")
    return layers.Activation("tanh", dtype="float32", name="image")(x)


def _enlarge(x: keras.KerasTensor, width: int, scale: int, name: str) -> keras.KerasTensor:
    kernel = 2 * scale
    init = _torch_init(width * kernel * kernel)
    return layers.Conv2DTranspose(width, kernel, strides=scale, padding="same", **init, name=name)(x)


def _norm_act(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    # PyTorch moves its running variance by the unbiased batch variance, Keras by the biased one: n / (n - 1) apart.
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.LeakyReLU(SLOPE, name=f"{name}_act")(x)


def _torch_init(fan_in: int) -> dict[str, keras.initializers.Initializer]:
    """Uniform +-1/sqrt(fan_in), as PyTorch, whose transposed convolutions count outputs x kernel as fan-in."""
    limit = 1 / math.sqrt(fan_in)
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-limit, limit),
        "bias_initializer": keras.initializers.RandomUniform(-limit, limit),
    }

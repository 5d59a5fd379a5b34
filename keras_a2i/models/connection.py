"""The connection of an encoder and a generator, of the library or custom, and the checks that they fit together."""

from typing import Any

import keras
from keras import layers

from keras_a2i.config import FeatureConfig, check_image_size
from keras_a2i.errors import UsageError
from keras_a2i.layers import LabelPrototypes
from keras_a2i.models.encoder import INPUT_KINDS, Encoder
from keras_a2i.models.generator import Generator

_DEFAULT_SIZE = 256


def check_parts(encoder: Any, generator: Any) -> None:
    """Raises a UsageError unless both parts are instances of the library's classes or Keras models."""
    for role, part, cls in (("encoder", encoder, Encoder), ("generator", generator, Generator)):
        if isinstance(part, type):
            raise UsageError(f"{role} must be an instance. Received: a class. Pass {part.__name__}()")
        if not isinstance(part, (cls, keras.Model)):
            raise UsageError(
                f"{role} must be {'an' if role == 'encoder' else 'a'} {cls.__name__} of keras_a2i.models or a "
                f"keras.Model. Received: {part!r}. keras_a2i.encoder_generator builds the network of a recipe by name"
            )


def input_of(
    encoder: Encoder | keras.Model, kind: str | None, features: FeatureConfig, n_features: int | None
) -> tuple[str, int]:
    """Returns the kind and the length of the model's input."""
    if not isinstance(features, FeatureConfig):
        raise UsageError(f"features must be a FeatureConfig. Received: {features!r}. Pass FeatureConfig(...)")
    if kind is not None and kind not in INPUT_KINDS:
        raise UsageError(f"input must be one of {', '.join(INPUT_KINDS)}. Received: input={kind!r}")
    if isinstance(encoder, Encoder):
        if kind not in (None, encoder.input_kind):
            raise UsageError(f"input must be that of the encoder, {encoder.input_kind!r}. Received: input={kind!r}")
        if encoder.input_kind == "waveform":
            return "waveform", features.n_samples
        n_features = features.n_features if n_features is None else n_features
        if n_features < 1:
            raise UsageError(f"n_features must be at least 1. Received: n_features={n_features!r}")
        return "features", n_features
    shape = encoder.input_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise UsageError(
            "The encoder must accept one input of a known length, features (batch, n_features) or waveforms "
            f"(batch, n_samples). Received: an input of shape {shape}"
        )
    is_waveform = shape[1] == features.n_samples
    if kind is None and encoder.inputs[0].name == "waveform" and not is_waveform:
        raise UsageError(
            f"The input 'waveform' of the encoder must have the samples of a clip, {features.n_samples}. Received: "
            f"{shape[1]}. Pass the features= that describe the audio, such as records.features, or input='features'"
        )
    return kind or ("waveform" if is_waveform else "features"), int(shape[1])


def connect_encoder(
    encoder: Encoder | keras.Model, x: keras.KerasTensor, features: FeatureConfig, normalization: Any, name: str
) -> keras.KerasTensor:
    """Connects an encoder to the input; returns the latent vector (batch, n)."""
    if isinstance(encoder, Encoder):
        return encoder.connect(x, features, normalization, name)
    latent = encoder(x)
    if len(latent.shape) != 2 or latent.shape[1] is None:
        raise UsageError(f"The encoder must return vectors (batch, n). Received: an output of shape {latent.shape}")
    return latent


def reference_input(image_size: int | None, channels: int | None) -> keras.KerasTensor:
    """Returns the input of reference images."""
    size = _DEFAULT_SIZE if image_size is None else image_size
    check_image_size(size)
    return keras.Input((size, size, 3 if channels is None else channels), name="reference")


def connect_generator(
    generator: Generator | keras.Model,
    latent: keras.KerasTensor,
    image_size: int | None,
    channels: int | None,
    **options: Any,
) -> tuple[keras.KerasTensor, Any]:
    """Connects a generator to the latent vector; returns the image and the layer of label prototypes, or None."""
    if isinstance(generator, Generator):
        channels = 3 if channels is None else channels
        if channels not in (1, 3):
            raise UsageError(f"channels must be 1 (grey) or 3 (RGB). Received: channels={channels!r}")
        return generator.connect(latent, _DEFAULT_SIZE if image_size is None else image_size, channels, **options)
    expected = generator.input_shape
    if not isinstance(expected, tuple) or expected[1:] != tuple(latent.shape[1:]):
        raise UsageError(
            f"The generator must accept the latent vector of the encoder, (batch, {latent.shape[1]}). "
            f"Received: a generator with an input of shape {expected}"
        )
    image = generator(latent)
    shape = tuple(image.shape[1:])
    wanted = (image_size, image_size, channels)
    fits = len(shape) == 3 and shape[0] == shape[1] and shape[2] in (1, 3)
    if not fits or any(want not in (None, got) for want, got in zip(wanted, shape, strict=True)):
        raise UsageError(
            "The generator must return square images of 1 or 3 channels, of image_size and channels where they are "
            f"given ({image_size}, {channels}). Received: an output of shape {tuple(image.shape)}"
        )
    # A custom generator may classify, too.
    prototypes = next((layer for layer in generator.layers if isinstance(layer, LabelPrototypes)), None)
    return layers.Activation("linear", dtype="float32", name="image")(image), prototypes


def embedding_features(length: int) -> FeatureConfig:
    """The features of vectors that no audio of the configuration gives: they are embeddings."""
    return FeatureConfig(embedding=length)

"""Feature layers in front of a model of features: from a waveform to an image in one graph."""

from typing import Any

import keras

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.layers import MFCC


def with_frontend(model: keras.Model, features: FeatureConfig | None = None) -> keras.Model:
    """Puts the feature layers in front of a trained model of features, which then accepts waveforms.

    Args:
        model: a functional or sequential model from features (batch, n_features) to images; its layers are shared, not
            copied. It may be compiled; the returned model is not.
        features: configuration of the model's features; None is the default configuration.

    Returns:
        A functional model from "waveform" (batch, n_samples), float32 in [-1, 1] at `features.sample_rate`, to "image".
        If `model` is an `AudioToImage` without a style, so is the result, with the same calibration, licence and other
        metadata except the input.

    Raises:
        UsageError: if the model's number of features isn't that of the configuration, or it is a model of embeddings.

    Example:
        >>> from keras_a2i import encoder_generator
        >>> with_frontend(encoder_generator("features", image_size=32)).input_shape
        (None, 16000)
    """
    # Not at the top: encoders import this module, and are imported while that of the model class still is.
    from keras_a2i.models.audio_to_image import AudioToImage

    features = features or FeatureConfig()
    if features.embedding:
        raise UsageError(f"model must be a model of MFCC. Received: a model of {features.description}")
    if model.input_shape != (None, features.n_features):
        raise UsageError(
            f"The input of the model must be the {features.n_features} features of the configuration. "
            f"Received: a model of inputs {model.input_shape}"
        )
    waveform = keras.Input((features.n_samples,), name="waveform")
    inputs = mfcc_features(waveform, features)
    if isinstance(model, AudioToImage) and not model.style_units:
        encoder = keras.Model(waveform, _apply(model.encoder, inputs), name="encoder")
        found = AudioToImage(
            encoder,
            model.generator,
            features=features,
            input="waveform",
            labels=model.labels,
            n_labels=model.n_labels,
            normalization=model.normalization,
            name=model.name,
        )
        found.license, found.recipe, found.calibration = model.license, model.recipe, model.calibration
        return found
    return keras.Model(waveform, _apply(model, inputs), name=model.name)


def mfcc_features(waveform: keras.KerasTensor, features: FeatureConfig) -> keras.KerasTensor:
    """Computes the features (batch, n_features) of waveforms (batch, n_samples), as in records."""
    x = MFCC.from_features(features, name="mfcc")(waveform)
    return keras.layers.Reshape((features.n_features,), name="features")(x)


def _apply(model: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    """Calls the layers of a functional model on another tensor, without a nested model in the graph."""
    outputs: dict[str, keras.KerasTensor] = {}

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        outputs[layer.name] = layer(*args, **kwargs)
        return outputs[layer.name]

    # A model without its compilation: cloning would restore losses and metrics, which may not be registered.
    plain = keras.Model(model.inputs, model.outputs)
    keras.models.clone_model(plain, input_tensors=[x], clone_function=lambda layer: layer, call_function=call)
    return outputs[plain.output_names[0]]

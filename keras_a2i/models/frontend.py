"""A front end put on a model of features: sound in, picture out, in one graph."""

from typing import Any

import keras

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.layers import MFCC


def with_frontend(model: keras.Model, features: FeatureConfig | None = None) -> keras.Model:
    """Puts the feature layers before a trained model of features, which then takes sound.

    Args:
        model: a functional model from features (batch, n_features) to pictures; its layers are shared, not copied.
        features: how its features are made; None is the default configuration.

    Returns:
        A functional model: "waveform" (batch, n_samples) float32 in [-1, 1] at `features.sample_rate` to "image".

    Raises:
        UsageError: if the model doesn't take the number of features that the configuration gives, or takes embeddings.

    Example:
        >>> from keras_a2i.models.network import encoder_generator
        >>> with_frontend(encoder_generator("tiny", image_size=32)).input_shape
        (None, 16000)
    """
    features = features or FeatureConfig()
    if features.embedding:
        raise UsageError(f"Feature layers take sound. Received: a model of {features.description}")
    if model.input_shape != (None, features.n_features):
        raise UsageError(
            f"The model must take the {features.n_features} features of the configuration. "
            f"Received: a model of inputs {model.input_shape}"
        )
    waveform = keras.Input((features.n_samples,), name="waveform")
    return keras.Model(waveform, _on(model, mfcc_features(waveform, features)), name=model.name)


def mfcc_features(waveform: keras.KerasTensor, features: FeatureConfig) -> keras.KerasTensor:
    """The features (batch, n_features) of sound (batch, n_samples), as records hold them."""
    x = MFCC.from_features(features, name="mfcc")(waveform)
    return keras.layers.Reshape((features.n_features,), name="features")(x)


def _on(model: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    """The output of a functional model's own layers called on another tensor, without a model nested in the graph."""
    made: dict[str, keras.KerasTensor] = {}

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        made[layer.name] = layer(*args, **kwargs)
        return made[layer.name]

    # The same layers in a functional model that isn't compiled: a clone restores what the model was compiled with,
    # which fails for a loss or a metric that isn't registered.
    plain = keras.Model(model.inputs[0], model.outputs[0])
    keras.models.clone_model(plain, input_tensors=x, clone_function=lambda layer: layer, call_function=call)
    return made[plain.output_names[0]]

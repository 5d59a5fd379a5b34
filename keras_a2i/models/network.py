"""Sound or its features to a picture: the encoder and the generator of a recipe put together."""

import keras
import numpy as np

from keras_a2i.config import FeatureConfig, check_image_size
from keras_a2i.errors import UsageError
from keras_a2i.layers import LatentPad
from keras_a2i.models.encoders import AUDIO_ENCODERS, CONTENT, LATENT, encode_features
from keras_a2i.models.frontend import mfcc_features
from keras_a2i.models.generators import generate_image
from keras_a2i.models.recipe import Recipe
from keras_a2i.models.recipes import get_recipe


def encoder_generator(
    recipe: str | Recipe = "features",
    *,
    n_features: int | None = None,
    sound: FeatureConfig | None = None,
    image_size: int = 256,
    channels: int = 3,
    n_labels: int = 0,
    normalization: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """Builds the network of a recipe from Keras' own layers, untrained.

    Args:
        recipe: the name of a recipe or a `Recipe`. "paper" is the paper's network.
        n_features: length of the feature vector, from 1; None is what `sound` gives.
        sound: rate, length and features of the sound; None is the default configuration.
        image_size: pixels a side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        n_labels: number of labels, 2 or more, for a recipe that decides between them (`label_sharpness` above 0);
            others take no notice of it. The decision is learnt from labels, by `fit` or by `TrainingModel` with the
            objective `LabelCrossentropy`: a loss of pictures doesn't reach the encoder of such a recipe.
        normalization: mean and variance of the training features, each (n_features,); None leaves the features as they
            are. A recipe that doesn't normalise takes no notice of it.

    Returns:
        A functional model: "features" (batch, n_features) float32, or "waveform" (batch, n_samples) for a recipe that
        takes sound, to "image" (batch, image_size, image_size, channels) float32 in [-1, 1]; the layer that the
        generator draws from is named "latent".

    Raises:
        UsageError: if an argument is out of its range.

    Reference:
        "paper": Vuruma, "Generating Images from Audio Input", tables I and II, in PyTorch's conventions.

    Example:
        >>> encoder_generator("paper").count_params() > 2_555_675
        True
    """
    recipe = get_recipe(recipe) if isinstance(recipe, str) else recipe
    check_image_size(image_size)
    sound = sound or FeatureConfig()
    n_features = sound.n_features if n_features is None else n_features
    if n_features < 1:
        raise UsageError(f"n_features must be at least 1. Received: n_features={n_features!r}")
    if channels not in (1, 3):
        raise UsageError(f"channels must be 1 (grey) or 3 (RGB). Received: channels={channels!r}")
    if recipe.label_sharpness and n_labels < 2:
        raise UsageError(
            f"The recipe {recipe.name!r} decides between labels: n_labels must be 2 or more. Received: {n_labels!r}. "
            "Give their number, or take get_recipe(..., label_sharpness=0)"
        )
    name = f"encoder_generator_{recipe.name.replace('-', '_')}"
    content = CONTENT if recipe.style_units else LATENT
    if recipe.input == "waveform":
        given = keras.Input((sound.n_samples,), name="waveform")
    else:
        given = keras.Input((n_features,), name="features")
    if recipe.encoder in AUDIO_ENCODERS:
        latent = AUDIO_ENCODERS[recipe.encoder](given, recipe, sound, content)
    else:
        features = mfcc_features(given, sound) if recipe.input == "waveform" else given
        latent = encode_features(features, recipe, normalization, content)
    if recipe.style_units:
        latent = LatentPad(recipe.style_units, name=LATENT)(latent)
    return keras.Model(given, generate_image(latent, recipe, image_size, channels, n_labels), name=name)

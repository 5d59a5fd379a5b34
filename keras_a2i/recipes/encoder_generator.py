"""The one-call form of a model: the network of a recipe, untrained."""

from collections.abc import Sequence

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.recipes import get_recipe
from keras_a2i.recipes.recipe import Recipe


def encoder_generator(
    recipe: str | Recipe = "paper",
    *,
    n_features: int | None = None,
    features: FeatureConfig | None = None,
    image_size: int = 256,
    channels: int = 3,
    labels: Sequence[str] = (),
    n_labels: int | None = None,
    normalization: tuple[np.ndarray, np.ndarray] | None = None,
    name: str | None = None,
) -> AudioToImage:
    """Builds the network of a recipe with random weights.

    Args:
        recipe: the name of a recipe, or a `Recipe`. "paper" is the paper's network.
        n_features: length of the feature vector; None follows from `features`.
        features: sample rate, duration and features of the audio; None is the default configuration.
        image_size: pixels per side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        labels: names of the labels; or
        n_labels: their number, 2 or more for a recipe that classifies first (`label_sharpness` above 0). The
            classification is trained by the objective `LabelCrossentropy`, in `fit` or in a `TrainingModel`: a loss
            that compares images does not reach the encoder of such a network.
        normalization: mean and variance of the training features, each (n_features,); None leaves the features
            unscaled. It is ignored by a network that doesn't normalise.
        name: name of the model; None is "encoder_generator_" and the recipe.

    Returns:
        An `AudioToImage`: "features" (batch, n_features) float32, or "waveform" (batch, n_samples), to "image"
        (batch, image_size, image_size, channels) float32 in [-1, 1].

    Raises:
        UsageError: if an argument is out of its range.

    Reference:
        "paper": Vuruma, "Generating Images from Audio Input", tables I and II, in PyTorch's conventions.

    Example:
        >>> encoder_generator("paper").count_params() > 2_555_675
        True
    """
    built = get_recipe(recipe) if isinstance(recipe, str) else recipe
    return built.build(
        features,
        n_features=n_features,
        image_size=image_size,
        channels=channels,
        labels=labels,
        n_labels=n_labels,
        normalization=normalization,
        name=name,
    )

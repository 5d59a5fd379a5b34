"""From a recipe's weights to objectives."""

import keras
import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.models.encoders import LATENT
from keras_a2i.models.generators import PROTOTYPES
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.models.recipe import Recipe
from keras_a2i.objectives import (
    Adversarial,
    Contrastive,
    ImageAutoencoder,
    LabelCrossentropy,
    MeanSquaredError,
    MultiScaleSSIM,
    Objective,
    Perceptual,
    Spectrum,
    TemporalDifference,
    Variational,
)


def make_objectives(
    recipe: Recipe,
    metadata: ModelMetadata,
    pictures: keras.Model,
    batch_size: int,
    seed: int,
    autoencoder: ImageAutoencoder | None,
) -> list[Objective]:
    """The objectives whose weight a recipe sets above 0.

    Args:
        recipe: the recipe.
        metadata: of the model: its pictures and labels.
        pictures: the model that is trained.
        batch_size: the factor of the paper's loss.
        seed: of what they draw.
        autoencoder: for the objectives in its space.
    """
    aims, size, channels = recipe.objectives, metadata.image.size, metadata.image.channels
    n_content = _latent_length(pictures) - recipe.style_units
    head = pictures.get_layer(PROTOTYPES).head if recipe.label_sharpness else None
    makers = {
        "mse": lambda weight: MeanSquaredError(weight, batch_size),
        "ssim": MultiScaleSSIM,
        "spectrum": lambda weight: Spectrum(weight, seed + 2),
        "labels": lambda weight: LabelCrossentropy(weight, n_content, len(metadata.labels), recipe.ensemble, head),
        "variational": lambda weight: Variational(
            weight, size, channels, recipe.style_units, aims.variational_warmup, seed
        ),
        "adversarial": lambda weight: Adversarial(
            weight, size, channels, n_content, aims.adversarial_start, seed=seed + 1
        ),
        "alignment": lambda weight: Contrastive(weight, autoencoder),
        "consistency": lambda weight: Perceptual(weight, autoencoder),
        "temporal": lambda weight: TemporalDifference(weight, batch_size),
    }
    weights = {name: getattr(aims, name) for name in makers}
    return [make(weights[name]) for name, make in makers.items() if weights[name]]


def check_labels(recipe: Recipe, labels: tuple[str, ...]) -> None:
    """Raises UsageError if a recipe learns labels where there are fewer than two."""
    if recipe.objectives.labels and len(labels) < 2:
        raise UsageError(
            f"The recipe {recipe.name!r} learns labels with the pictures: the records must have two or more. "
            f"Received: {list(labels)}. Build them from a pairs.csv with labels, or choose another recipe"
        )


def needs_labels(recipe: Recipe, labels: tuple[str, ...]) -> bool:
    """Whether the training looks at the pairs' labels."""
    aims = recipe.objectives
    return aims.labels > 0 or (aims.needs_autoencoder and len(labels) > 1)


def _latent_length(model: keras.Model) -> int:
    """Numbers that the generator of a model draws from."""
    return int(np.prod(model.get_layer(LATENT).output.shape[1:]))

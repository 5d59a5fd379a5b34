"""From a preset's weights to objectives."""

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.models.encoders import LATENT
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.models.preset import Preset
from keras_a2i.objectives import (
    Adversarial,
    Alignment,
    Consistency,
    Labels,
    Objective,
    PictureAutoencoder,
    Pixels,
    Spectrum,
    Structure,
    Temporal,
    Variational,
)


def make_objectives(
    preset: Preset,
    metadata: ModelMetadata,
    n_content: int,
    batch_size: int,
    seed: int,
    autoencoder: PictureAutoencoder | None,
) -> list[Objective]:
    """The objectives whose weight a preset sets above 0.

    Args:
        preset: the recipe.
        metadata: of the model: its pictures and labels.
        n_content: length of the latent vector, without style.
        batch_size: the factor of the paper's loss.
        seed: of what they draw.
        autoencoder: for the objectives in its space.

    Raises:
        UsageError: if labels are to be learnt where there are fewer than two.
    """
    aims, size, channels = preset.objectives, metadata.image.size, metadata.image.channels
    if aims.labels and len(metadata.labels) < 2:
        raise UsageError(
            f"The preset {preset.name!r} learns labels with the pictures: the records must have two or more. "
            f"Received: {list(metadata.labels)}. Build them from a pairs.csv with labels, or choose another preset"
        )
    makers = {
        "mse": lambda weight: Pixels(weight, batch_size),
        "ssim": Structure,
        "spectrum": lambda weight: Spectrum(weight, seed + 2),
        "labels": lambda weight: Labels(weight, n_content, len(metadata.labels)),
        "variational": lambda weight: Variational(
            weight, size, channels, preset.style_units, aims.variational_warmup, seed
        ),
        "adversarial": lambda weight: Adversarial(
            weight, size, channels, n_content, aims.adversarial_start, seed=seed + 1
        ),
        "alignment": lambda weight: Alignment(weight, autoencoder),
        "consistency": lambda weight: Consistency(weight, autoencoder),
        "temporal": lambda weight: Temporal(weight, batch_size),
    }
    weights = {name: getattr(aims, name) for name in makers}
    return [make(weights[name]) for name, make in makers.items() if weights[name]]


def needs_labels(preset: Preset, labels: tuple[str, ...]) -> bool:
    """Whether the training looks at the pairs' labels."""
    aims = preset.objectives
    return aims.labels > 0 or (aims.needs_pictures_encoded and len(labels) > 1)


def latent_length(model) -> int:
    """Numbers that the generator of a model draws from."""
    return int(np.prod(model.get_layer(LATENT).output.shape[1:]))

"""Small models with a reference image, with random weights that change the reference."""

import keras
import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.models import AudioToImage, ReferenceGenerator, SpeechEncoder

FEATURES = FeatureConfig(sample_rate=8_000, duration=0.3)
SMALL = {
    "encoder.channels": (4, 4, 4),
    "latent_dim": 8,
    "generator.channels": (8, 8),
    "encoder_channels": (4, 8),
    "base_channels": 4,
}
"""Settings of the recipe talking for quick trainings."""


def reference_model(image_size=16, channels=3, features=FEATURES) -> AudioToImage:
    """A model of waveforms and reference images whose audio counts."""
    keras.utils.set_random_seed(0)
    encoder = SpeechEncoder(channels=(4, 4, 4), latent_dim=8)
    generator = ReferenceGenerator(channels=(8, 8), encoder_channels=(4, 8), base_channels=4)
    model = AudioToImage(encoder, generator, image_size=image_size, channels=channels, features=features)
    last = model.generator.get_layer("to_sub_pixels")
    kernel = np.random.default_rng(0).normal(0, 0.3, last.kernel.shape)
    last.kernel.assign(kernel.astype(np.float32))
    return model


def audio_and_references(n, model, seed=0):
    """Inputs of a model: noise of different levels, and random images."""
    random = np.random.default_rng(seed)
    audio = random.normal(0, 1, (n, model.features.n_samples)) * np.linspace(0.01, 0.3, n)[:, None]
    references = random.uniform(-0.9, 0.9, (n, *model.image.shape))
    return audio.clip(-1, 1).astype(np.float32), references.astype(np.float32)

"""A vector of features or an embedding, robust to vectors outside the training data.

Result: synthetic:surf, 720 pairs, 64 pixels, blocks held out, with the objectives ssim and spectrum: SSIM 0.89; the
mean image of the recording 0.52, the image of the nearest training audio 0.77.
Command: keras-a2i quickstart
"""

from keras_a2i.models import DenseEncoder, TransposedGenerator
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.augmentation import Augmentation

RECIPE = Recipe(
    name="features",
    encoder=DenseEncoder(units=(512, 256, 128), feature_clip=4.0, feature_noise=0.5, dropout=0.3),
    generator=TransposedGenerator(channels=(96, 64, 32, 16), base_channels=128),
    objectives={"mse": 1.0},
    learning_rate=1e-3,
    batch_size=64,
    epochs=30,
    augmentation=Augmentation(gain_db=6.0, noise_snr_db=20.0, time_shift=0.05, speed=0.1),
)

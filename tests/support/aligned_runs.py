"""Run folders with random weights whose audio and images share a space, as trainings with `contrastive` write them."""

import pathlib

import keras

from keras_a2i.config import FeatureConfig
from keras_a2i.models import AudioToImage, DenseEncoder, ResidualGenerator
from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.models.model_file import save_model
from keras_a2i.serving.search import ENCODER_FILE


def aligned_run(
    folder: pathlib.Path, *, features: FeatureConfig | None = None, input: str = "features", size: int = 16
) -> pathlib.Path:
    """Writes a run's `model.keras` and its encoder of images, both of vectors of 8 numbers.

    Args:
        folder: where.
        features: of the audio; None is the default.
        input: "waveform" for a model of a second of audio.
        size: pixels per side of its images, which are RGB.
    """
    keras.utils.set_random_seed(1)
    features = features or FeatureConfig()
    encoder = DenseEncoder(units=(16, 8), normalize=False) if input == "features" else _envelope_encoder(features)
    generator = ResidualGenerator(channels=(8,), base_channels=8)
    model = AudioToImage(encoder, generator, image_size=size, features=features, input=input)
    folder.mkdir(parents=True)
    save_model(model, folder / "model.keras", model.metadata)
    image_encoder(size, 3, 8, width=0.25).save(folder / ENCODER_FILE)
    return folder


def _envelope_encoder(features: FeatureConfig) -> keras.Model:
    clip = keras.Input((features.n_samples,), name="waveform")
    envelope = keras.layers.AveragePooling1D(features.n_samples // 8)(keras.ops.abs(clip)[..., None])
    return keras.Model(clip, keras.layers.Dense(8)(keras.layers.Flatten()(envelope)))

"""Dense layers over a feature vector: the paper's encoder, and a more robust version."""

import dataclasses
from typing import Self

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig, choice, flag, number, wholes
from keras_a2i.models.encoder import INPUT_KINDS, Encoder, check_normalization
from keras_a2i.models.frontend import mfcc_features
from keras_a2i.models.initializers import SLOPE, torch_init
from keras_a2i.models.network_part import scale_width


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseEncoder(Encoder):
    """Dense layers over MFCC or an embedding, each followed by a leaky ReLU.

    Args:
        units: outputs of the dense layers; the last is the length of the latent vector.
        layer_norm: layer normalisation after every dense layer.
        normalize: standardise the features by the mean and variance of the training set.
        feature_clip: bound of the standardised features, +-`feature_clip`; 0 disables it.
        feature_noise: standard deviation of the noise added to the features in training.
        dropout: share of the hidden units dropped in training, 0 up to below 1.
        input: "features", or "waveform" to compute the features from audio inside the model.

    Raises:
        ConfigError: if an argument is out of range.

    Reference:
        Vuruma, "Generating Images from Audio Input", table I; the paper's encoder has units (1024, 768, 512, 256, 100)
        and everything else off.
    """

    units: tuple[int, ...] = wholes((512, 256, 128))
    layer_norm: bool = flag(True)
    normalize: bool = flag(True)
    feature_clip: float = number(4.0, 0, 1e6)
    feature_noise: float = number(0.5, 0, 1e6)
    dropout: float = number(0.3, 0, 1, below=True)
    input: str = choice("features", INPUT_KINDS)

    @property
    def input_kind(self) -> str:
        return self.input

    def connect(
        self,
        x: keras.KerasTensor,
        features: FeatureConfig,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str = "latent",
    ) -> keras.KerasTensor:
        if self.input == "waveform":
            x = mfcc_features(x, features)
        x = self._prepare(x, normalization)
        last = len(self.units) - 1
        for i, units in enumerate(self.units):
            x = layers.Dense(units, **torch_init(x.shape[-1]), name=f"encoder_{i}")(x)
            if self.layer_norm:
                x = layers.LayerNormalization(name=f"encoder_{i}_norm")(x)
            x = layers.LeakyReLU(SLOPE, name=name if i == last else f"encoder_{i}_act")(x)
            if self.dropout and i < last:
                x = layers.Dropout(self.dropout, name=f"encoder_{i}_dropout")(x)
        return x

    def _prepare(self, x: keras.KerasTensor, normalization: tuple[np.ndarray, np.ndarray] | None) -> keras.KerasTensor:
        """Standardises and clips the features, and adds noise in training."""
        if self.normalize:
            mean, variance = check_normalization(normalization, x.shape[1])
            scale = self.feature_clip or 1.0
            x = layers.Normalization(
                mean=mean.tolist(), variance=(variance * scale**2).tolist(), dtype="float32", name="normalize"
            )(x)
            if self.feature_clip:
                x = layers.Activation("hard_tanh", name="clip")(x)
                x = layers.Rescaling(scale, name="unit_variance")(x)
        if self.feature_noise:
            x = layers.GaussianNoise(self.feature_noise, name="feature_noise")(x)
        return x

    def _scaled(self, size: str) -> Self:
        return dataclasses.replace(self, units=tuple(scale_width(units, size) for units in self.units))

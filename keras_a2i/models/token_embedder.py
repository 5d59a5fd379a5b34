"""The network of the recipe audio-token: from audio to a token for the text encoders of a diffusion model."""

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import UsageError
from keras_a2i.layers import AttentivePooling
from keras_a2i.models.dtype_policy import dtype_policy, policy_config, stored_policy
from keras_a2i.models.encoder import check_normalization
from keras_a2i.models.log_mel_convolutions import log_mel
from keras_a2i.models.model_file import AUDIO_TOKEN, ModelMetadata
from keras_a2i.models.token_diffusion import DiffusionConfig

_BANDS, _BAND_LIMIT = 64, 4.0
_POOLING_UNITS = 128


@keras.saving.register_keras_serializable("keras_a2i")
class TokenEmbedder(keras.Model):
    """A functional Keras model from audio, or features of audio, to a token of a Stable Diffusion 3 model.

    Vectors over time pass through two dense layers with GELU between them, and attentive pooling over time combines
    them into one vector. For waveforms, convolutions over log-mel frames compute the vectors over time; for MFCC, they
    are the frames; an embedding consists of one or more of them.

    Args:
        diffusion: the Stable Diffusion 3 model that will receive the token; it isn't part of this model.
        token_dims: lengths of the embedding of a word in the text encoders of that model.
        token_scales: standard deviations of the word embeddings in the text encoders, by which the output is scaled.
        features: sample rate, duration and features of the audio, or the length of an embedding.
        input: "waveform" or "features".
        frames: number of vectors over time that an embedding consists of, as with BEATs; 1 for a single vector, as with
            CLAP. The length of an embedding must be a multiple of it.
        channels: outputs of the convolutions over log-mel frames; each one except the first halves the number of
            frames.
        units: outputs of the first of the two dense layers.
        normalization: mean and variance of the training features, each (n_features,), for the input "features".
        labels: names of the labels of the training pairs, sorted.
        name: name of the model.

    Call with features (batch, n_features) or waveforms (batch, n_samples); returns tokens, float32
    (batch, sum of token_dims).

    Raises:
        UsageError: if an argument is out of range.

    Reference:
        Yariv et al., "AudioToken", 2023 (arXiv 2305.13050), whose embedder is the same on layers of BEATs.

    Example:
        >>> diffusion = DiffusionConfig(preset="stable_diffusion_3.5_medium", image_size=64)
        >>> model = TokenEmbedder(diffusion, token_dims=(768, 1280), token_scales=(0.02, 0.02))
        >>> model.input_shape, model.output_shape
        ((None, 16000), (None, 2048))
    """

    embeds_tokens = True

    def __init__(
        self,
        diffusion: DiffusionConfig,
        *,
        token_dims: Sequence[int],
        token_scales: Sequence[float],
        features: FeatureConfig | None = None,
        input: str = "waveform",
        frames: int = 1,
        channels: Sequence[int] = (128, 128, 128),
        units: int = 512,
        normalization: tuple[Any, Any] | None = None,
        labels: Sequence[str] = (),
        name: str = "token_embedder",
    ):
        features = features or FeatureConfig()
        if min(*token_dims, *channels, units, frames) < 1 or len(token_dims) != len(token_scales):
            raise UsageError(
                "token_dims, channels, units and frames must be whole numbers from 1, with one of token_scales for "
                f"each of token_dims. Received: token_dims={tuple(token_dims)}, token_scales={tuple(token_scales)}, "
                f"channels={tuple(channels)}, {units=}, {frames=}"
            )
        if frames > 1 and (not features.embedding or features.embedding % frames):
            raise UsageError(
                "frames must divide the length of an embedding, and be 1 for audio. "
                f"Received: {frames=} with {features.description}"
            )
        metadata = ModelMetadata(
            features=features,
            image=ImageConfig(size=diffusion.image_size, channels=3),
            input=input,
            recipe=AUDIO_TOKEN,
            labels=tuple(labels),
        )
        x = inputs = keras.Input((metadata.n_inputs,), name=input)
        if input == "waveform":
            x = _convolve(x, features, channels)
        else:
            mean, variance = check_normalization(normalization, metadata.n_inputs)
            x = layers.Normalization(mean=mean, variance=variance, name="standardised")(x)
            n = frames if features.embedding else features.n_features // features.n_mfcc
            x = layers.Reshape((n, metadata.n_inputs // n), name="frames")(x)
        x = layers.Dense(units, "gelu", name="embedder_1")(x)
        x = layers.Dense(sum(token_dims), name="embedder_2")(x)
        x = AttentivePooling(_POOLING_UNITS, name="pooling")(x)
        scales = np.repeat(np.asarray(token_scales, np.float32), token_dims)
        super().__init__(inputs=inputs, outputs=keras.ops.cast(x, "float32") * scales, name=name)
        self.diffusion, self.metadata, self.frames = diffusion, metadata, frames
        self.token_dims, self.token_scales = tuple(token_dims), tuple(token_scales)
        self.channels, self.units = tuple(channels), units
        self.normalization = (
            None if normalization is None else tuple(np.asarray(part).tolist() for part in normalization)
        )

    def get_config(self) -> dict[str, Any]:
        return policy_config(self) | {
            "diffusion": self.diffusion.to_dict(),
            "token_dims": list(self.token_dims),
            "token_scales": list(self.token_scales),
            "features": self.metadata.features.to_dict(),
            "input": self.metadata.input,
            "frames": self.frames,
            "channels": list(self.channels),
            "units": self.units,
            "normalization": self.normalization,
            "labels": list(self.metadata.labels),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        parts = {
            "diffusion": DiffusionConfig.from_dict(config["diffusion"]),
            "features": FeatureConfig.from_dict(config["features"]),
        }
        config = config | parts
        with dtype_policy(stored_policy(config)):
            return cls(**config)


def _convolve(x: keras.KerasTensor, features: FeatureConfig, channels: Sequence[int]) -> keras.KerasTensor:
    """Convolutions over log-mel frames, (batch, frames, channels)."""
    x = log_mel(features.sample_rate, 0.050, 0.025, _BANDS, 40.0, features.sample_rate / 2)(x)
    x = layers.BatchNormalization(momentum=0.95, center=False, scale=False, name="standardised")(x)
    x = keras.ops.clip(x, -_BAND_LIMIT, _BAND_LIMIT)
    for i, width in enumerate(channels):
        x = layers.Conv1D(
            width,
            5,
            strides=2 if i else 1,
            padding="same",
            use_bias=False,
            data_format="channels_last",
            name=f"encoder_{i}",
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"encoder_{i}_norm")(x)
        x = layers.ReLU(name=f"encoder_{i}_act")(x)
    return x

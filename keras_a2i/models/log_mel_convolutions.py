"""What the encoders of waveforms share: log-mel frames, convolutions over them, pooling over time."""

import keras
from keras import layers

from keras_a2i.layers import BatchNormalization, LogMel


def log_mel(rate: int, frame: float, hop: float, n_mels: int, f_min: float, f_max: float) -> LogMel:
    """The log-mel layer of an encoder; `frame` and `hop` in seconds, `f_max` limited to half the sample rate."""
    return LogMel(
        rate,
        convention="htk",
        frame_length=round(frame * rate),
        hop_length=round(hop * rate),
        n_mels=n_mels,
        f_min=f_min,
        f_max=min(f_max, rate / 2),
        name="log_mel",
    )


def standardise(x: keras.KerasTensor, clip: float, noise: float) -> keras.KerasTensor:
    """Bands by the statistics of the training set, so that loudness counts; bounded, and with noise in training.

    Args:
        x: log-mel frames (batch, frames, bands).
        clip: the bound; 0 is none.
        noise: standard deviation of the noise; 0 is none.
    """
    x = layers.BatchNormalization(momentum=0.95, center=False, scale=False, name="standardised")(x)
    if clip:
        x = layers.Rescaling(1 / clip, name="in_clips")(x)
        x = layers.Activation("hard_tanh", name="clip")(x)
        x = layers.Rescaling(clip, name="unit_variance")(x)
    return layers.GaussianNoise(noise, name="feature_noise")(x) if noise else x


def convolve(
    x: keras.KerasTensor, channels: tuple[int, ...], dropout: float, prefix: str = "encoder"
) -> list[keras.KerasTensor]:
    """Five convolutions over (batch, frames, bands, 1), then the mean and the maximum over time, (batch, n) each."""
    for i, (width, strides) in enumerate(zip(channels[:4], ((2, 2), (2, 2), (1, 2), (1, 2)), strict=True)):
        kernel = 3 if i else 5
        x = layers.Conv2D(width, kernel, strides, "same", use_bias=False, name=f"{prefix}_{i}")(x)
        x = BatchNormalization(momentum=0.9, name=f"{prefix}_{i}_norm")(x)
        x = layers.ReLU(name=f"{prefix}_{i}_act")(x)
        if i == 1 and dropout:
            x = layers.SpatialDropout2D(dropout / 3, name=f"{prefix}_1_dropout")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=f"{prefix}_frames")(x)
    x = layers.Conv1D(channels[4], 3, padding="same", use_bias=False, name=f"{prefix}_4")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{prefix}_4_norm")(x)
    x = layers.ReLU(name=f"{prefix}_4_act")(x)
    return [layers.GlobalAveragePooling1D(name=f"{prefix}_mean")(x), layers.GlobalMaxPooling1D(name=f"{prefix}_max")(x)]


def to_latent(
    pooled: list[keras.KerasTensor], units: int, latent_dim: int, dropout: float, name: str, prefix: str = "encoder"
) -> keras.KerasTensor:
    """Two dense layers from pooled features to the latent vector (batch, latent_dim)."""
    x = layers.Concatenate(name=f"{prefix}_pooled")(pooled)
    x = layers.Dropout(dropout, name=f"{prefix}_dropout")(x)
    x = layers.Dense(units, "relu", name=f"{prefix}_5")(x)
    x = layers.Dropout(dropout, name=f"{prefix}_5_dropout")(x)
    return layers.Dense(latent_dim, name=name)(x)

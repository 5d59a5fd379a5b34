"""The encoder of short sounds: aligned log-mel frames through convolutions to a latent vector."""

import keras
from keras import layers

from keras_a2i.config import FeatureConfig
from keras_a2i.layers import AlignedFrames, FrameAugmentation, FrameNormalization, LogMel

WINDOW, HOP = 0.025, 0.010
N_BANDS = 40
F_MIN, F_MAX = 60.0, 4000.0
N_FRAMES = 48
WIDTHS = (24, 48, 96, 96)


def encode_words(waveform: keras.KerasTensor, sound: FeatureConfig, n_latent: int, dropout: float) -> keras.KerasTensor:
    """Latent vector of a word, a knock, a bark: a sound that begins and ends.

    Frames of 25 ms of log-mel bands are stretched to a common length and standardised by the sound's own statistics, so
    that speakers and microphones differ less; in training their time and frequency are warped and masked. Convolutions
    follow, then mean and maximum over time.

    Args:
        waveform: (batch, n_samples) in [-1, 1].
        sound: gives the sample rate, 8,000 Hz or more.
        n_latent: length of the latent vector.
        dropout: share of hidden units dropped in training.

    Returns:
        float (batch, n_latent); the layer is named "latent".
    """
    rate = sound.sample_rate
    mel = LogMel(
        rate,
        convention="htk",
        window_length=round(WINDOW * rate),
        hop_length=round(HOP * rate),
        n_mels=N_BANDS,
        f_min=F_MIN,
        f_max=min(F_MAX, rate / 2),
        name="log_mel",
    )
    x = AlignedFrames(N_FRAMES, jitter=0.08, warp=0.1, name="aligned")(mel(waveform))
    x = FrameAugmentation(f_min=F_MIN, f_max=mel.f_max, name="augmented")(x)
    x = FrameNormalization(name="standardised")(x)
    for i, (width, strides) in enumerate(zip(WIDTHS, ((2, 2), (2, 2), (1, 2), (1, 2)), strict=True)):
        kernel = 3 if i else 5
        x = layers.Conv2D(width, kernel, strides, "same", use_bias=False, name=f"encoder_{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"encoder_{i}_norm")(x)
        x = layers.ReLU(name=f"encoder_{i}_act")(x)
        if i == 1:
            x = layers.SpatialDropout2D(0.1, name="encoder_1_dropout")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="encoder_frames")(x)
    x = layers.Conv1D(128, 3, padding="same", use_bias=False, name="encoder_4")(x)
    x = layers.BatchNormalization(momentum=0.9, name="encoder_4_norm")(x)
    x = layers.ReLU(name="encoder_4_act")(x)
    pooled = [layers.GlobalAveragePooling1D(name="encoder_mean")(x), layers.GlobalMaxPooling1D(name="encoder_max")(x)]
    x = layers.Dropout(dropout, name="encoder_dropout")(layers.Concatenate(name="encoder_pooled")(pooled))
    x = layers.Dense(128, "relu", name="encoder_5")(x)
    x = layers.Dropout(dropout, name="encoder_5_dropout")(x)
    return layers.Dense(n_latent, name="latent")(x)

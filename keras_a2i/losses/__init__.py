"""Losses as Keras classes."""

from keras_a2i.losses.batch_scaled_mse import BatchScaledMSE
from keras_a2i.losses.log_mel_error import LogMelError
from keras_a2i.serialization import register

__all__ = ["BatchScaledMSE", "LogMelError"]

register()

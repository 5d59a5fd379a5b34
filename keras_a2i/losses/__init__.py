"""Losses as Keras classes."""

from keras_a2i.losses.batch_scaled_mse import BatchScaledMSE

__all__ = ["BatchScaledMSE"]

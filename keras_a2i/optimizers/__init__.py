"""Optimizers as Keras classes."""

from keras_a2i.optimizers.flat_adam import FlatAdam, make_adam
from keras_a2i.serialization import register

__all__ = ["FlatAdam", "make_adam"]

register()

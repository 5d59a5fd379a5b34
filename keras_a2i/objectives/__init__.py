"""Objectives of a training, the model that is trained on them, and the image autoencoder that some of them need."""

from keras_a2i.objectives.mean_squared_error import MeanSquaredError  # isort: split

from keras_a2i.objectives.multi_scale_ssim import MultiScaleSSIM  # isort: split

from keras_a2i.objectives.spectrum import Spectrum  # isort: split

from keras_a2i.objectives.label_crossentropy import LabelCrossentropy  # isort: split

from keras_a2i.objectives.variational import Variational  # isort: split

from keras_a2i.objectives.adversarial import Adversarial  # isort: split

from keras_a2i.objectives.contrastive import Contrastive  # isort: split

from keras_a2i.objectives.perceptual import Perceptual  # isort: split

from keras_a2i.objectives.temporal_difference import TemporalDifference  # isort: split

from keras_a2i.objectives.image_autoencoder import ImageAutoencoder
from keras_a2i.objectives.objective import (
    OBJECTIVES,
    ImageObjective,
    LossObjective,
    Objective,
    TrainState,
    register_objective,
)
from keras_a2i.objectives.training_model import TrainingModel

__all__ = [
    "OBJECTIVES",
    "Adversarial",
    "Contrastive",
    "ImageAutoencoder",
    "ImageObjective",
    "LabelCrossentropy",
    "LossObjective",
    "MeanSquaredError",
    "MultiScaleSSIM",
    "Objective",
    "Perceptual",
    "Spectrum",
    "TemporalDifference",
    "TrainState",
    "TrainingModel",
    "Variational",
    "register_objective",
]

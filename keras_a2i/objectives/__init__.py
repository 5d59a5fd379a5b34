"""What a training aims at: small classes, added up by their weights, and the model that trains towards them."""

from keras_a2i.objectives.adversarial import Adversarial
from keras_a2i.objectives.embedding_losses import Contrastive, Perceptual
from keras_a2i.objectives.image_autoencoder import ImageAutoencoder
from keras_a2i.objectives.labels import LabelCrossentropy
from keras_a2i.objectives.objective import Objective, Step
from keras_a2i.objectives.pixel_losses import MeanSquaredError, MultiScaleSSIM, Spectrum
from keras_a2i.objectives.temporal import TemporalDifference
from keras_a2i.objectives.training_model import TrainingModel
from keras_a2i.objectives.variational import Variational

__all__ = [
    "Adversarial",
    "Contrastive",
    "ImageAutoencoder",
    "LabelCrossentropy",
    "MeanSquaredError",
    "MultiScaleSSIM",
    "Objective",
    "Perceptual",
    "Spectrum",
    "Step",
    "TemporalDifference",
    "TrainingModel",
    "Variational",
]

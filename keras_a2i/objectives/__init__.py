"""What a training aims at: small classes, added up by their weights, and the model that trains towards them."""

from keras_a2i.objectives.adversarial import Adversarial
from keras_a2i.objectives.labels import Labels
from keras_a2i.objectives.objective import Objective, Step
from keras_a2i.objectives.picture_autoencoder import PictureAutoencoder
from keras_a2i.objectives.picture_space import Alignment, Consistency
from keras_a2i.objectives.pictures import Pixels, Spectrum, Structure
from keras_a2i.objectives.temporal import Temporal
from keras_a2i.objectives.training_model import TrainingModel
from keras_a2i.objectives.variational import Variational

__all__ = [
    "Adversarial",
    "Alignment",
    "Consistency",
    "Labels",
    "Objective",
    "PictureAutoencoder",
    "Pixels",
    "Spectrum",
    "Step",
    "Structure",
    "Temporal",
    "TrainingModel",
    "Variational",
]

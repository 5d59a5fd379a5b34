"""Objectives of a training, the model that is trained on them, and the image autoencoder that some of them need."""

# ruff: noqa: I001 (the order of the imports is that of the registry)
from keras_a2i.objectives.mean_squared_error import MeanSquaredError
from keras_a2i.objectives.multi_scale_ssim import MultiScaleSSIM
from keras_a2i.objectives.spectrum import Spectrum
from keras_a2i.objectives.label_crossentropy import LabelCrossentropy
from keras_a2i.objectives.variational import Variational
from keras_a2i.objectives.adversarial import Adversarial
from keras_a2i.objectives.contrastive import Contrastive
from keras_a2i.objectives.perceptual import Perceptual
from keras_a2i.objectives.temporal_difference import TemporalDifference
from keras_a2i.objectives.exemplar_matching import ExemplarMatching
from keras_a2i.objectives.exemplar_blending import ExemplarBlending
from keras_a2i.objectives.familiarity import Familiarity
from keras_a2i.objectives.feature_consistency import FeatureConsistency
from keras_a2i.objectives.identity import Identity
from keras_a2i.objectives.image_autoencoder import ImageAutoencoder
from keras_a2i.objectives.clip_mixer import Mixtures
from keras_a2i.objectives.objective import (
    OBJECTIVES,
    ImageObjective,
    LossObjective,
    Objective,
    TrainState,
    register_objective,
)
from keras_a2i.objectives.training_model import TrainingModel
from keras_a2i.serialization import register

__all__ = [
    "OBJECTIVES",
    "Adversarial",
    "Contrastive",
    "ExemplarBlending",
    "ExemplarMatching",
    "Familiarity",
    "FeatureConsistency",
    "Identity",
    "ImageAutoencoder",
    "ImageObjective",
    "LabelCrossentropy",
    "LossObjective",
    "MeanSquaredError",
    "Mixtures",
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

register()

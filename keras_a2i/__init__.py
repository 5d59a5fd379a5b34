"""Small models that turn audio into images.

The public names are imported on first use: `import keras_a2i` alone imports neither TensorFlow nor Keras.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError
from keras_a2i.serialization import register_with_keras
from keras_a2i.version import __version__

if TYPE_CHECKING:
    from keras_a2i import layers, losses, metrics, models, objectives, optimizers, sources
    from keras_a2i.evaluation.card import write_card
    from keras_a2i.evaluation.compare import compare
    from keras_a2i.evaluation.evaluate import evaluate
    from keras_a2i.evaluation.run_overview import run_overview
    from keras_a2i.evaluation.sweep import sweep
    from keras_a2i.exporters.export import export
    from keras_a2i.memory import keep_freed_memory
    from keras_a2i.models.audio_to_image import AudioToImage
    from keras_a2i.models.audio_token import AudioToken
    from keras_a2i.models.frontend import with_frontend
    from keras_a2i.models.image_to_audio import ImageToAudio
    from keras_a2i.recipes import get_recipe
    from keras_a2i.recipes.encoder_generator import encoder_generator
    from keras_a2i.recipes.ranges import Range
    from keras_a2i.recipes.recipe import Recipe
    from keras_a2i.records.augmentation import Augmentation
    from keras_a2i.records.build import build_records
    from keras_a2i.records.inspection import inspect
    from keras_a2i.records.records import Records
    from keras_a2i.records.splits import SplitSpec
    from keras_a2i.serving.generate_audio import generate_audio
    from keras_a2i.serving.guidance import guide
    from keras_a2i.serving.images import generate_images
    from keras_a2i.serving.predictor import Predictor, load
    from keras_a2i.serving.search import search
    from keras_a2i.serving.video import generate_video
    from keras_a2i.sources.open_sources import open_sources
    from keras_a2i.training.calibrate import calibrate
    from keras_a2i.training.fit import fit
    from keras_a2i.training.fit_audio_token import fit_audio_token
    from keras_a2i.training.fit_image_to_audio import fit_image_to_audio
    from keras_a2i.training.fit_seeds import fit_seeds
    from keras_a2i.training.process_group import join_processes

_MODULES = {
    "AudioToImage": "models.audio_to_image",
    "AudioToken": "models.audio_token",
    "Augmentation": "records.augmentation",
    "ImageToAudio": "models.image_to_audio",
    "Predictor": "serving.predictor",
    "Range": "recipes.ranges",
    "Recipe": "recipes.recipe",
    "Records": "records.records",
    "SplitSpec": "records.splits",
    "build_records": "records.build",
    "calibrate": "training.calibrate",
    "compare": "evaluation.compare",
    "encoder_generator": "recipes.encoder_generator",
    "evaluate": "evaluation.evaluate",
    "export": "exporters.export",
    "fit": "training.fit",
    "join_processes": "training.process_group",
    "keep_freed_memory": "memory",
    "fit_audio_token": "training.fit_audio_token",
    "fit_image_to_audio": "training.fit_image_to_audio",
    "generate_audio": "serving.generate_audio",
    "fit_seeds": "training.fit_seeds",
    "generate_images": "serving.images",
    "generate_video": "serving.video",
    "get_recipe": "recipes",
    "guide": "serving.guidance",
    "inspect": "records.inspection",
    "load": "serving.predictor",
    "open_sources": "sources.open_sources",
    "run_overview": "evaluation.run_overview",
    "search": "serving.search",
    "sweep": "evaluation.sweep",
    "with_frontend": "models.frontend",
    "write_card": "evaluation.card",
}
_ROOMS = ("layers", "losses", "metrics", "models", "objectives", "optimizers", "sources")

__all__ = [
    "AudioToImage",
    "AudioToken",
    "Augmentation",
    "FeatureConfig",
    "ImageConfig",
    "ImageToAudio",
    "KerasA2IError",
    "Predictor",
    "Range",
    "Recipe",
    "Records",
    "SplitSpec",
    "__version__",
    "build_records",
    "calibrate",
    "compare",
    "encoder_generator",
    "evaluate",
    "export",
    "fit",
    "fit_audio_token",
    "fit_image_to_audio",
    "fit_seeds",
    "generate_audio",
    "generate_images",
    "generate_video",
    "get_recipe",
    "guide",
    "inspect",
    "join_processes",
    "keep_freed_memory",
    "layers",
    "load",
    "losses",
    "metrics",
    "models",
    "objectives",
    "open_sources",
    "optimizers",
    "run_overview",
    "search",
    "sources",
    "sweep",
    "with_frontend",
    "write_card",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"keras_a2i.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'keras_a2i' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"keras_a2i.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


register_with_keras()

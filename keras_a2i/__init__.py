"""Small models that turn sound into pictures.

The names below load on first use: `import keras_a2i` alone imports neither TensorFlow nor Keras.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError
from keras_a2i.serialization import register_with_keras
from keras_a2i.version import __version__

if TYPE_CHECKING:
    from keras_a2i import layers, losses, metrics, objectives
    from keras_a2i.exporters.export import export
    from keras_a2i.models.frontend import with_frontend
    from keras_a2i.models.network import encoder_generator
    from keras_a2i.records.augmentation import Augmentation
    from keras_a2i.records.build import build_records
    from keras_a2i.records.dataset import load_records, read_examples
    from keras_a2i.records.splits import SplitSpec
    from keras_a2i.serving.predictor import load
    from keras_a2i.sources.open_sources import open_sources
    from keras_a2i.training.fit import fit

_HOMES = {
    "Augmentation": "augmentation",
    "SplitSpec": "records.splits",
    "build_records": "records.build",
    "encoder_generator": "models.network",
    "export": "exporters.export",
    "fit": "training.fit",
    "load": "serving.predictor",
    "load_records": "pipeline",
    "open_sources": "sources.recognise",
    "read_examples": "pipeline",
    "with_frontend": "models.frontend",
}
_MODULES = ("layers", "losses", "metrics", "objectives")

__all__ = [
    "Augmentation",
    "FeatureConfig",
    "ImageConfig",
    "KerasA2IError",
    "SplitSpec",
    "__version__",
    "build_records",
    "encoder_generator",
    "export",
    "fit",
    "layers",
    "load",
    "load_records",
    "losses",
    "metrics",
    "objectives",
    "open_sources",
    "read_examples",
    "with_frontend",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"keras_a2i.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'keras_a2i' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"keras_a2i.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


register_with_keras()

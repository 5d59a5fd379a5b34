"""Networks, their presets and model files. Names load on first use: presets are read without importing Keras."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_a2i.models.frontend import with_frontend
    from keras_a2i.models.network import encoder_generator
    from keras_a2i.models.objective_weights import ObjectiveWeights
    from keras_a2i.models.optimizer import make_optimizer
    from keras_a2i.models.preset import Preset
    from keras_a2i.models.presets import PRESETS, get_preset

_HOMES = {
    "PRESETS": "presets",
    "ObjectiveWeights": "objective_weights",
    "Preset": "preset",
    "encoder_generator": "network",
    "get_preset": "presets",
    "make_optimizer": "optimizer",
    "with_frontend": "frontend",
}

__all__ = [
    "PRESETS",
    "ObjectiveWeights",
    "Preset",
    "encoder_generator",
    "get_preset",
    "make_optimizer",
    "with_frontend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'keras_a2i.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"keras_a2i.models.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

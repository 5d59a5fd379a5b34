"""Networks and model files. Names load on first use, so that model files can be inspected without importing Keras."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_a2i.models.audio_to_image import AudioToImage
    from keras_a2i.models.audio_token import AudioToken
    from keras_a2i.models.dense_encoder import DenseEncoder
    from keras_a2i.models.encoder import Encoder
    from keras_a2i.models.exemplar_generator import (
        ExemplarGenerator,
        adapt_exemplars,
        measure_hubness,
        measure_variation,
    )
    from keras_a2i.models.frame_encoder import FrameEncoder
    from keras_a2i.models.frontend import with_frontend
    from keras_a2i.models.generator import Generator
    from keras_a2i.models.image_to_audio import ImageToAudio
    from keras_a2i.models.mosaic_generator import MosaicGenerator
    from keras_a2i.models.reference_generator import ReferenceGenerator
    from keras_a2i.models.residual_generator import ResidualGenerator
    from keras_a2i.models.scene_encoder import SceneEncoder
    from keras_a2i.models.speech_encoder import SpeechEncoder
    from keras_a2i.models.token_diffusion import DiffusionConfig, TokenDiffusion
    from keras_a2i.models.token_embedder import TokenEmbedder
    from keras_a2i.models.transposed_generator import TransposedGenerator
    from keras_a2i.models.word_encoder import WordEncoder

_MODULES = {
    "adapt_exemplars": "exemplar_generator",
    "AudioToImage": "audio_to_image",
    "AudioToken": "audio_token",
    "DenseEncoder": "dense_encoder",
    "DiffusionConfig": "token_diffusion",
    "Encoder": "encoder",
    "ExemplarGenerator": "exemplar_generator",
    "FrameEncoder": "frame_encoder",
    "Generator": "generator",
    "ImageToAudio": "image_to_audio",
    "MosaicGenerator": "mosaic_generator",
    "ReferenceGenerator": "reference_generator",
    "ResidualGenerator": "residual_generator",
    "SceneEncoder": "scene_encoder",
    "SpeechEncoder": "speech_encoder",
    "TokenDiffusion": "token_diffusion",
    "TokenEmbedder": "token_embedder",
    "TransposedGenerator": "transposed_generator",
    "WordEncoder": "word_encoder",
    "measure_hubness": "exemplar_generator",
    "measure_variation": "exemplar_generator",
    "with_frontend": "frontend",
}

CLASS_MODULES = sorted({f"keras_a2i.models.{module}" for module in _MODULES.values()})
"""The modules whose import registers the classes of this room with Keras."""

__all__ = [
    "AudioToImage",
    "AudioToken",
    "DenseEncoder",
    "DiffusionConfig",
    "Encoder",
    "ExemplarGenerator",
    "FrameEncoder",
    "Generator",
    "ImageToAudio",
    "MosaicGenerator",
    "ReferenceGenerator",
    "ResidualGenerator",
    "SceneEncoder",
    "SpeechEncoder",
    "TokenDiffusion",
    "TokenEmbedder",
    "TransposedGenerator",
    "WordEncoder",
    "adapt_exemplars",
    "measure_hubness",
    "measure_variation",
    "with_frontend",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'keras_a2i.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"keras_a2i.models.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

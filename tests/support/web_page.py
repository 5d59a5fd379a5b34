"""A stand-in for the npm package that runs models in browsers, and a page without a model that works."""

import hashlib

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.exporters import web
from keras_a2i.models.model_file import ModelMetadata


def make_runtime(folder, monkeypatch):
    """Makes the folder of a package whose files are the expected ones, and returns it."""
    (folder / "wasm").mkdir(parents=True)
    expected = {}
    for name in web.RUNTIME_FILES:
        content = f"content of {name}".encode() * 100
        (folder / "wasm" / name).write_bytes(content)
        expected[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(web, "RUNTIME_FILES", expected)
    return folder


def make_page(folder, runtime):
    """Makes a page whose model is 1 MB of nothing."""
    folder.mkdir()
    (folder / web.MODEL_FILE).write_bytes(bytes(1_000_000))
    metadata = ModelMetadata(features=FeatureConfig(), image=ImageConfig(size=16), input="waveform", labels=("a", "b"))
    web.write_page(folder, metadata, runtime)
    return folder

"""Files of vectors and pictures that the tests of embeddings read."""

import numpy as np
from PIL import Image

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.sources.embeddings_csv import EmbeddingsCsvSource

FEATURES = FeatureConfig()
IMAGE = ImageConfig(size=16)


def write_vector_files(home):
    """a.png and b.png, and vectors of 8 numbers: one.npy, five of many.npy, x, b:2 and three rows of some.npz."""
    home.mkdir()
    for name in "ab":
        Image.new("RGB", (16, 16), (1, 2, 3)).save(home / f"{name}.png")
    rng = np.random.default_rng(0)
    np.save(home / "one.npy", rng.normal(size=8).astype(np.float64))
    np.save(home / "many.npy", rng.normal(size=(5, 8)).astype(np.float16))
    np.savez(home / "some.npz", x=rng.normal(size=8), **{"b:2": np.arange(8)}, rows=rng.normal(size=(3, 8)))
    return home


def source_of(folder, text, features=FEATURES, **options):
    (folder / "pairs.csv").write_text(text)
    return EmbeddingsCsvSource(folder / "pairs.csv", features=features, image=IMAGE, **options)


def read_all(source):
    return [item for unit in source.plan().units for item in source.read(unit)]

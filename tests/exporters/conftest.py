"""A run to export, and models that aren't trained."""

import keras
import numpy as np
import pytest

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.recipes import get_recipe
from keras_a2i.records.build import build_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.open_sources import open_sources


@pytest.fixture(scope="session")
def make_records():
    def make(folder, n_pairs, features=None):
        features, image = features or FeatureConfig(), ImageConfig(size=32)
        sources = open_sources([f"synthetic:surf:{n_pairs}"], features=features, image=image)
        build_records(sources, folder, features=features, image=image, split=SplitSpec(kind="random"), workers=1)
        return folder

    return make


@pytest.fixture(scope="session")
def run(tmp_path_factory, make_records):
    """A run that was trained a little: int8 has images to agree on."""
    from keras_a2i.training.fit import fit

    folder = tmp_path_factory.mktemp("export")
    make_records(folder / "records", 120)
    fit(folder / "records", folder / "run", recipe="features", settings={"size": "tiny"}, epochs=12, seed=1)
    return folder / "run"


@pytest.fixture(scope="session")
def predictor(run):
    """The run, loaded once for all tests, which only predict with it."""
    from keras_a2i.serving.predictor import load

    return load(run)


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """Exports the run, each with the same options once for all tests, which only read the file."""
    from keras_a2i.exporters.export import export
    from keras_a2i.exporters.formats import FORMATS

    folder, done = tmp_path_factory.mktemp("exported"), {}

    def make(format, **options):
        key = (format, *sorted(options.items()))
        if key not in done:
            path = folder / str(len(done)) / f"model{FORMATS[format].suffix}"
            path.parent.mkdir()
            done[key] = export(run, path, format=format, license="CC0-1.0", **options)
        return done[key]

    return make


@pytest.fixture(scope="session")
def make_model():
    def make(recipe="paper", **options):
        keras.utils.set_random_seed(0)
        network = get_recipe("features", size="tiny") if recipe == "features" else get_recipe(recipe)
        model = network.build(image_size=32, **options)
        rng = np.random.default_rng(0)
        for variable in model.variables:
            if "moving" in variable.path:
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        return model

    return make


@pytest.fixture(scope="session")
def clips():
    """Six clips of noise of different loudness, a second each."""
    rng = np.random.default_rng(1)
    return (rng.uniform(-1, 1, (6, 16_000)) * rng.uniform(0, 0.9, (6, 1))).astype(np.float32)

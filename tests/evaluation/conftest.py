"""Records of the rendered shore, and a model that remembers."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.datasets.surf import SurfSource
from keras_a2i.evaluation.pairs import read_pairs, scaled
from keras_a2i.records.build import build_records
from keras_a2i.records.splits import SplitSpec


@pytest.fixture(scope="session")
def shore(tmp_path_factory):
    """Records of the shore, split in blocks and at random."""
    image, features = ImageConfig(size=32), FeatureConfig()
    folder = tmp_path_factory.mktemp("shore")
    for kind in ("block", "random"):
        source = SurfSource(160, 0, features=features, image=image)
        build_records([source], folder / kind, image=image, split=SplitSpec(kind=kind), workers=1)
    return folder


@pytest.fixture(scope="session")
def nearest_images():
    """Makes a model that remembers: the mean of the training images of the k nearest training features."""

    def make(records, k=1):
        train = read_pairs(records, "train")
        std = train.features.std(axis=0)
        index = NearestNeighbors(n_neighbors=k).fit(train.features / std)
        images = scaled(train.images)
        return lambda features: np.mean(images[index.kneighbors(features / std)[1]], axis=1)

    return make

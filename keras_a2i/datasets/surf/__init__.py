"""`synthetic:surf`: an embedded data set with known truth, made of rendered seconds of shore."""

from keras_a2i.datasets.surf.factors import FACTORS
from keras_a2i.datasets.surf.source import SurfSource

__all__ = ["FACTORS", "SurfSource"]

"""`synthetic:surf`: an embedded data set with known truth, of rendered clips of a shore."""

from keras_a2i.datasets.surf.factors import FACTORS
from keras_a2i.datasets.surf.source import SurfSource

__all__ = ["FACTORS", "SurfSource"]

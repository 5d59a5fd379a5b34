"""`synthetic:faces`: an embedded data set with known truth, of rendered faces whose mouths follow rendered voices."""

from keras_a2i.datasets.faces.mouth import read_mouth
from keras_a2i.datasets.faces.source import FacesSource

__all__ = ["FacesSource", "read_mouth"]

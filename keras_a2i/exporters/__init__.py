"""Export of trained models: one module a format, each registered in `FORMATS`."""

from keras_a2i.exporters import onnx, saved_model, tflite, web
from keras_a2i.exporters.formats import FORMATS

__all__ = ["FORMATS", "onnx", "saved_model", "tflite", "web"]

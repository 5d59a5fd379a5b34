"""How far an export is from the Keras model that it was made from, and how fast it is."""

import dataclasses
import time

import keras
import numpy as np

from keras_a2i.errors import ExportError
from keras_a2i.exporters.formats import Limits, PredictFn
from keras_a2i.metrics import ssim
from keras_a2i.models.exemplar_generator import has_exemplars

_N_TIMED = 50
_N_WARM = 5
_MAX_OF_SELECTION = 1e-3
"""Largest difference of models that select exemplars: an eighth of a level of 8 bits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """The comparison of an export with its Keras model on the same inputs.

    Attributes:
        count: number of inputs.
        max, mean: absolute differences of images in [-1, 1].
        ssim: mean SSIM of both models' images (Gaussian window).
        latency: median seconds for one image.
    """

    count: int
    max: float
    mean: float
    ssim: float
    latency: float


def compare(model: keras.Model, predict: PredictFn, inputs: np.ndarray, limits: Limits) -> Agreement:
    """Compares an export with the model that it was made from.

    Args:
        model: the Keras model.
        predict: the export.
        inputs: float32 (n, n_inputs).
        limits: how far the images may be apart.

    Raises:
        ExportError: if they are further apart, or the export has no finite image for an input of zeros, such as
            silence.
    """
    if has_exemplars(model):
        # Between two exemplars that are about as similar, the selection enlarges rounding errors.
        limits = dataclasses.replace(limits, max=max(limits.max, _MAX_OF_SELECTION))
    expected = model.predict(inputs, batch_size=32, verbose=0)
    images = predict(inputs)
    difference = np.abs(images - expected)
    found = Agreement(
        count=len(inputs),
        max=float(difference.max()),
        mean=float(difference.mean()),
        ssim=float(np.mean(keras.ops.convert_to_numpy(ssim(expected, images)))),
        latency=_latency(predict, inputs[:1]),
    )
    if not np.isfinite(predict(np.zeros_like(inputs[:1]))).all():
        raise ExportError(
            "The exported model must generate finite images of silence. Received: NaN or infinite numbers. Nothing was "
            "written"
        )
    # Written so that NaN is refused too.
    if not found.max <= limits.max or not found.mean <= limits.mean:
        name, limit = ("max", limits.max) if not found.max <= limits.max else ("mean", limits.mean)
        _refuse(f"{name} differences of at most {limit:g}", getattr(found, name), found.count)
    if not found.ssim >= limits.ssim:
        _refuse(f"an SSIM of at least {limits.ssim}", found.ssim, found.count)
    return found


def _refuse(rule: str, value: float, count: int) -> None:
    raise ExportError(
        f"The exported model must agree with the Keras model: {rule}. Received: {value:.2g} on {count} inputs. "
        "Nothing was written"
    )


def _latency(predict: PredictFn, one: np.ndarray) -> float:
    times = []
    for _ in range(_N_WARM + _N_TIMED):
        start = time.perf_counter()
        predict(one)
        times.append(time.perf_counter() - start)
    return float(np.median(times[_N_WARM:]))

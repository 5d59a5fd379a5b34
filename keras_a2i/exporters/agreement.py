"""How far an export is from the Keras model that it was made from, and how fast it is."""

import dataclasses
import math
import time

import keras
import numpy as np

from keras_a2i.errors import ExportError
from keras_a2i.exporters.formats import IMAGE, LOGITS, Limits, PredictFn, ServedModel
from keras_a2i.exporters.serving_model import to_serving
from keras_a2i.metrics import ssim
from keras_a2i.models.exemplar_generator import find_exemplars, has_exemplars
from keras_a2i.models.label_calibration import probabilities_of
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.models.styles import draw_styles

_N_TIMED = 50
_N_WARM = 5
_N_STYLED = 16
_MAX_OF_SELECTION = 1e-3
"""Largest difference of models that select exemplars: an eighth of a level of 8 bits."""
_RESELECTED = 0.1
"""Share of inputs for which rounded weights may select another exemplar of the same label."""


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


def compare(
    model: keras.Model,
    served: ServedModel,
    inputs: np.ndarray,
    limits: Limits,
    references: np.ndarray | None = None,
) -> Agreement:
    """Compares an export with the model that it was made from.

    Args:
        model: the Keras model.
        served: the export.
        inputs: float32 (n, n_inputs).
        limits: how far the images may be apart.
        references: reference images (n, size, size, channels) in [-1, 1], for a model that needs them.

    Raises:
        ExportError: if they are further apart, or the export has no finite image for an input of zeros, such as
            silence.
    """
    expected = model.predict(inputs if references is None else (inputs, references), batch_size=32, verbose=0)

    def predict(inputs: np.ndarray) -> np.ndarray:
        return served(inputs) if references is None else served(inputs, references=references[: len(inputs)])

    images = predict(inputs)
    difference = np.abs(images - expected)
    similarities = keras.ops.convert_to_numpy(ssim(expected, images))
    found = Agreement(
        count=len(inputs),
        max=float(difference.max()),
        mean=float(difference.mean()),
        ssim=float(similarities.mean()),
        latency=_latency(predict, inputs[:1]),
    )
    if not np.isfinite(predict(np.zeros_like(inputs[:1]))).all():
        raise ExportError(
            "The exported model must generate finite images of silence. Received: NaN or infinite numbers. Nothing was "
            "written"
        )
    rows, where = _check_images(model, difference, limits, f"{found.count} inputs")
    similarity = float(similarities[rows].mean())
    if not similarity >= limits.ssim:
        _refuse(f"an SSIM of at least {limits.ssim}", similarity, where)
    return found


def compare_styles_and_labels(
    model: keras.Model, served: ServedModel, inputs: np.ndarray, limits: Limits, metadata: ModelMetadata
) -> None:
    """Compares what else an export returns with the Keras model: images of drawn styles and of latent vectors, and
    label probabilities.

    Args:
        model: the Keras model.
        served: the export; one without any of them is left alone.
        inputs: float32 (n, n_inputs).
        limits: how far images, and probabilities in [0, 1], may be apart.
        metadata: of the model.

    Raises:
        ExportError: if they are further apart.
    """
    if served.encode_fn is not None and served.decode_fn is not None:
        images = served.decode_fn(served.encode_fn(inputs[:_N_STYLED]))
        difference = np.abs(images - model.predict(inputs[:_N_STYLED], verbose=0))
        _check_images(model, difference, limits, f"the images of {len(images)} latent vectors")
    if not (served.has_style or served.has_logits):
        return
    serving, inputs = to_serving(model, len(metadata.labels)), inputs[:_N_STYLED]
    values = [inputs]
    if served.has_reference:
        values.append(np.zeros((len(inputs), *metadata.image.shape), np.float32))
    if served.has_style:
        values.append(draw_styles(metadata.style_units, len(inputs), 1.0, 0))
    expected = serving([keras.ops.convert_to_tensor(each) for each in values], training=False)
    if served.has_style:
        difference = np.abs(served(*values) - keras.ops.convert_to_numpy(expected[IMAGE]))
        _check_images(model, difference, limits, f"the images of {len(inputs)} drawn styles")
    if served.has_logits:
        logits = served.classify(inputs), keras.ops.convert_to_numpy(expected[LOGITS])
        difference = np.abs(np.subtract(*map(probabilities_of, logits)))
        _check_differences(difference, _limits_of(model, limits), f"the label probabilities of {len(inputs)} inputs")


def _check_images(model: keras.Model, difference: np.ndarray, limits: Limits, where: str) -> tuple[np.ndarray, str]:
    """Checks the differences of images; returns the numbers of those that the limits are for, and what they are."""
    rows = _compared_rows(model, difference, limits)
    if len(rows) < len(difference):
        where = f"the {len(rows)} best of {where}"
    _check_differences(difference[rows], _limits_of(model, limits), where)
    return rows, where


def _limits_of(model: keras.Model, limits: Limits) -> Limits:
    # Between two exemplars that are about as similar, the selection enlarges rounding errors.
    return dataclasses.replace(limits, max=max(limits.max, _MAX_OF_SELECTION)) if has_exemplars(model) else limits


def _compared_rows(model: keras.Model, difference: np.ndarray, limits: Limits) -> np.ndarray:
    """Returns the numbers of the images that the limits are for: all, but for a model whose exemplars of a label are
    selected by details of the audio, and for rounded weights, those that differ least."""
    parts = find_exemplars(model)
    if parts is None or not parts[0].field_frequency or math.isfinite(limits.max):
        return np.arange(len(difference))
    # A NaN is sorted to the end, where it must not be left out.
    worst = np.argsort(difference.reshape(len(difference), -1).mean(axis=1))[::-1]
    left_out = math.ceil(_RESELECTED * len(difference)) if np.isfinite(difference).all() else 0
    return np.sort(worst[left_out:])


def _check_differences(difference: np.ndarray, limits: Limits, where: str) -> None:
    for name, value, limit in (("max", difference.max(), limits.max), ("mean", difference.mean(), limits.mean)):
        # Written so that NaN is refused too.
        if not value <= limit:
            _refuse(f"{name} differences of at most {limit:g}", float(value), where)


def _refuse(rule: str, value: float, where: str) -> None:
    raise ExportError(
        f"The exported model must agree with the Keras model: {rule}. Received: {value:.2g} on {where}. "
        "Nothing was written"
    )


def _latency(predict: PredictFn, one: np.ndarray) -> float:
    times = []
    for _ in range(_N_WARM + _N_TIMED):
        start = time.perf_counter()
        predict(one)
        times.append(time.perf_counter() - start)
    return float(np.median(times[_N_WARM:]))

"""How far what was exported is from the Keras model, and how fast it runs."""

import dataclasses
import time

import keras
import numpy as np

from keras_a2i.errors import ExportError
from keras_a2i.exporters.runtime import Run
from keras_a2i.metrics import ssim

LIMITS = {
    "saved-model": {"max": 1e-5},
    "onnx": {"max": 1e-4},
    "tflite": {"max": 1e-4},
    "tflite float16": {"mean": 2e-3},
    "tflite int8": {"mean": 0.02, "ssim": 0.97},
}
"""What an export may differ from the Keras model, on pictures in [-1, 1]: at most "max" and "mean", at least "ssim"."""

_N_TIMED = 50
_N_WARM = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """An export beside the Keras model, on the same inputs.

    Attributes:
        count: inputs compared.
        max, mean: absolute differences of pictures in [-1, 1].
        ssim: mean SSIM of its pictures to the Keras model's (Gaussian window).
        latency: median seconds for one picture, on one core for TFLite.
    """

    count: int
    max: float
    mean: float
    ssim: float
    latency: float


def compare(model: keras.Model, run: Run, inputs: np.ndarray, kind: str) -> Agreement:
    """Compares an export with the model it was made from.

    Args:
        model: the Keras model.
        run: the export.
        inputs: float32 (n, n_inputs).
        kind: a key of `LIMITS`.

    Raises:
        ExportError: if it differs by more than its kind may.
    """
    real = model.predict(inputs, batch_size=32, verbose=0)
    made = run(inputs)
    difference = np.abs(made - real)
    found = Agreement(
        count=len(inputs),
        max=float(difference.max()),
        mean=float(difference.mean()),
        ssim=float(np.mean(keras.ops.convert_to_numpy(ssim(real, made)))),
        latency=_latency(run, inputs[:1]),
    )
    for name, limit in LIMITS[kind].items():
        value = getattr(found, name)
        within = value >= limit if name == "ssim" else value <= limit
        if not within:
            what = f"an SSIM of at least {limit}" if name == "ssim" else f"{name} differences of at most {limit:g}"
            raise ExportError(
                f"The exported model must agree with the Keras model: {what}. Received: {value:.2g} on {len(inputs)} "
                "inputs; nothing was written"
            )
    return found


def _latency(run: Run, one: np.ndarray) -> float:
    times = []
    for _ in range(_N_WARM + _N_TIMED):
        start = time.perf_counter()
        run(one)
        times.append(time.perf_counter() - start)
    return float(np.median(times[_N_WARM:]))

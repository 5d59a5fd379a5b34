"""The power spectrum of frames by the fast Fourier transform, or by matrix products for formats that have no FFT."""

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

_BY_PRODUCTS = contextvars.ContextVar("by_products", default=False)


@contextlib.contextmanager
def fourier_by_products() -> Iterator[None]:
    """Has layers that are called or traced within compute their Fourier transforms by matrix products."""
    token = _BY_PRODUCTS.set(True)
    try:
        yield
    finally:
        _BY_PRODUCTS.reset(token)


def power_spectrum(frames: Any, n_fft: int) -> Any:
    """Returns the squared magnitudes of the discrete Fourier transform, float32 (batch, n_frames, n_fft // 2 + 1).

    Args:
        frames: float32 (batch, n_frames, frame_length), n_frames known.
        n_fft: length of the transform, at least frame_length; frames are padded with zeros.
    """
    if _BY_PRODUCTS.get():
        return _by_products(frames, n_fft)
    real, imaginary = ops.rfft(frames, n_fft)
    return ops.square(real) + ops.square(imaginary)


def _by_products(frames: Any, n_fft: int) -> Any:
    """Computes the transform in two steps of about the square root of its length each.

    Sample `columns * r + c` contributes to bin `p + rows * q` by the phase -2 pi (r p / rows + c p / n_fft + c q /
    columns). One matrix for everything would have 67 MB for frames of 4,096 samples; these have 0.1 MB, need a tenth of
    the multiplications, and their sums of few numbers are as exact as those of an FFT.

    Reference:
        Cooley and Tukey, "An algorithm for the machine calculation of complex Fourier series", 1965.
    """
    n_frames, frame_length = frames.shape[1:]
    rows = next(n for n in range(math.isqrt(n_fft), 0, -1) if n_fft % n == 0)
    columns, n_bins = n_fft // rows, n_fft // 2 + 1
    x = ops.pad(frames, ((0, 0), (0, 0), (0, n_fft - frame_length)))
    x = ops.transpose(ops.reshape(x, (-1, rows, columns)), (0, 2, 1))
    real, imaginary = (ops.matmul(x, part) for part in _phases(rows, rows, rows))
    cosine, sine = _phases(columns, rows, n_fft)
    real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
    real, imaginary = (ops.transpose(part, (0, 2, 1)) for part in (real, imaginary))
    cosine, sine = _phases(columns, (n_bins - 1) // rows + 1, columns)
    power = ops.square(ops.matmul(real, cosine) - ops.matmul(imaginary, sine))
    power = power + ops.square(ops.matmul(real, sine) + ops.matmul(imaginary, cosine))
    power = ops.reshape(ops.transpose(power, (0, 2, 1)), (-1, n_frames, power.shape[1] * power.shape[2]))
    return power[..., :n_bins]


def _phases(n: int, m: int, period: int) -> tuple[Any, Any]:
    """Returns the cosine and the sine of -2 pi i j / period for i below n and j below m, float32 (n, m) each."""
    # Whole periods are left out before they cost digits.
    angle = -2 * np.pi * (np.outer(np.arange(n), np.arange(m)) % period) / period
    return tuple(ops.convert_to_tensor(part(angle).astype(np.float32)) for part in (np.cos, np.sin))

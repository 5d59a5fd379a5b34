"""The power spectrum by matrix products equals NumPy's, and only graphs that are built for it have these products."""

import numpy as np
import pytest

from keras_a2i.layers import MFCC, LogMel
from keras_a2i.layers.power_spectrum import fourier_by_products, power_spectrum

RATE = 16_000
LENGTHS = [(400, 512), (4000, 4096), (1024, 1024), (100, 100), (101, 101), (7, 15), (2, 2), (1, 1)]


def _is_by_products(layer):
    import tensorflow as tf

    graph = tf.function(layer).get_concrete_function(tf.TensorSpec((None, RATE))).graph
    return not any(operation.type.endswith("FFT") for operation in graph.get_operations())


@pytest.mark.backend
@pytest.mark.parametrize(("frame_length", "n_fft"), LENGTHS)
def test_power_spectrum_by_products_equals_numpy(frame_length, n_fft):
    frames = 3000 * np.random.default_rng(0).standard_normal((2, 3, frame_length)).astype(np.float32)
    expected = np.abs(np.fft.rfft(frames.astype(np.float64), n_fft)) ** 2
    with fourier_by_products():
        found = np.asarray(power_spectrum(frames, n_fft))
    assert found.dtype == np.float32 and found.shape == expected.shape
    # The errors of a float32 FFT, too, are shares of the largest magnitudes.
    scale = np.sqrt(expected.mean())
    np.testing.assert_allclose(np.sqrt(found) / scale, np.sqrt(expected) / scale, atol=2e-6)
    np.testing.assert_allclose(power_spectrum(frames, n_fft), expected, rtol=1e-4, atol=1e-6 * scale**2)


@pytest.mark.parametrize("layer", [LogMel(RATE), MFCC(RATE), LogMel(RATE, convention="htk"), MFCC(convention="htk")])
def test_features_by_products_equal_those_by_fft(layer):
    rng = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    loud, quiet = rng.uniform(-1, 1, RATE), 1e-3 * rng.standard_normal(RATE)
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) + 1e-3 * rng.standard_normal(RATE)
    waveforms = np.stack([loud, quiet, tone, np.eye(1, RATE, 5000)[0], np.zeros(RATE)]).astype(np.float32)
    expected = np.asarray(layer(waveforms))
    with fourier_by_products():
        np.testing.assert_allclose(layer(waveforms), expected, atol=2e-4)
        np.testing.assert_array_equal(power_spectrum(np.zeros((1, 2, 400), np.float32), 512), 0)


def test_fourier_by_products_is_off_outside_even_after_an_error():
    layer = MFCC(RATE)
    assert not _is_by_products(layer)
    with pytest.raises(ValueError, match="stopped"), fourier_by_products():
        assert _is_by_products(layer)
        raise ValueError("stopped")
    assert not _is_by_products(layer)

"""Conversions between integers and floats: exact inverses, rounding, clipping."""

import numpy as np
import pytest

from keras_a2i.errors import ConfigError, SourceError
from keras_a2i.media.conversion import from_int16, from_uint8, to_int16, to_uint8


def test_to_int16_rounds_and_clips():
    waveform = np.array([-2, -1, -0.6 / 32768, 0.4 / 32768, 0.5, 32767 / 32768, 1.0], np.float32)
    np.testing.assert_array_equal(to_int16(waveform), [-32768, -32768, -1, 0, 16384, 32767, 32767])
    assert to_int16(waveform).dtype == np.int16
    with pytest.raises(SourceError, match="finite"):
        to_int16(np.array([np.inf], np.float32))
    with pytest.raises(ConfigError, match="floating point"):
        to_int16(np.array([1, 2]))


def test_from_int16_is_inverted_by_to_int16():
    samples = np.arange(-32768, 32768, dtype=np.int16)
    waveform = from_int16(samples)
    assert waveform.dtype == np.float32
    assert (waveform.min(), waveform.max()) == (-1.0, 32767 / 32768)
    np.testing.assert_array_equal(to_int16(waveform), samples)
    with pytest.raises(ConfigError, match="int16"):
        from_int16(samples.astype(np.int32))


def test_from_uint8_is_inverted_by_to_uint8():
    values = np.arange(256, dtype=np.uint8)
    images = from_uint8(values)
    assert images.dtype == np.float32 and (images[0], images[255]) == (-1.0, 1.0)
    np.testing.assert_allclose(images, values / 127.5 - 1, atol=1e-7)
    np.testing.assert_array_equal(to_uint8(images), values)
    with pytest.raises(ConfigError, match=r"images must be uint8\. Received: dtype=float32"):
        from_uint8(images)


def test_to_uint8_rounds_clips_and_keeps_uint8():
    np.testing.assert_array_equal(to_uint8(np.array([-2, -1, 0, 0.003, 1, 2])), [0, 0, 128, 128, 255, 255])
    images = np.array([3, 200], np.uint8)
    assert to_uint8(images) is images

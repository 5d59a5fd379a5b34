"""Keras files in half precision."""

import keras
import numpy as np

from keras_a2i.models import AudioToImage, DenseEncoder, ResidualGenerator
from keras_a2i.models.half_precision import round_weights


def test_large_weights_are_rounded_and_small_and_very_large_ones_kept(tmp_path):
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(100), keras.layers.Dense(20)])
    rng = np.random.default_rng(0)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.weights])
    model.layers[1].kernel.assign(np.full((100, 20), 1e5))
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.stat().st_size
    round_weights(path)
    assert before - path.stat().st_size > 2 * 40 * 100
    kernel, *others = keras.saving.load_model(path).get_weights()
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, model.get_weights()[0].astype(np.float16))
    for expected, found in zip(model.get_weights()[1:], others, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_preset_in_half_precision_generates_nearly_the_same_images(tmp_path):
    model = AudioToImage(DenseEncoder(), ResidualGenerator(), image_size=16)
    sizes = []
    for half_precision in (False, True):
        model.save_to_preset(tmp_path, half_precision=half_precision)
        sizes.append((tmp_path / "model.keras").stat().st_size)
    assert sizes[1] < 0.5 * sizes[0]
    inputs = np.random.default_rng(0).standard_normal((4, 104)).astype(np.float32)
    images, rounded = (keras.ops.convert_to_numpy(m(inputs)) for m in (model, AudioToImage.from_preset(tmp_path)))
    assert 0 < np.abs(images - rounded).max() < 0.01

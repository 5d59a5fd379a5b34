"""The batch-scaled loss against its definition in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_a2i.errors import UsageError
from keras_a2i.losses import BatchScaledMSE


def _images(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (2, n, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("n", [64, 7, 1])
def test_batch_scaled_mse_is_mse_times_the_argument_whatever_the_batch(n):
    y_true, y_pred = _images(n)
    expected = 64 * np.mean((y_true.astype(np.float64) - y_pred) ** 2)
    assert float(BatchScaledMSE(64)(y_true, y_pred)) == pytest.approx(expected, rel=1e-6)


def test_grey_images_arent_compared_with_those_of_colours():
    grey = np.zeros((2, 8, 8, 1), np.float32)
    with pytest.raises(UsageError, match=r"must have the same shape, .* Received: \(2, 8, 8, 3\) and \(2, 8, 8, 1\)"):
        BatchScaledMSE(8)(_images(2)[0], grey)


def test_batch_scaled_mse_without_reduction_returns_a_value_per_image():
    y_true, y_pred = _images(5)
    values = keras.ops.convert_to_numpy(BatchScaledMSE(8, reduction=None)(y_true, y_pred))
    np.testing.assert_allclose(values, 8 * ((y_true - y_pred) ** 2).mean(axis=(1, 2, 3)), rtol=1e-6)


def test_batch_scaled_mse_with_sample_weights_scales_every_image():
    y_true, y_pred = _images(3)
    weights = np.array([0.0, 1.0, 2.0], np.float32)
    each = 4 * ((y_true - y_pred) ** 2).mean(axis=(1, 2, 3))
    value = float(BatchScaledMSE(4)(y_true, y_pred, sample_weight=weights))
    assert value == pytest.approx((each * weights).sum() / 3, rel=1e-6)


def test_batch_scaled_mse_of_half_precision_is_summed_in_float32():
    y_true = np.zeros((1, 64, 64, 3), np.float16)
    y_pred = np.full_like(y_true, 0.001)
    value = BatchScaledMSE(64)(y_true, y_pred)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(64 * float(np.float16(0.001)) ** 2, rel=1e-5)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "64", True, None])
def test_batch_scaled_mse_with_an_invalid_batch_size_is_refused(batch_size):
    with pytest.raises(UsageError, match="batch_size must be a whole number from 1"):
        BatchScaledMSE(batch_size)


def test_batch_scaled_mse_config_round_trip():
    loss = keras.losses.deserialize(keras.losses.serialize(BatchScaledMSE(16, reduction="sum", name="other")))
    assert (type(loss), loss.batch_size, loss.reduction, loss.name) == (BatchScaledMSE, 16, "sum", "other")


def test_batch_scaled_mse_of_a_saved_model_reloads(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", loss=BatchScaledMSE(32))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.batch_size == 32
    x, y = np.ones((5, 4), np.float32), np.zeros((5, 2), np.float32)
    expected = 32 * np.mean(model.predict(x, verbose=0) ** 2)
    assert loaded.evaluate(x, y, batch_size=3, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.training
def test_batch_scaled_mse_of_a_short_last_batch_counts_its_own_pairs():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.0), loss=BatchScaledMSE(4))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 4)).astype(np.float32), rng.standard_normal((10, 2)).astype(np.float32)
    each = 4 * ((model.predict(x, verbose=0) - y) ** 2).mean(axis=1)
    for i in (0, 4, 8):
        model.reset_metrics()
        assert model.train_on_batch(x[i : i + 4], y[i : i + 4]) == pytest.approx(each[i : i + 4].mean(), rel=1e-5)
    assert model.evaluate(x, y, batch_size=4, verbose=0) == pytest.approx(each.mean(), rel=1e-5)


@pytest.mark.training
def test_batch_scaled_mse_of_a_reloaded_model_continues_the_training(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.01), loss=BatchScaledMSE(4))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 4)).astype(np.float32), rng.standard_normal((10, 2)).astype(np.float32)
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    losses = [
        one.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"] for one in (model, loaded)
    ]
    assert losses[0][0] > losses[0][-1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for saved, again in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(again, saved, rtol=1e-6)


def test_batch_scaled_mse_gradient_is_that_of_keras_mse_times_the_batch_size():
    rng = np.random.default_rng(0)
    y_true, y_pred = (tf.constant(rng.standard_normal((3, 4, 5, 2)).astype(np.float32)) for _ in range(2))
    gradients = []
    for loss in (BatchScaledMSE(7), keras.losses.MeanSquaredError()):
        with tf.GradientTape() as tape:
            tape.watch((y_true, y_pred))
            value = loss(y_true, y_pred)
        gradients.append(tape.gradient(value, (y_true, y_pred)))
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, 7 * theirs, rtol=1e-5)

"""Image metrics against TensorFlow, scikit-image and OpenCV."""

import functools

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import structural_similarity

from keras_a2i.errors import UsageError
from keras_a2i.metrics import METRICS, SSIM, HistogramSimilarity, histogram_similarity, ssim


def _smooth(shape, rng):
    image = rng.standard_normal(shape)
    for axis in (1, 2):
        image = sum(np.roll(image, shift, axis) for shift in range(7))
    return np.clip(image / 10, -1, 1)


def _pairs(shape, seed=0):
    """Smooth images of 8-bit values, as (y_true, y_pred) from near to far apart."""
    rng = np.random.default_rng(seed)
    real = _smooth(shape, rng)
    noise = np.linspace(0, 1, shape[0])[:, None, None, None] * rng.standard_normal(shape)
    generated = np.clip(0.8 * real + 0.5 * noise + 0.05, -1, 1)
    return tuple((np.round((y + 1) * 127.5) / 127.5 - 1).astype(np.float32) for y in (real, generated))


def _numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_keras_callbacks_know_which_values_of_a_metric_are_better():
    directions = {spec.id: getattr(spec.metric(), "_direction", None) for spec in METRICS.values()}
    expected = {"higher": "up", "lower": "down", "one": None}
    assert directions == {spec.id: expected[spec.better] for spec in METRICS.values()}
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(1, 1)])
    model.compile(loss="mse", metrics=[METRICS["ssim"].metric()])
    images = np.zeros((2, 16, 16, 1), np.float32)
    stop = keras.callbacks.EarlyStopping("val_ssim")
    model.fit(images, images, validation_data=(images, images), callbacks=[stop], verbose=0)
    assert stop.monitor_op(2, 1) and not stop.monitor_op(1, 2)


@pytest.mark.parametrize("blur", ["shifts", "products", "convolutions"])
@pytest.mark.parametrize("shape", [(6, 64, 64, 3), (3, 32, 48, 1), (2, 11, 11, 3), (2, 11, 40, 3), (1, 128, 144, 3)])
def test_ssim_equals_tensorflow(shape, blur):
    y_true, y_pred = _pairs(shape)
    expected = tf.image.ssim(y_true + 1, y_pred + 1, max_val=2.0).numpy()
    np.testing.assert_allclose(_numpy(ssim(y_true, y_pred, blur=blur)), expected, atol=1e-5)


@pytest.mark.parametrize("blur", ["products", "convolutions"])
@pytest.mark.parametrize("convention", ["uniform", "paper"])
def test_ssim_with_other_blurs_equals_ssim_by_shifts(convention, blur):
    y_true, y_pred = _pairs((3, 32, 48, 3), seed=2)
    expected = _numpy(ssim(y_true, y_pred, convention))
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(_numpy(ssim(y_true, y_pred, convention, blur=blur)), expected, atol=1e-5)


def test_ssim_rejects_an_unknown_blur():
    images = np.zeros((1, 16, 16, 1), np.float32)
    with pytest.raises(UsageError, match=r"blur must be one of shifts, products, convolutions\. Received: blur='fft'"):
        ssim(images, images, blur="fft")


def test_ssim_equals_the_inside_of_scikit_image():
    y_true, y_pred = _pairs((4, 40, 52, 3), seed=1)
    for real, generated, value in zip(y_true, y_pred, _numpy(ssim(y_true, y_pred)), strict=True):
        _, values = structural_similarity(
            real.astype(np.float64) + 1,
            generated.astype(np.float64) + 1,
            data_range=2,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert value == pytest.approx(values[5:-5, 5:-5].mean(), abs=1e-5)


def test_ssim_equals_that_of_8_bit_values():
    y_true, y_pred = _pairs((3, 32, 32, 3))
    eight_bit = [tf.cast(tf.round((y + 1) * 127.5), tf.uint8) for y in (y_true, y_pred)]
    np.testing.assert_allclose(_numpy(ssim(y_true, y_pred)), tf.image.ssim(*eight_bit, max_val=255).numpy(), atol=1e-5)


@pytest.mark.training
@pytest.mark.parametrize(
    ("jit", "blur", "size"),
    [
        (False, "shifts", 24),
        (True, "shifts", 24),
        (True, "products", 24),
        (False, "convolutions", 24),
        (False, "convolutions", 128),
    ],
)
def test_ssim_gradient_equals_tensorflow(jit, blur, size):
    y_true, y_pred = (tf.constant(y) for y in _pairs((2, size, size, 3)))

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = tf.reduce_sum(function(y_true, y_pred))
        return tape.gradient(value, y_pred)

    expected = gradient(lambda x, y: tf.image.ssim(x + 1, y + 1, max_val=2.0)).numpy()
    ours = tf.function(lambda: gradient(functools.partial(ssim, blur=blur)), jit_compile=jit)().numpy()
    # TensorFlow squares y + 1, and loses digits where a window is flat.
    np.testing.assert_allclose(ours, expected, atol=(1e-5 if size == 24 else 1e-4) * np.abs(expected).max())


def test_ssim_of_equal_and_flat_images():
    flat = np.stack([np.full((16, 16, 3), value, np.float32) for value in (-1, 0, 1)])
    np.testing.assert_allclose(_numpy(ssim(flat, flat)), 1, atol=1e-6)
    black_white = 1e-4 / (1 + 1e-4)
    np.testing.assert_allclose(_numpy(ssim(flat, flat[::-1])), [black_white, 1, black_white], atol=1e-6)


def _opencv(real, generated, bins):
    scores = []
    for channel in range(real.shape[-1]):
        pair = [np.round((y[..., channel] + 1) * 127.5).astype(np.uint8) for y in (real, generated)]
        histograms = [cv2.calcHist([y], [0], None, [bins], [0, 256]) for y in pair]
        scores.append(cv2.compareHist(*histograms, cv2.HISTCMP_CORREL))
    return np.mean(scores)


@pytest.mark.parametrize("bins", [256, 100, 16, 2])
@pytest.mark.parametrize("shape", [(5, 64, 64, 3), (3, 20, 33, 1)])
def test_histogram_similarity_equals_opencv(shape, bins):
    y_true, y_pred = _pairs(shape)
    expected = [_opencv(real, generated, bins) for real, generated in zip(y_true, y_pred, strict=True)]
    np.testing.assert_allclose(_numpy(histogram_similarity(y_true, y_pred, bins)), expected, atol=1e-6)


def test_histogram_similarity_of_constant_images():
    black, white = np.full((1, 16, 16, 3), -1.0), np.full((1, 16, 16, 3), 1.0)
    assert _numpy(histogram_similarity(black, black))[0] == 1
    assert _numpy(histogram_similarity(black, white))[0] == pytest.approx(_opencv(black[0], white[0], 256), abs=1e-6)


def test_histogram_similarity_of_a_flat_histogram():
    every_value = (np.arange(256) / 127.5 - 1).reshape(1, 16, 16, 1)
    black = np.full_like(every_value, -1.0)
    assert _numpy(histogram_similarity(every_value, every_value[:, ::-1]))[0] == 1
    assert _numpy(histogram_similarity(every_value, black))[0] == 0


def test_histogram_similarity_clips_values_outside():
    y_true, _ = _pairs((2, 16, 16, 3))
    wild = np.where(y_true > 0, 7.0, -7.0)
    np.testing.assert_allclose(
        _numpy(histogram_similarity(y_true, wild)), _numpy(histogram_similarity(y_true, np.sign(wild))), atol=1e-7
    )


CLASSES = [(SSIM, ssim), (HistogramSimilarity, histogram_similarity)]


@pytest.mark.training
@pytest.mark.parametrize(("metric_class", "function"), CLASSES)
def test_metric_is_the_mean_over_images_not_batches(metric_class, function):
    y_true, y_pred = _pairs((7, 16, 16, 3))
    metric = metric_class()
    for batch in (slice(0, 4), slice(4, 6), slice(6, 7)):
        metric.update_state(y_true[batch], y_pred[batch])
    each = _numpy(function(y_true, y_pred))
    assert float(metric.result()) == pytest.approx(each.mean(), abs=1e-6)
    metric.reset_state()
    weights = np.arange(7.0)
    metric.update_state(y_true, y_pred, sample_weight=weights)
    assert float(metric.result()) == pytest.approx((each * weights).sum() / weights.sum(), abs=1e-6)


@pytest.mark.training
@pytest.mark.parametrize("jit", [False, True])
def test_metrics_in_fit_and_evaluate(jit):
    y_true, _ = _pairs((6, 16, 16, 3))
    x = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(768, "tanh"), keras.layers.Reshape((16, 16, 3))])
    model.compile("adam", "mse", metrics=[SSIM(), HistogramSimilarity()], jit_compile=jit)
    # For a last batch of another shape, XLA compiles everything again.
    batch_size = 3 if jit else 4
    model.fit(x, y_true, batch_size=batch_size, epochs=1, verbose=0)
    scores = model.evaluate(x, y_true, batch_size=batch_size, verbose=0, return_dict=True)
    y_pred = model.predict(x, verbose=0)
    assert scores["ssim"] == pytest.approx(_numpy(ssim(y_true, y_pred)).mean(), abs=1e-5)
    expected = _numpy(histogram_similarity(y_true, y_pred)).mean()
    assert scores["histogram_similarity"] == pytest.approx(expected, abs=0.01)


@pytest.mark.training
def test_metrics_of_a_saved_model_reload(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(768), keras.layers.Reshape((16, 16, 3))])
    model.compile("adam", "mse", metrics=[SSIM(name="s"), HistogramSimilarity(bins=32, name="h")])
    y_true, _ = _pairs((2, 16, 16, 3))
    x = np.ones((2, 5), np.float32)
    before = model.evaluate(x, y_true, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y_true, verbose=0, return_dict=True) == pytest.approx(before, abs=1e-6)
    config = HistogramSimilarity(bins=32, name="h").get_config()
    assert HistogramSimilarity.from_config(config).get_config() == config


def test_metric_under_mixed_precision_is_exact():
    y_true, y_pred = _pairs((3, 16, 16, 3))
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        metric = SSIM()
        metric.update_state(y_true, y_pred)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert float(metric.result()) == pytest.approx(tf.image.ssim(y_true + 1, y_pred + 1, 2.0).numpy().mean(), abs=1e-5)


@pytest.mark.parametrize("size", [(10, 16), (16, 8)])
def test_ssim_with_images_below_the_window_is_refused(size):
    with pytest.raises(UsageError, match=rf"at least 11 pixels high and wide. Received: {size[0]} x {size[1]}"):
        ssim(np.zeros((1, *size, 3)), np.zeros((1, *size, 3)))


@pytest.mark.parametrize("function", [ssim, histogram_similarity])
@pytest.mark.parametrize("shapes", [((16, 16, 3), (16, 16, 3)), ((1, 16, 16, 3), (1, 16, 16, 1))])
def test_function_with_different_shapes_is_refused(function, shapes):
    with pytest.raises(UsageError, match="must have one shape"):
        function(*(np.zeros(shape) for shape in shapes))


def test_batch_that_is_unknown_while_a_function_is_traced_is_accepted():
    traced = tf.function(
        METRICS["psnr"].function,
        input_signature=[tf.TensorSpec((None, 16, 16, 3)), tf.TensorSpec((None, None, None, 3))],
    )
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(traced(*images), METRICS["psnr"].function(*images), rtol=1e-6)


@pytest.mark.parametrize("bins", [1, 257, 16.0, True])
def test_histogram_with_bins_out_of_range_is_refused(bins):
    with pytest.raises(UsageError, match="bins must be a whole number from 2 to 256"):
        HistogramSimilarity(bins=bins)


@pytest.mark.parametrize("name", METRICS)
def test_images_that_hold_nan_have_no_score(name):
    real = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
    generated = real.copy()
    generated[1, 4, 4, 1] = np.nan
    scores = keras.ops.convert_to_numpy(METRICS[name].function(real, generated))
    assert np.isfinite(scores[[0, 2]]).all() and np.isnan(scores[1])

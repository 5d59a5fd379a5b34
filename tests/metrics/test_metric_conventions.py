"""The named conventions of the metrics against scikit-image, OpenCV and numpy.fft."""

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from keras_a2i import metrics
from keras_a2i.errors import UsageError
from keras_a2i.metrics import (
    METRICS,
    PSNR,
    SSIM,
    HistogramSimilarity,
    LowLuminanceError,
    ScaledMSE,
    Sharpness,
    SpectralTexture,
    histogram_similarity,
    low_luminance_error,
    psnr,
    scaled_mse,
    sharpness,
    spectral_texture,
    ssim,
)

FUNCTIONS = {
    **{
        f"ssim {name}": lambda x, y, name=name: ssim(x, y, convention=name) for name in ("gaussian", "uniform", "paper")
    },
    **{
        f"histogram {name}": lambda x, y, name=name: histogram_similarity(x, y, convention=name)
        for name in ("channel", "joint", "paper")
    },
    "psnr": psnr,
    "sharpness": sharpness,
    "spectral texture": spectral_texture,
    "low luminance": low_luminance_error,
    "scaled mse": scaled_mse,
}


def _pairs(n=4, height=40, width=52, channels=3, seed=0):
    """Images of 8-bit values, smooth and noisy, some of them exactly -1 and 1, as (y_true, y_pred)."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((2, n, height, width, channels))
    for axis in (2, 3):
        images = sum(np.roll(images, shift, axis) for shift in range(5))
    real, other = images / 5
    share = np.linspace(0.2, 1, n)[:, None, None, None]
    pair = real, (1 - share) * real + share * other
    return tuple((_eight_bit(y) / 127.5 - 1).astype(np.float32) for y in pair)


def _eight_bit(image):
    return np.round((np.clip(image.astype(np.float64), -1, 1) + 1) * 127.5).astype(np.uint8)


def _luma(image):
    image = _eight_bit(image).astype(np.float64)
    return image @ [0.299, 0.587, 0.114] if image.shape[-1] == 3 else image[..., 0]


def _grey(image):
    image = _eight_bit(image)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[-1] == 3 else image[..., 0]


def _rgb(image):
    return image if image.shape[-1] == 3 else np.repeat(image, 3, -1)


def _each(reference, y_true, y_pred):
    return [reference(real, generated) for real, generated in zip(y_true, y_pred, strict=True)]


def _assert_equal(value, expected, atol):
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value), expected, atol=atol)


def _uniform_ssim(real, generated):
    return structural_similarity(_luma(real), _luma(generated), data_range=255)


def _paper_ssim(real, generated):
    def grey(image):
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.shape[-1] == 3 else image[..., 0]

    return structural_similarity(grey(real), grey(generated), data_range=2)


@pytest.mark.training
@pytest.mark.parametrize("shape", [(4, 40, 52, 3), (3, 33, 20, 1), (2, 7, 7, 3), (2, 7, 30, 1)])
@pytest.mark.parametrize(("convention", "reference"), [("uniform", _uniform_ssim), ("paper", _paper_ssim)])
def test_ssim_equals_scikit_image(convention, reference, shape):
    y_true, y_pred = _pairs(*shape)
    expected = _each(reference, y_true, y_pred)
    _assert_equal(ssim(y_true, y_pred, convention=convention), expected, 1e-5)
    metric = SSIM(convention)
    metric.update_state(y_true, y_pred)
    assert float(metric.result()) == pytest.approx(np.mean(expected), abs=1e-5)


def test_ssim_gaussian_accepts_grey():
    y_true, y_pred = _pairs(channels=1)
    _assert_equal(ssim(y_true, y_pred), tf.image.ssim(y_true + 1, y_pred + 1, 2.0), 1e-5)


def test_ssim_uniform_is_computed_on_8_bit_images():
    y_true, y_pred = _pairs()
    y_pred = 1.3 * y_pred + 0.0017
    _assert_equal(ssim(y_true, y_pred, "uniform"), _each(_uniform_ssim, y_true, y_pred), 1e-5)


def test_ssim_conventions_differ():
    y_true, y_pred = _pairs()
    values = [
        keras.ops.convert_to_numpy(ssim(y_true, y_pred, name)).mean() for name in ("gaussian", "uniform", "paper")
    ]
    assert np.diff(np.sort(values)).min() > 0.001


@pytest.mark.parametrize("convention", ["uniform", "paper"])
def test_ssim_gradient_equals_finite_differences(convention):
    y_true, y_pred = (_eight_bit(0.7 * y) / 127.5 - 1 for y in _pairs(1, 12, 12))
    direction = np.random.default_rng(1).standard_normal(y_pred.shape)
    # Images of 8-bit values and a reference without rounding, whose gradient "uniform" has.
    weights = [0.299, 0.587, 0.114] if convention == "uniform" else [0.114, 0.587, 0.299]
    options = {"data_range": 2, "win_size": 7}
    zero = 1 if convention == "uniform" else 0

    def value(step):
        return structural_similarity(
            y_true[0] @ weights + zero, (y_pred + step * direction)[0] @ weights + zero, **options
        )

    expected = (value(1e-5) - value(-1e-5)) / 2e-5
    generated = tf.constant(y_pred, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(generated)
        result = tf.reduce_sum(ssim(y_true, generated, convention))
    gradient = tape.gradient(result, generated).numpy()
    assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-3)


def _joint_histograms(real, generated):
    return [cv2.calcHist([_rgb(_eight_bit(y))], [0, 1, 2], None, [8] * 3, [0, 256] * 3) for y in (real, generated)]


def _joint(real, generated):
    return cv2.compareHist(*(h.ravel() for h in _joint_histograms(real, generated)), cv2.HISTCMP_CORREL)


def _paper_histogram(real, generated):
    histograms = []
    for image in (real, generated):
        histogram = cv2.calcHist([_rgb(image)], [0, 1, 2], None, [256] * 3, [0, 256] * 3).ravel()
        histograms.append(cv2.normalize(histogram, None, 0, 1, cv2.NORM_MINMAX))
    return cv2.compareHist(*histograms, cv2.HISTCMP_CORREL)


@pytest.mark.parametrize("shape", [(6, 40, 52, 3), (3, 20, 33, 1)])
def test_histogram_joint_equals_opencv(shape):
    y_true, y_pred = (0.3 * y + 0.2 for y in _pairs(*shape))
    expected = _each(_joint, y_true, y_pred)
    assert np.ptp(expected) > 0.01
    _assert_equal(histogram_similarity(y_true, y_pred, convention="joint"), expected, 1e-6)


def _paper_cases():
    rng = np.random.default_rng(2)
    size = (16, 24)
    noise = rng.uniform(-1, 1, (2, *size, 3))
    corners = rng.choice([0.0, 0.5, 1.0], (3, *size, 3))
    signs = rng.choice([-1.0, -0.0, 1.0], (2, *size, 3), p=[0.1, 0.3, 0.6])
    flat = [np.full((*size, 3), level) for level in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    lone = np.full((*size, 3), -1.0)
    lone[3, 4] = [1.0, 0.2, 1.0]
    return [*noise, *corners, *signs, *flat, lone]


@pytest.mark.training
@pytest.mark.parametrize("channels", [3, 1])
def test_paper_histogram_equals_opencv(channels):
    cases = np.array(_paper_cases(), np.float32)[..., :channels]
    y_true, y_pred = cases, np.roll(cases, 4, axis=0)
    expected = _each(_paper_histogram, y_true, y_pred)
    _assert_equal(histogram_similarity(y_true, y_pred, convention="paper"), expected, 1e-6)


def test_paper_histogram_is_degenerate():
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    black = np.full_like(noise, -1)
    metric = HistogramSimilarity("paper")
    metric.update_state(noise, black)
    metric.update_state(noise[:1], noise[1:])
    assert float(metric.result()) > 0.999
    assert metric.degenerate
    assert not HistogramSimilarity("joint").degenerate
    assert not HistogramSimilarity().degenerate


def test_psnr_equals_scikit_image():
    y_true, y_pred = _pairs()

    def reference(real, generated):
        return peak_signal_noise_ratio(_eight_bit(real), _eight_bit(generated), data_range=255)

    _assert_equal(psnr(y_true, 1.13 * y_pred), _each(reference, y_true, 1.13 * y_pred), 1e-4)
    _assert_equal(psnr(y_true, y_true), [100] * 4, 1e-4)
    _assert_equal(psnr(np.full((1, 4, 4, 3), -1.0), np.full((1, 4, 4, 3), 1.0)), [0], 1e-5)


@pytest.mark.parametrize("shape", [(4, 40, 52, 3), (3, 33, 20, 1), (2, 3, 5, 3)])
def test_sharpness_equals_opencv(shape):
    y_true, y_pred = _pairs(*shape)

    def reference(real, generated):
        real, generated = (cv2.Laplacian(_grey(y), cv2.CV_64F).var() for y in (real, generated))
        return generated / real

    value = keras.ops.convert_to_numpy(sharpness(y_true, y_pred))
    np.testing.assert_allclose(value, _each(reference, y_true, y_pred), rtol=1e-5)


def test_sharpness_of_flat_images():
    flat, (detail, _) = np.zeros((1, 16, 16, 3), np.float32), _pairs(1, 16, 16)
    expected = {(0, 0): 1, (0, 1): 100, (1, 0): 0, (1, 1): 1}
    images = flat, detail
    for (real, generated), value in expected.items():
        _assert_equal(sharpness(images[real], images[generated]), [value], 1e-6)


def _radial(image):
    luma = _luma(image)
    power = np.abs(np.fft.fft2(luma)) ** 2 / luma.size
    side = min(luma.shape)
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in luma.shape), indexing="ij"))
    group = np.round(radius * side).astype(int)
    return np.array([power[group == k].mean() for k in range(1, side // 2 + 1)])


def _spectral(real, generated):
    return np.abs(np.log10(_radial(real) + 1 / 12) - np.log10(_radial(generated) + 1 / 12)).mean()


@pytest.mark.parametrize("shape", [(4, 40, 52, 3), (3, 33, 20, 1), (2, 31, 31, 3), (1, 2, 2, 1)])
def test_spectral_texture_equals_numpy(shape):
    y_true, y_pred = _pairs(*shape)
    _assert_equal(spectral_texture(y_true, y_pred), _each(_spectral, y_true, y_pred), 1e-4)


def test_spectral_texture_depends_on_energy_not_on_position():
    y_true, _ = _pairs(2, 32, 32)
    _assert_equal(spectral_texture(y_true, np.roll(y_true, (5, 9), (1, 2))), [0, 0], 1e-4)
    assert keras.ops.convert_to_numpy(spectral_texture(y_true, 0.1 * y_true)).min() > 1


@pytest.mark.parametrize("shape", [(4, 40, 52, 3), (3, 33, 20, 1), (2, 1, 3, 3)])
def test_low_luminance_error_equals_numpy(shape):
    y_true, y_pred = _pairs(*shape)

    def reference(real, generated):
        grey = _grey(real)
        dark = grey <= np.sort(grey, axis=None)[int(np.ceil(grey.size / 5)) - 1]
        return np.abs(_eight_bit(real).astype(int) - _eight_bit(generated))[dark].mean()

    _assert_equal(low_luminance_error(y_true, y_pred), _each(reference, y_true, y_pred), 1e-4)


def test_low_luminance_error_counts_dark_pixels_only():
    real = np.ones((1, 10, 10, 3), np.float32)
    real[:, :2] = -1
    generated = np.zeros_like(real)
    _assert_equal(low_luminance_error(real, generated), [128], 1e-4)
    generated[:, :2] = -1
    _assert_equal(low_luminance_error(real, generated), [0], 0)


def test_scaled_mse_is_the_mean_square_times_the_batch_size():
    y_true, y_pred = _pairs()
    expected = ((y_true.astype(np.float64) - y_pred) ** 2).mean(axis=(1, 2, 3))
    _assert_equal(scaled_mse(y_true, y_pred), 64 * expected, 1e-5)
    metric = ScaledMSE(8)
    assert metric.name == "mse_x8" and ScaledMSE().name == "mse_x64"
    for batch in (slice(0, 3), slice(3, 4)):
        metric.update_state(y_true[batch], y_pred[batch])
    assert float(metric.result()) == pytest.approx(8 * expected.mean(), rel=1e-5)


@pytest.mark.training
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("channels", [3, 1])
def test_function_compiled_by_xla_returns_a_finite_value_per_image(name, channels):
    levels = np.array([-1, -1, 0, 1, 1, 0.3], np.float32)[:, None, None, None]
    flat = np.broadcast_to(levels, (6, 16, 16, channels))
    y_true, y_pred = (np.concatenate([flat, y]) for y in _pairs(3, 16, 16, channels))
    y_pred[:6] = y_pred[:6][::-1]
    function = FUNCTIONS[name]
    value = tf.function(function, jit_compile=True)(tf.constant(y_true), tf.constant(y_pred)).numpy()
    assert value.shape == (9,)
    assert np.isfinite(value).all()
    _assert_equal(function(y_true, y_pred), value, 2e-4)


CLASSES = [
    (SSIM, {"convention": "paper"}),
    (SSIM, {"convention": "uniform"}),
    (HistogramSimilarity, {"convention": "joint"}),
    (HistogramSimilarity, {"convention": "paper"}),
    (HistogramSimilarity, {"bins": 16}),
    (PSNR, {}),
    (Sharpness, {}),
    (SpectralTexture, {}),
    (LowLuminanceError, {}),
    (ScaledMSE, {"batch_size": 8}),
]


@pytest.mark.training
@pytest.mark.parametrize(("metric_class", "options"), CLASSES)
def test_metric_config_round_trip(metric_class, options):
    y_true, y_pred = _pairs(2, 16, 16)
    metric = metric_class(**options, name="other")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is metric_class
    assert again.get_config() == metric.get_config()
    assert {**metric.get_config(), **options, "name": "other"} == metric.get_config()
    for one in (metric, again):
        one.update_state(y_true, y_pred)
    assert float(again.result()) == float(metric.result())


def test_every_class_is_covered_and_registered():
    public = {name for name in metrics.__all__ if isinstance(getattr(metrics, name), type)}
    public -= {"ImageMetric", "MetricSpec"}
    assert public == {metric_class.__name__ for metric_class, _ in CLASSES}
    for name in public:
        assert keras.saving.get_registered_name(getattr(metrics, name)) == f"keras_a2i>{name}"


@pytest.mark.training
def test_all_conventions_in_one_compiled_model():
    y_true, _ = _pairs(6, 16, 16)
    x = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(768, "tanh"), keras.layers.Reshape((16, 16, 3))])
    chosen = [metric_class(**options) for metric_class, options in CLASSES if options != {"bins": 16}]
    model.compile("adam", "mse", metrics=chosen, jit_compile=True)
    # Two batches of one shape: for another one, XLA compiles everything again.
    scores = model.evaluate(x, y_true, batch_size=3, verbose=0, return_dict=True)
    y_pred = model.predict(x, verbose=0)
    for name, function in {
        "ssim_uniform": FUNCTIONS["ssim uniform"],
        "histogram_similarity_joint": FUNCTIONS["histogram joint"],
        "sharpness": sharpness,
        "psnr": psnr,
        "spectral_texture": spectral_texture,
    }.items():
        expected = keras.ops.convert_to_numpy(function(y_true, y_pred)).mean()
        assert scores[name] == pytest.approx(expected, rel=0.01), name


@pytest.mark.parametrize("make", [lambda: SSIM("luma"), lambda: ssim(*_pairs(1), convention="luma")])
def test_ssim_with_an_unknown_convention_lists_the_known_ones(make):
    with pytest.raises(UsageError, match=r"must be one of gaussian, uniform, paper\. Received: convention='luma'"):
        make()


@pytest.mark.parametrize(
    "make", [lambda: HistogramSimilarity("rgb"), lambda: histogram_similarity(*_pairs(1), convention="rgb")]
)
def test_histogram_with_an_unknown_convention_lists_the_known_ones(make):
    with pytest.raises(UsageError, match=r"must be one of channel, joint, paper\. Received: convention='rgb'"):
        make()


@pytest.mark.parametrize("convention", ["joint", "paper"])
def test_histogram_with_bins_for_another_convention_is_refused(convention):
    with pytest.raises(UsageError, match=f"is 'channel': '{convention}' fixes its bins. Received: bins=16"):
        HistogramSimilarity(convention, bins=16)


@pytest.mark.parametrize(
    ("name", "size"),
    [("ssim gaussian", 10), ("ssim uniform", 6), ("ssim paper", 6), ("sharpness", 2), ("spectral texture", 1)],
)
def test_function_with_images_below_the_window_is_refused(name, size):
    images = np.zeros((1, size, 16, 3), np.float32)
    with pytest.raises(UsageError, match=rf"at least {size + 1} pixels high and wide. Received: {size} x 16"):
        FUNCTIONS[name](images, images)


def test_metric_with_images_below_the_window_is_refused():
    with pytest.raises(UsageError, match="at least 7 pixels high and wide"):
        SSIM("uniform").update_state(np.zeros((1, 6, 6, 1)), np.zeros((1, 6, 6, 1)))


@pytest.mark.parametrize(
    "name",
    [
        "ssim uniform",
        "ssim paper",
        "histogram joint",
        "histogram paper",
        "sharpness",
        "spectral texture",
        "low luminance",
    ],
)
def test_function_of_grey_with_four_channels_is_refused(name):
    with pytest.raises(UsageError, match=r"1 channel \(grey\) or 3 \(RGB\)\. Received: 4 channels"):
        FUNCTIONS[name](np.zeros((1, 16, 16, 4)), np.zeros((1, 16, 16, 4)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_with_different_shapes_is_refused(name):
    with pytest.raises(UsageError, match="must have one shape"):
        FUNCTIONS[name](np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 1)))


@pytest.mark.parametrize("batch_size", [0, 2.0, True, None])
def test_scaled_mse_with_an_invalid_batch_size_is_refused(batch_size):
    with pytest.raises(UsageError, match="batch_size must be a whole number from 1"):
        ScaledMSE(batch_size)


@pytest.mark.training
def test_registry_holds_every_metric_under_the_name_of_its_class_and_function():
    y_true, y_pred = _pairs(3, 16, 16)
    assert list(METRICS) == [
        *("ssim", "ssim_uniform", "ssim_paper", "scaled_mse", "psnr", "sharpness", "spectral_texture"),
        *("low_luminance_error", "histogram_similarity", "histogram_similarity_joint", "histogram_similarity_paper"),
    ]
    for name, spec in METRICS.items():
        metric = spec.metric()
        metric.update_state(y_true, y_pred)
        values = keras.ops.convert_to_numpy(spec.function(y_true, y_pred))
        assert metric.name == spec.id == name and values.shape == (3,)
        assert float(metric.result()) == pytest.approx(values.mean(), rel=1e-4)
        assert spec.better in ("higher", "lower", "one") and spec.title and spec.convention
    assert [name for name, spec in METRICS.items() if spec.degenerate] == ["histogram_similarity_paper"]

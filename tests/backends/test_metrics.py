"""Metrics and the loss on the backend at hand: values computed with TensorFlow, and use in `fit`."""

import keras
import numpy as np
import pytest
from support.training_states import random_images

from keras_a2i.errors import UsageError
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.metrics import METRICS, ssim

pytestmark = pytest.mark.backend

REAL = np.round(127.5 * random_images(3, 24, 3, seed=1)) / 127.5
GENERATED = np.clip(0.8 * REAL + 0.3 * random_images(3, 24, 3, seed=2), -1, 1)
# Computed on TensorFlow, where test_metrics.py and test_metric_conventions.py compare with other libraries.
EXPECTED = {
    "ssim": 0.9237314,
    "ssim_uniform": 0.9218578,
    "ssim_paper": 0.7757832,
    "scaled_mse": 2.793894,
    "psnr": 19.56299,
    "sharpness": 0.7201974,
    "spectral_texture": 0.172333,
    "low_luminance_error": 23.59659,
    "histogram_similarity": -0.02834632,
    "histogram_similarity_joint": 0.07118843,
    "histogram_similarity_paper": 0.9988794,
}


@pytest.mark.training
@pytest.mark.parametrize("name", METRICS)
def test_metric_equals_its_value_on_tensorflow(name):
    values = keras.ops.convert_to_numpy(METRICS[name].function(REAL, GENERATED))
    assert values.shape == (3,) and values.mean() == pytest.approx(EXPECTED[name], rel=1e-4)
    metric = METRICS[name].metric()
    metric.update_state(REAL, GENERATED)
    assert float(metric.result()) == pytest.approx(EXPECTED[name], rel=1e-4)


def test_ssim_by_products_and_convolutions_equals_ssim_by_shifts():
    by_shifts, by_products, by_convolutions = (
        keras.ops.convert_to_numpy(ssim(REAL, GENERATED, blur=blur)) for blur in ("shifts", "products", "convolutions")
    )
    np.testing.assert_allclose(by_products, by_shifts, atol=1e-5)
    np.testing.assert_allclose(by_convolutions, by_shifts, atol=1e-5)


@pytest.mark.training
def test_every_metric_in_fit_and_evaluate():
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(24 * 24 * 3, "tanh"), keras.layers.Reshape((24, 24, 3))]
    )
    model.compile("adam", BatchScaledMSE(2), metrics=[spec.metric() for spec in METRICS.values()])
    features = np.random.default_rng(0).standard_normal((3, 5)).astype("float32")
    history = model.fit(features, REAL, batch_size=3, epochs=1, verbose=0).history
    assert set(history) == {"loss", *METRICS}
    found = model.evaluate(features, REAL, verbose=0, return_dict=True)
    predicted = model.predict(features, verbose=0)
    for name in ("ssim", "psnr", "sharpness"):
        expected = keras.ops.convert_to_numpy(METRICS[name].function(REAL, predicted)).mean()
        assert found[name] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("batches", [(1, 4), (4, 1), (2, 4)])
def test_batches_of_different_numbers_of_images_are_refused(name, batches):
    images = [np.zeros((n, 16, 16, 3), np.float32) for n in batches]
    for function in (METRICS[name].function, METRICS[name].metric()):
        with pytest.raises(UsageError, match=rf"must have one shape.* Received: \({batches[0]}, 16, 16, 3\) and"):
            function(*images)

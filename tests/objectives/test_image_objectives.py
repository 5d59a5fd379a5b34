"""Objectives that compare images: their values against independent computations, and their use as plain losses."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.training_states import random_images, small_model, train_state

from keras_a2i.errors import UsageError
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.objectives import LossObjective, MeanSquaredError, MultiScaleSSIM, Spectrum, TemporalDifference
from keras_a2i.objectives.spectrum import _by_fourier_transform, _by_product, _planes, _rolled, _shifted_twice


def test_mean_squared_error_is_the_loss_of_the_paper():
    real, generated = random_images(seed=1), random_images(seed=2)
    expected = 64 * np.mean((real - generated) ** 2)
    assert float(MeanSquaredError(batch_size=64).loss(train_state(real, generated))) == pytest.approx(
        expected, rel=1e-6
    )


def test_multi_scale_ssim_is_the_mean_of_tensorflow_ssim_over_the_scales_that_fit():
    real = random_images(size=64)
    generated = np.clip(real + 0.3 * random_images(size=64, seed=1), -1, 1)
    scales = [(real, generated)]
    for _ in range(2):
        scales.append(tuple(tf.nn.avg_pool2d(x, 2, 2, "VALID").numpy() for x in scales[-1]))
    expected = np.mean([np.mean(1 - tf.image.ssim(a + 1, b + 1, 2.0)) for a, b in scales])
    assert float(MultiScaleSSIM().loss(train_state(real, generated))) == pytest.approx(expected, abs=2e-5)
    small = random_images(size=16), random_images(size=16, seed=1)
    expected = np.mean(1 - tf.image.ssim(small[0] + 1, small[1] + 1, 2.0))
    assert float(MultiScaleSSIM().loss(train_state(*small))) == pytest.approx(expected, abs=2e-5)


@pytest.fixture
def unshifted(monkeypatch):
    """Blocks that begin at the corner of the image."""
    monkeypatch.setattr("keras.random.randint", lambda *_, **__: tf.constant([0, 0]))


@pytest.mark.usefixtures("unshifted")
def test_spectrum_compares_log_amplitudes_of_windowed_blocks():
    real, generated = random_images(size=32), 0.5 * random_images(size=32, seed=1)
    window = np.hanning(18)[1:-1, None] * np.hanning(18)[None, 1:-1]

    def logs(x):
        shifted = np.roll(x, (-8, -8), axis=(1, 2))
        blocks = [y[:, i : i + 16, j : j + 16] for y in (x, shifted) for i in (0, 16) for j in (0, 16)]
        amplitudes = np.abs(np.fft.fft2(np.stack(blocks) * window[..., None], axes=(2, 3)))
        return 0.5 * np.log(amplitudes**2 / 0.16**2 + 1)

    expected = np.mean(np.abs(logs(real) - logs(generated)))
    assert float(Spectrum().loss(train_state(real, generated))) == pytest.approx(expected, rel=1e-4)
    assert float(Spectrum().loss(train_state(real, real))) == 0


def test_spectrum_by_product_is_that_of_the_fourier_transform():
    planes = [_planes(_shifted_twice(random_images(size=32, seed=seed), tf.constant([3, 5]))) for seed in (0, 1)]
    gradients = []
    for log_amplitudes in (_by_product, _by_fourier_transform):
        with tf.GradientTape() as tape:
            tape.watch(planes[1])
            real, generated = (log_amplitudes(each) for each in planes)
            each = tf.reduce_mean(tf.abs(real - generated), axis=1)
        gradients.append((each, tape.gradient(each, planes[1])))
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_spectrum_in_training_shifts_the_blocks_in_every_step():
    real, generated = random_images(size=32), 0.5 * random_images(size=32, seed=1)
    objective, same = Spectrum(seed=3), Spectrum(seed=3)
    values = [float(objective.loss(train_state(real, generated))) for _ in range(4)]
    assert len(set(values)) > 2
    assert [float(same.loss(train_state(real, generated))) for _ in range(4)] == values
    shift = tf.constant([3, 5])
    np.testing.assert_array_equal(_rolled(tf.constant(real), shift), np.roll(real, (-3, -5), axis=(1, 2)))


def test_spectrum_in_evaluation_is_deterministic_and_leaves_the_random_state():
    real, generated = random_images(size=32), 0.5 * random_images(size=32, seed=1)
    objective, same = Spectrum(seed=3), Spectrum(seed=3)
    held_out = [float(objective.loss(train_state(real, generated, training=False))) for _ in range(3)]
    assert len(set(held_out)) == 1
    assert float(objective.loss(train_state(real, generated))) == float(same.loss(train_state(real, generated)))


@pytest.mark.usefixtures("unshifted")
def test_spectrum_does_not_accept_a_speckle_as_sharpness():
    real = 0.3 * np.random.default_rng(0).standard_normal((2, 64, 64, 1)).astype(np.float32)
    blurred = tf.nn.avg_pool2d(real, 5, 1, "SAME").numpy()
    speckled = blurred.copy()
    speckled[:, 31:33, 31:33] += np.float32([[3, -3], [-3, 3]])[None, ..., None]
    without, with_speckle = (float(Spectrum().loss(train_state(real, image))) for image in (blurred, speckled))
    assert with_speckle > 0.9 * without


def test_spectrum_prefers_a_shifted_image_to_a_blurred_one_where_mse_does_not():
    real = random_images(size=32)
    shifted, blurred = np.roll(real, 1, axis=2), tf.nn.avg_pool2d(real, 3, 1, "SAME").numpy()
    assert Spectrum().loss(train_state(real, shifted)) < 0.8 * Spectrum().loss(train_state(real, blurred))
    assert MeanSquaredError().loss(train_state(real, shifted)) > MeanSquaredError().loss(train_state(real, blurred))


def test_temporal_difference_is_the_error_of_the_change_between_neighbours():
    real = np.zeros((5, 16, 16, 1), np.float32)
    generated = real + np.array([0.1, 0.4, 0.3, 0.3, 9.0], np.float32)[:, None, None, None]
    # The changes of the two pairs are off by 0.3 and 0; the fifth image has no neighbour.
    objective = TemporalDifference(batch_size=10)
    assert float(objective.loss(train_state(real, generated))) == pytest.approx(10 * 0.09 / 2, rel=1e-5)


@pytest.mark.parametrize("kind", [MeanSquaredError, MultiScaleSSIM, Spectrum])
def test_image_objective_as_a_plain_loss_returns_the_weighted_loss_of_every_pair(kind):
    real, generated = random_images(6), random_images(6, seed=1)
    values = np.asarray(kind(2.0)(real, generated))
    singly = [float(np.mean(kind(1.0).compare(real[i : i + 1], generated[i : i + 1]))) for i in range(6)]
    assert values.shape == (6,)
    if kind is not Spectrum:  # whose blocks are shifted by batch
        np.testing.assert_allclose(values, 2 * np.array(singly), rtol=1e-5)
    assert np.mean(values) == pytest.approx(2 * float(np.mean(kind(1.0).compare(real, generated))), rel=1e-6)


def test_spectrum_as_a_plain_loss_shifts_the_blocks_by_batch():
    real, generated = random_images(2), 0.5 * random_images(2, seed=1)
    loss = Spectrum()
    assert float(np.mean(loss(real, generated))) == float(np.mean(loss(real, generated)))
    shifted = {round(float(np.mean(loss(real + bias, generated + bias))), 6) for bias in (0.0, 0.001, 0.002, 0.003)}
    assert len(shifted) > 2


@pytest.mark.training
def test_plain_compile_with_image_objectives_trains_and_reloads(tmp_path):
    features = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    images = random_images(8, 16, 1)
    for objective in (MeanSquaredError(batch_size=8), MultiScaleSSIM(), Spectrum(0.5)):
        model = small_model()
        # Of a few steps, tracing is most of the time; the tests of backends trace them.
        model.compile("adam", loss=objective, run_eagerly=True)
        losses = model.fit(features, images, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.evaluate(features, images, verbose=0) == pytest.approx(
            model.evaluate(features, images, verbose=0), rel=1e-5
        )


def squared(y_true, y_pred):
    return keras.ops.square(y_true - y_pred)


def test_loss_objective_is_the_mean_of_a_keras_loss_or_of_a_function():
    real, generated = random_images(seed=1), random_images(seed=2)
    state = train_state(real, generated)
    expected = np.mean(tf.keras.losses.huber(real, generated))
    assert float(LossObjective(keras.losses.Huber()).loss(state)) == pytest.approx(float(expected), rel=1e-5)
    assert LossObjective(keras.losses.Huber()).name == "huber_loss" and LossObjective(squared).name == "squared"
    assert float(LossObjective(squared).loss(state)) == pytest.approx(np.mean((real - generated) ** 2), rel=1e-5)
    again = LossObjective.from_config(LossObjective(BatchScaledMSE(8), 0.5).get_config())
    assert again.weight == 0.5 and again.loss_fn.batch_size == 8


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), True, "1"])
def test_objective_with_an_invalid_weight_is_refused(weight):
    with pytest.raises(UsageError, match=r"weight must be a number above 0\. Received: weight="):
        MultiScaleSSIM(weight)


def test_objectives_have_a_weight_first_and_defaults_for_everything():
    from keras_a2i.objectives import OBJECTIVES

    assert list(OBJECTIVES) == [
        *("mse", "ssim", "spectrum", "labels", "variational", "adversarial", "contrastive", "perceptual", "temporal"),
        *("matching", "blending", "familiarity", "consistency", "identity"),
    ]
    for name, kind in OBJECTIVES.items():
        parameters = list(inspect.signature(kind).parameters.values())
        assert parameters[0].name == "weight" and parameters[0].default == 1.0
        assert kind(0.5).name == name == kind.id and kind(0.5).weight == 0.5

"""The network from images to spectrograms, and audio of spectrograms."""

import keras
import numpy as np
import pytest

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.layers import LogMel, StyleSampling
from keras_a2i.losses import LogMelError
from keras_a2i.models import ImageToAudio
from keras_a2i.models.image_to_audio import log_mel_to_waveform
from keras_a2i.models.model_file import load_model, metadata_of

SMALL = {"image_size": 16, "channels": 1, "sample_rate": 8000, "duration": 0.5, "latent_dim": 8, "style_units": 3}
WIDTHS = (8, 8, 8, 8, 8)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return ImageToAudio(**SMALL, widths=WIDTHS, normalization=(np.full(80, -2.0), np.full(80, 1.5)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 1)).astype(np.float32)


def chirp(seconds=0.5, rate=8000):
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * (300 * time + 900 * time**2))).astype(np.float32)


@pytest.mark.training
def test_audio_has_the_length_of_the_clips_and_stays_in_range(model, images):
    audio = model.generate(images, iterations=2)
    assert (audio.shape, audio.dtype) == ((3, 4000), np.float32)
    assert np.abs(audio).max() <= 1 and audio.any(axis=1).all()
    assert model.output_shape == (None, model.log_mel(audio).shape[1], 80)


@pytest.mark.training
def test_audio_depends_on_seed_and_temperature(model, images):
    first, again = (model.generate(images[:1], seed=3, temperature=1.0, iterations=2) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other, usual = model.predict_log_mel(images[:1], np.ones(3)), model.predict_log_mel(images[:1])
    assert np.abs(other - usual).max() > 1e-4
    np.testing.assert_array_equal(usual, model.predict_log_mel(images[:1], np.zeros(3)))


def test_predictions_have_the_scale_of_the_normalization(model, images):
    plain = ImageToAudio(**SMALL, widths=WIDTHS)
    plain.set_weights(model.get_weights())
    expected = plain.predict_log_mel(images) * 1.5 - 2.0
    np.testing.assert_allclose(model.predict_log_mel(images), expected, atol=1e-4)


def test_saved_model_predicts_the_same(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = ImageToAudio.from_preset(tmp_path)
    np.testing.assert_allclose(loaded.predict_log_mel(images), model.predict_log_mel(images), atol=1e-5)
    assert loaded.get_config() == model.get_config()


def test_audio_of_a_spectrogram_has_that_spectrogram():
    log_mel = LogMel.for_inversion(8000)
    true = np.asarray(log_mel(chirp()[None]))[0]
    waveform = log_mel_to_waveform(true, 8000, 4000)
    found = np.asarray(log_mel(waveform[None]))[0]
    loud = true[2:-2] > true.max() - 4
    # A factor of 1.25 in magnitude; 0.4 of it is what two frames of a window's fade would cost.
    assert loud.sum() > 50 and np.abs(found - true)[2:-2][loud].mean() < 0.22
    assert len(waveform) == 4000 and np.abs(waveform).max() == pytest.approx(0.4, abs=0.15)


def test_audio_that_would_clip_is_scaled_down():
    true = np.asarray(LogMel.for_inversion(8000)(chirp()[None]))[0]
    assert np.abs(log_mel_to_waveform(true + 4, 8000, 4000)).max() == pytest.approx(1.0)


def test_spectrogram_of_silence_is_silence():
    silence = np.asarray(LogMel.for_inversion(8000)(np.zeros((1, 4000), np.float32)))[0]
    assert np.abs(log_mel_to_waveform(silence, 8000, 4000)).max() < 1e-4


def test_loss_is_that_of_numpy():
    audio = np.stack([chirp(), 0.1 * chirp()[::-1]])
    true = np.maximum(np.asarray(LogMel.for_inversion(8000)(audio)), -5)
    predicted = true + np.linspace(-1, 1, 80, dtype=np.float32)
    difference = np.exp(true) - np.exp(predicted)
    norms = [np.linalg.norm(x.reshape(2, -1), axis=1) for x in (difference, np.exp(true))]
    expected = np.abs(true - predicted).mean(axis=(1, 2)) + 0.25 * norms[0] / norms[1]
    loss = LogMelError(8000, convergence_weight=0.25, reduction=None)
    np.testing.assert_allclose(np.asarray(loss(audio, predicted)), expected, rtol=1e-5)
    assert float(LogMelError(8000)(audio, true)) < 1e-5


def test_style_is_the_mean_but_in_training_and_its_divergence_is_a_loss():
    layer = StyleSampling(0.5, seed=1)
    mean, log_variance = np.full((2000, 1), 2.0, np.float32), np.full((2000, 1), -1.0, np.float32)
    x = np.concatenate([mean, log_variance], axis=1)
    np.testing.assert_array_equal(np.asarray(layer(x)), mean)
    drawn = np.asarray(layer(x, training=True))
    limited = 6 * np.tanh(-1 / 6)
    assert drawn.mean() == pytest.approx(2, abs=0.05) and drawn.var() == pytest.approx(np.exp(limited), rel=0.1)
    assert float(layer.losses[0]) == pytest.approx(0.25 * (4 + np.exp(limited) - 1 - limited), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"duration": 0.1}, r"duration must lie between 0.25 and 60 seconds. Received: duration=0.1"),
        ({"widths": (8, 8)}, r"widths must be 5 whole numbers from 1"),
        ({"style_units": 0}, r"style_units at least 1 .* style_units=0"),
        ({"dropout": 1.0}, r"dropout in \[0, 1\)"),
        ({"image_size": 20}, r"image_size must be a power of two"),
        ({"normalization": (np.zeros(3), np.ones(3))}, r"normalization must be a mean .* Received: shapes \(3,\)"),
        ({"normalization": (np.zeros(80), np.zeros(80))}, r"normalization must be .* above 0 of every band"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        ImageToAudio(**(SMALL | arguments))


def test_images_and_styles_of_another_shape_are_refused(model, images):
    with pytest.raises(UsageError, match=r"images must have the shape .* \(16, 16, 1\). Received: shape \(16, 16, 1\)"):
        model.generate(images[0])
    with pytest.raises(UsageError, match=r"style must have the shape \(3,\). Received: shape \(2,\)"):
        model.predict_log_mel(images, np.zeros(2))
    with pytest.raises(UsageError, match="temperature between 0 and 4"):
        model.generate(images, temperature=5.0)


def test_functions_of_the_usual_direction_refuse_it(model, tmp_path):
    model.save(tmp_path / "model.keras")
    for call in (lambda: metadata_of(model), lambda: load_model(tmp_path / "model.keras")):
        with pytest.raises(UsageError, match=r"The model must turn audio into images. Received: image_to_audio, which"):
            call()


def test_other_models_are_not_presets(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"must be one of fit-image-to-audio .* whose class is Sequential"):
        ImageToAudio.from_preset(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model.keras can't be loaded as a Keras model"):
        ImageToAudio.from_preset(tmp_path)

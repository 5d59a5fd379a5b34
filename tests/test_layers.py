"""The feature layers: equal to those who made the conventions, anywhere they run."""

import keras
import librosa
import numpy as np
import pytest
import python_speech_features
import tensorflow as tf

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError
from keras_a2i.layers import MFCC, LogMel
from keras_a2i.sources.mfcc import from_pcm16, mfcc, pcm16

RATE = 16_000
CONVENTIONS = ["seed", "htk", "librosa"]


def _sounds(n=RATE, rate=RATE):
    rng = np.random.default_rng(0)
    time = np.arange(n) / rate
    sounds = {
        "noise": rng.uniform(-0.5, 0.5, n),
        "quiet": 1e-3 * rng.standard_normal(n),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "square": np.sign(np.sin(2 * np.pi * 100 * time)),
        "click": np.eye(1, n, n // 3)[0],
        "ramp": np.linspace(-1, 1, n),
        "silence": np.zeros(n),
    }
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}


SOUNDS = _sounds()
BATCH = np.stack(list(SOUNDS.values()))


def _reference_pcm(sound):
    return np.clip(np.rint(sound * np.float32(32_768)), -32_768, 32_767)


@pytest.mark.parametrize("name", SOUNDS)
def test_seed_mfcc_equal_python_speech_features(name):
    pcm = np.pad(_reference_pcm(SOUNDS[name]), (0, 2000))
    expected = python_speech_features.mfcc(pcm, RATE, 0.25, 0.125, nfft=4096)
    np.testing.assert_allclose(MFCC(RATE)(SOUNDS[name][None])[0], expected, atol=1e-3)
    expected = python_speech_features.logfbank(pcm, RATE, 0.25, 0.125, nfft=4096)
    np.testing.assert_allclose(LogMel(RATE)(SOUNDS[name][None])[0], expected, atol=1e-3)


@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(),
        FeatureConfig(sample_rate=8000, window=0.025, hop=0.01, n_mels=40, n_mfcc=20),
        FeatureConfig(duration=0.5, window=0.1, hop=0.03, preemphasis=0.0, lifter=0),
        FeatureConfig(sample_rate=22_050, window=0.05, hop=0.05, n_mfcc=26),
    ],
)
def test_the_layer_gives_what_records_hold(config):
    sounds = np.stack(list(_sounds(config.n_samples, config.sample_rate).values()))
    expected = mfcc(from_pcm16(pcm16(sounds)), config)
    layer = MFCC.from_features(config)
    found = layer(sounds)
    assert found.shape == (len(sounds), config.n_windows, config.n_mfcc)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-3)


# The reference's filters are single precision: the narrower they are, the more digits they lack.
@pytest.mark.parametrize(("bounds", "atol"), [((80.0, 7600.0), 1e-5), ((0.0, 8000.0), 1e-5), ((300.0, 3400.0), 3e-5)])
def test_htk_equals_tf_signal(bounds, atol):
    spectrum = tf.abs(tf.signal.stft(BATCH, 1024, 256, 1024))
    filters = tf.signal.linear_to_mel_weight_matrix(80, 513, RATE, *bounds)
    log_mel = tf.math.log(spectrum @ filters + 1e-6)
    options = {"convention": "htk", "f_min": bounds[0], "f_max": bounds[1]}
    np.testing.assert_allclose(LogMel(RATE, **options)(BATCH), log_mel, atol=atol)
    expected = tf.signal.mfccs_from_log_mel_spectrograms(log_mel)[..., :13]
    # The first coefficients reach 170, where single precision has steps of 1.5e-5.
    np.testing.assert_allclose(MFCC(RATE, **options)(BATCH), expected, rtol=1e-6, atol=3e-5)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_librosa_equals_librosa(rate):
    for sound in _sounds(rate, rate).values():
        expected = librosa.feature.mfcc(y=sound, sr=rate).T
        np.testing.assert_allclose(MFCC(rate, convention="librosa")(sound[None])[0], expected, atol=1e-3)
        expected = librosa.power_to_db(librosa.feature.melspectrogram(y=sound, sr=rate)).T
        np.testing.assert_allclose(LogMel(rate, convention="librosa")(sound[None])[0], expected, atol=2e-3)


def test_librosa_with_other_arguments():
    layer = MFCC(
        RATE, convention="librosa", n_mfcc=13, n_mels=64, window_length=800, hop_length=300, n_fft=1024, lifter=22
    )
    # librosa centres windows shorter than the FFT in it, which turns the phase only: powers are the same.
    assert layer(BATCH).shape == layer.compute_output_shape(BATCH.shape) == (len(BATCH), 54, 13)
    same = MFCC(RATE, convention="librosa", n_mfcc=13, n_mels=64, window_length=1024, hop_length=300, lifter=22)
    expected = librosa.feature.mfcc(
        y=SOUNDS["noise"], sr=RATE, n_mfcc=13, n_mels=64, n_fft=1024, hop_length=300, lifter=22
    ).T
    np.testing.assert_allclose(same(SOUNDS["noise"][None])[0], expected, atol=2e-3)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("layer", [MFCC, LogMel])
def test_an_item_doesn_t_depend_on_its_batch_and_is_finite(layer, convention):
    layer = layer(RATE, convention=convention)
    extremes = np.stack([SOUNDS["silence"], 5 * SOUNDS["square"], np.full(RATE, 1e-30, np.float32), SOUNDS["noise"]])
    together = np.asarray(layer(extremes))
    assert np.isfinite(together).all()
    for row, expected in zip(extremes, together, strict=True):
        np.testing.assert_allclose(layer(row[None])[0], expected, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_features_stay_in_single_precision(policy):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        layer = MFCC(RATE)
        found = layer(BATCH)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, MFCC(RATE)(BATCH))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_same_in_tf_data_and_in_a_compiled_graph(convention):
    layer = MFCC(RATE, convention=convention)
    expected = layer(BATCH)
    mapped = next(iter(tf.data.Dataset.from_tensor_slices(BATCH).batch(len(BATCH)).map(layer)))
    np.testing.assert_allclose(mapped, expected, atol=1e-4)
    compiled = tf.function(layer, jit_compile=True)(tf.constant(BATCH))
    # XLA's own FFT differs by single precision's steps, which show where there is next to no energy.
    np.testing.assert_allclose(compiled[:2], expected[:2], atol=2e-3)


@pytest.mark.parametrize("layer", [LogMel(8000, n_mels=40, window_length=200, hop_length=80), MFCC(convention="htk")])
def test_layers_come_back_from_their_configuration(layer, tmp_path):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    inputs = keras.Input((RATE,))
    keras.Model(inputs, layer(inputs)).save(tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras")
    np.testing.assert_array_equal(loaded.predict(BATCH, verbose=0), layer(BATCH))


def test_gradients_are_finite_in_silence():
    waveform = tf.Variable(np.zeros((1, RATE), np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(MFCC(RATE, convention="htk")(waveform)[..., 1:])
    assert np.isfinite(tape.gradient(total, waveform)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convention": "kaldi"}, "The convention must be one of seed, htk, librosa. Received: 'kaldi'"),
        ({"hop_length": 0}, "hop_length must lie between 1 and window_length. Received: .*'hop_length': 0"),
        ({"window_length": 400, "n_fft": 256, "hop_length": 100}, "n_fft must be at least window_length"),
        ({"n_mels": 0}, "n_mels must be at least 1"),
        ({"f_max": 9000.0}, "f_min and f_max must lie in order between 0 and half the sample rate"),
        ({"preemphasis": 1.0}, r"preemphasis must lie in \[0, 1\)"),
        ({"convention": "htk", "preemphasis": 0.9}, "and be 0 unless the convention is seed"),
        ({"n_mfcc": 27}, "n_mfcc must lie between 1 and n_mels"),
        ({"sample_rate": 100}, "sample_rate must be at least 1000 Hz"),
    ],
)
def test_arguments_that_can_t_be(options, message):
    with pytest.raises(ConfigError, match=message):
        MFCC(**options)


def test_sound_that_can_t_be():
    with pytest.raises(ConfigError, match=r"Sound must be \(batch, n_samples\). Received: shape \(16000,\)"):
        MFCC()(np.zeros(RATE, np.float32))
    with pytest.raises(ConfigError, match=r"at least a window long, 1024 samples. Received: 1000 samples"):
        MFCC(convention="htk")(np.zeros((1, 1000), np.float32))
    with pytest.raises(ConfigError, match="The length of the sound must be known"):
        MFCC()(keras.Input((None,)))
    assert MFCC()(np.zeros((2, 1), np.float32)).shape == (2, 1, 13)

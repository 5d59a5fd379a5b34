"""The audio layers: equal to the libraries whose conventions they follow, wherever they run."""

import warnings

import keras
import librosa
import numpy as np
import pytest
import python_speech_features
import scipy.signal
import tensorflow as tf

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError
from keras_a2i.features.mfcc import mfcc
from keras_a2i.layers import MFCC, PCEN, CepstralNormalization, FrameAugmentation, LogMel, TimeAlign
from keras_a2i.media.conversion import from_int16, to_int16

RATE = 16_000
CONVENTIONS = ["psf", "htk"]


def _waveforms(n=RATE, rate=RATE):
    rng = np.random.default_rng(0)
    time = np.arange(n) / rate
    waveforms = {
        "noise": rng.uniform(-0.5, 0.5, n),
        "quiet": 1e-3 * rng.standard_normal(n),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "square": np.sign(np.sin(2 * np.pi * 100 * time)),
        "click": np.eye(1, n, n // 3)[0],
        "ramp": np.linspace(-1, 1, n),
        "silence": np.zeros(n),
    }
    return {name: waveform.astype(np.float32) for name, waveform in waveforms.items()}


WAVEFORMS = _waveforms()
BATCH = np.stack(list(WAVEFORMS.values()))


def _reference_pcm(waveform):
    return np.clip(np.rint(waveform * np.float32(32_768)), -32_768, 32_767)


@pytest.mark.training
@pytest.mark.parametrize("name", WAVEFORMS)
def test_mfcc_psf_equals_python_speech_features(name):
    pcm = np.pad(_reference_pcm(WAVEFORMS[name]), (0, 2000))
    expected = python_speech_features.mfcc(pcm, RATE, 0.25, 0.125, nfft=4096)
    np.testing.assert_allclose(MFCC(RATE)(WAVEFORMS[name][None])[0], expected, atol=1e-3)
    expected = python_speech_features.logfbank(pcm, RATE, 0.25, 0.125, nfft=4096)
    np.testing.assert_allclose(LogMel(RATE)(WAVEFORMS[name][None])[0], expected, atol=1e-3)


@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(),
        FeatureConfig(sample_rate=8000, frame=0.025, hop=0.01, n_mels=40, n_mfcc=20),
        FeatureConfig(duration=0.5, frame=0.1, hop=0.03, preemphasis=0.0, lifter=0),
        FeatureConfig(sample_rate=22_050, frame=0.05, hop=0.05, n_mfcc=26),
    ],
)
def test_mfcc_from_features_equals_the_features_of_records(config):
    waveforms = np.stack(list(_waveforms(config.n_samples, config.sample_rate).values()))
    expected = mfcc(from_int16(to_int16(waveforms)), config)
    layer = MFCC.from_features(config)
    found = layer(waveforms)
    assert found.shape == (len(waveforms), config.n_frames, config.n_mfcc)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-3)


# The reference has double precision behind the Fourier transform, whose own rounding both sides share: in single
# precision its values depend on the order in which a version of TensorFlow sums.
@pytest.mark.parametrize("bounds", [(80.0, 7600.0), (0.0, 8000.0), (300.0, 3400.0)])
def test_mfcc_htk_equals_tf_signal(bounds):
    spectrum = tf.cast(tf.abs(tf.signal.stft(BATCH, 1024, 256, 1024)), tf.float64)
    filters = tf.signal.linear_to_mel_weight_matrix(80, 513, RATE, *bounds, dtype=tf.float64)
    log_mel = tf.math.log(spectrum @ filters + 1e-6)
    options = {"convention": "htk", "f_min": bounds[0], "f_max": bounds[1]}
    # Ours sums 513 products of single precision, and a logarithm magnifies the error of small sums.
    np.testing.assert_allclose(LogMel(RATE, **options)(BATCH), log_mel, atol=5e-5)
    expected = tf.signal.mfccs_from_log_mel_spectrograms(log_mel)[..., :13]
    # The first coefficients reach 170, where single precision has steps of 1.5e-5.
    np.testing.assert_allclose(MFCC(RATE, **options)(BATCH), expected, rtol=1e-6, atol=3e-5)


@pytest.mark.training
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("layer", [MFCC, LogMel])
def test_features_are_finite_and_independent_of_the_batch(layer, convention):
    layer = layer(RATE, convention=convention)
    extremes = np.stack(
        [WAVEFORMS["silence"], 5 * WAVEFORMS["square"], np.full(RATE, 1e-30, np.float32), WAVEFORMS["noise"]]
    )
    together = np.asarray(layer(extremes))
    assert np.isfinite(together).all()
    for row, expected in zip(extremes, together, strict=True):
        np.testing.assert_allclose(layer(row[None])[0], expected, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_features_under_a_global_mixed_policy_are_float32(policy):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        layer = MFCC(RATE)
        found = layer(BATCH)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, MFCC(RATE)(BATCH))


@pytest.mark.training
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_features_in_tf_data_and_compiled_by_xla_are_the_same(convention):
    layer = MFCC(RATE, convention=convention)
    expected = layer(BATCH)
    mapped = next(iter(tf.data.Dataset.from_tensor_slices(BATCH).batch(len(BATCH)).map(layer)))
    np.testing.assert_allclose(mapped, expected, atol=1e-4)
    compiled = tf.function(layer, jit_compile=True)(tf.constant(BATCH))
    # XLA's own FFT differs by single precision's steps, which show where there is next to no energy.
    np.testing.assert_allclose(compiled[:2], expected[:2], atol=2e-3)


@pytest.mark.training
@pytest.mark.parametrize("layer", [LogMel(8000, n_mels=40, frame_length=200, hop_length=80), MFCC(convention="htk")])
def test_feature_layer_of_a_saved_model_reloads(layer, tmp_path):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    inputs = keras.Input((RATE,))
    keras.Model(inputs, layer(inputs)).save(tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras")
    np.testing.assert_array_equal(loaded.predict(BATCH, verbose=0), layer(BATCH))


def test_mfcc_gradient_in_silence_is_finite():
    waveform = tf.Variable(np.zeros((1, RATE), np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(MFCC(RATE, convention="htk")(waveform)[..., 1:])
    assert np.isfinite(tape.gradient(total, waveform)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convention": "kaldi"}, "convention must be one of psf, htk. Received: convention='kaldi'"),
        ({"hop_length": 0}, "hop_length must lie between 1 and frame_length. Received: .*'hop_length': 0"),
        ({"frame_length": 400, "n_fft": 256, "hop_length": 100}, "n_fft must be at least frame_length"),
        ({"n_mels": 0}, "n_mels must be at least 1"),
        ({"f_max": 9000.0}, "f_min must lie below f_max, both between 0 and half the sample rate"),
        ({"preemphasis": 1.0}, r"preemphasis must lie in \[0, 1\)"),
        ({"convention": "htk", "preemphasis": 0.9}, "and be 0 unless the convention is psf"),
        ({"n_mfcc": 27}, "n_mfcc must lie between 1 and n_mels"),
        ({"sample_rate": 100}, "sample_rate must be at least 1000 Hz"),
    ],
)
def test_mfcc_with_an_invalid_argument_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MFCC(**options)


def test_mfcc_of_an_invalid_waveform_is_refused():
    with pytest.raises(ConfigError, match=r"The waveform must be \(batch, n_samples\). Received: shape \(16000,\)"):
        MFCC()(np.zeros(RATE, np.float32))
    with pytest.raises(ConfigError, match=r"at least 1024 samples, the length of a frame. Received: 1000 samples"):
        MFCC(convention="htk")(np.zeros((1, 1000), np.float32))
    with pytest.raises(ConfigError, match="The length of the waveform must be known"):
        MFCC()(keras.Input((None,)))
    assert MFCC()(np.zeros((2, 1), np.float32)).shape == (2, 1, 13)


def _word(start, length, rate=RATE):
    """A rising tone between two times (s), in next to silence."""
    time = np.arange(rate) / rate
    inside = (time >= start) & (time < start + length)
    phase = 2 * np.pi * (500 * (time - start) + 700 * (time - start) ** 2 / length)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(rate)
    return (0.3 * np.sin(phase) * inside + noise).astype(np.float32)


def _mel():
    return LogMel(RATE, convention="htk", frame_length=400, hop_length=160, n_mels=40, f_min=60.0, f_max=4000.0)


def test_time_align_moves_words_to_the_same_frames_whatever_their_start_and_speed():
    words = np.stack([_word(0.1, 0.3), _word(0.5, 0.3), _word(0.2, 0.6)])
    aligned = np.asarray(TimeAlign(48)(_mel()(words)))
    assert aligned.shape == (3, 48, 40) and -0.5 < aligned.max() <= 0 and aligned.min() >= -13.82
    np.testing.assert_allclose(aligned[0], aligned[1], atol=0.6)
    loud = aligned > -6
    assert (loud[0] == loud[2]).mean() > 0.93
    louder = np.asarray(TimeAlign(48)(_mel()(3 * words)))
    np.testing.assert_allclose(louder, aligned, atol=0.6)


def test_time_align_interpolates_linearly_between_the_ends():
    frames = np.full((1, 60, 4), -20.0, np.float32)
    frames[0, 20:40] = np.linspace(-1, 0, 20)[:, None]
    found = np.asarray(TimeAlign(11, floor_db=300.0)(frames))[0, :, 0]
    # The loud part and a frame on either side: from 19 to 40.
    places = np.linspace(19, 40, 11)
    expected = np.interp(places, np.arange(60), 2 * frames[0, :, 0])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_time_align_keeps_a_quiet_s_by_quiet_db_and_tilt_db():
    frames = np.full((1, 60, 4), -20.0, np.float32)
    frames[0, 20:40, :3] = 0.0
    # 36 dB below the loud part, in the highest band.
    frames[0, 45:50, 3] = -36 * np.log(10) / 20

    def last(**options):
        aligned = TimeAlign(48, **options)
        return float(np.asarray(aligned._ends(2 * frames)[1]).item())

    assert last() == last(quiet_db=36.0) == 40
    assert last(quiet_db=50.0) >= 49
    # The three bands together are 4.8 dB louder than one, and the tilt adds at most 8 of its 12 dB to them.
    assert last(quiet_db=40.0) == 40 and last(quiet_db=40.0, tilt_db=12.0) >= 49


def test_time_align_of_silence_and_full_scale_is_finite():
    waveforms = np.stack([WAVEFORMS["silence"], WAVEFORMS["square"], WAVEFORMS["click"]])
    x = CepstralNormalization()(TimeAlign()(_mel()(waveforms)))
    assert x.shape == (3, 48, 40, 3) and np.isfinite(x).all()


def test_time_align_of_the_lowest_bands_equals_that_of_frames_without_the_others():
    frames = np.random.default_rng(0).normal(0, 3, (2, 30, 12)).astype(np.float32)
    layer = TimeAlign(8, tilt_db=12.0, n_bands=10)
    assert layer.compute_output_shape(frames.shape) == layer(frames).shape == (2, 8, 10)
    np.testing.assert_array_equal(layer(frames), TimeAlign(8, tilt_db=12.0)(frames[..., :10]))


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.3, "gain": 0.98, "bias": 2.0, "power": 0.25, "epsilon": 1e-3}])
def test_pcen_equals_librosa(options):
    power = np.random.default_rng(0).gamma(0.3, 1.0, (2, 60, 8)).astype(np.float32) + 1e-6
    names = {"smoothing": "b", "epsilon": "eps"}
    values = {"smoothing": 0.08, "gain": 0.9, "bias": 1.0, "power": 0.5, "epsilon": 1e-5} | options
    arguments = {names.get(name, name): value for name, value in values.items()}
    # The running mean starts at the first frame.
    start = scipy.signal.lfilter_zi([arguments["b"]], [1, arguments["b"] - 1])
    for clip, found in zip(power, np.asarray(PCEN(**options)(np.log(power))), strict=True):
        expected = librosa.pcen(clip.T, zi=clip[0][:, None] * start, **arguments)
        np.testing.assert_allclose(found, expected.T, rtol=2e-4, atol=2e-5)


def test_cepstral_normalization_has_zero_mean_and_unit_deviation():
    frames = np.random.default_rng(0).normal(5, 30, (2, 48, 40)).astype(np.float32) + np.arange(40)
    views = np.asarray(CepstralNormalization()(frames))
    np.testing.assert_allclose(views[..., 0].mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(views[..., 0].std(axis=(1, 2)), 1, atol=0.01)
    np.testing.assert_allclose(views[..., 1].mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(views[..., 1].std(axis=1), 1, atol=0.03)
    views = np.asarray(CepstralNormalization()(frames / 60 - 5))
    np.testing.assert_allclose(views[..., 2].mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(views[..., 2].std(axis=(1, 2)), 1, atol=0.2)


def test_model_with_cepstral_normalization_is_loaded_without_a_warning(tmp_path):
    frames = keras.Input((8, 4))
    keras.Model(frames, CepstralNormalization()(frames)).save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras.saving.load_model(tmp_path / "model.keras")


def test_frame_augmentation_changes_frames_in_training_only():
    frames = np.random.default_rng(0).normal(0, 1, (16, 48, 40)).astype(np.float32)
    layer = FrameAugmentation(f_min=60.0, f_max=4000.0, seed=1)
    np.testing.assert_array_equal(layer(frames), frames)
    first, second = np.asarray(layer(frames, training=True)), np.asarray(layer(frames, training=True))
    assert np.abs(first - second).max() > 0.1 and np.isfinite(first).all()
    masks = FrameAugmentation(f_min=60.0, f_max=4000.0, warp=0.0, seed=1)
    found = np.asarray(masks(frames, training=True))
    masked = np.abs(found - frames.mean(axis=(1, 2), keepdims=True)) < 1e-5
    assert masked.all(axis=2).sum(axis=1).max() in range(4, 9)
    np.testing.assert_allclose(found[~masked], frames[~masked], atol=1e-6)


def test_frame_augmentation_warp_moves_a_peak_as_a_longer_vocal_tract_does():
    frames = np.zeros((64, 2, 40), np.float32)
    frames[:, :, 20] = 1.0
    layer = FrameAugmentation(f_min=60.0, f_max=4000.0, warp=0.2, time_mask=0, band_mask=0, seed=0)
    peaks = np.asarray(layer(frames, training=True))[:, 0].argmax(axis=1)
    mels = np.linspace(1127 * np.log1p(60 / 700), 1127 * np.log1p(4000 / 700), 42)[1:-1]
    hertz = 700 * np.expm1(mels / 1127)
    ratio = hertz[peaks] / hertz[20]
    assert 0.78 < ratio.min() < 0.9 and 1.1 < ratio.max() < 1.28


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TimeAlign(1), "n_frames must be 2 or more"),
        (lambda: TimeAlign(quiet_db=0.0), "quiet_db above 0"),
        (lambda: TimeAlign(jitter=0.5), "jitter and warp in"),
        (lambda: TimeAlign(n_bands=0), "n_bands 1 or more.*Received: n_frames=48, n_bands=0"),
        (lambda: PCEN(smoothing=0.0), r"smoothing and power must lie in \(0, 1\].*Received: smoothing=0.0"),
        (lambda: FrameAugmentation(f_min=100.0, f_max=50.0), "f_min must lie below f_max"),
    ],
)
def test_frame_layer_with_an_invalid_argument_is_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_frame_layer_config_round_trip():
    for layer in (
        TimeAlign(20, jitter=0.1, tilt_db=6.0, n_bands=3),
        PCEN(gain=0.5),
        FrameAugmentation(f_min=1.0, f_max=9.0),
        CepstralNormalization(),
    ):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.training
@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_audio_layers_compute_in_float32_and_return_the_dtype_that_is_asked_for(dtype):
    layers = [LogMel(RATE, dtype=dtype), MFCC(RATE, dtype=dtype), MFCC(RATE, convention="htk", dtype=dtype)]
    for layer in layers:
        found, expected = layer(BATCH), type(layer).from_config(layer.get_config() | {"dtype": "float32"})(BATCH)
        assert found.dtype == dtype and expected.dtype == "float32"
        np.testing.assert_array_equal(found, tf.cast(expected, dtype))
    frames = _mel()(BATCH)
    for layer in (
        TimeAlign(dtype=dtype),
        PCEN(dtype=dtype),
        CepstralNormalization(dtype=dtype),
        FrameAugmentation(f_min=1, f_max=9, dtype=dtype),
    ):
        found, expected = layer(frames), type(layer).from_config(layer.get_config() | {"dtype": "float32"})(frames)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, tf.cast(expected, dtype))

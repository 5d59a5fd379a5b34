"""MFCC and mel filters against python_speech_features."""

import numpy as np
import pytest
import scipy.signal
from python_speech_features import mfcc as reference_mfcc
from python_speech_features.base import get_filterbanks

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError, SourceError
from keras_a2i.features.mel import psf_filters
from keras_a2i.features.mfcc import mfcc

CONFIGS = {
    "paper": FeatureConfig(),
    "speech": FeatureConfig(sample_rate=8_000, frame=0.025, hop=0.01),
    "music": FeatureConfig(sample_rate=44_100, duration=0.5, frame=0.05, hop=0.02, n_mfcc=20, n_mels=40),
    "no_lifter_no_preemphasis": FeatureConfig(sample_rate=22_050, lifter=0, preemphasis=0.0),
    "one_frame": FeatureConfig(duration=0.1, frame=0.1, hop=0.1),
    "ragged": FeatureConfig(sample_rate=11_025, duration=0.73, frame=0.2, hop=0.07, n_mfcc=26),
    "empty_filters": FeatureConfig(sample_rate=16_000, frame=0.008, hop=0.008, n_mels=64),
}


def _signals(config):
    rng = np.random.default_rng(5)
    time = np.arange(config.n_samples) / config.sample_rate
    chirp = scipy.signal.chirp(time, 90, config.duration, config.sample_rate * 0.4) * np.hanning(config.n_samples)
    signals = [
        rng.uniform(-1, 1, config.n_samples),
        0.001 * rng.standard_normal(config.n_samples),
        0.5 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 1330 * time),
        0.8 * chirp,
        np.sign(np.sin(2 * np.pi * 50.3 * time + 0.1)),
        np.zeros(config.n_samples),
        np.where(time < config.duration / 3, 0.3, 0.0),
    ]
    return np.stack(signals).astype(np.float32)


def _reference(waveform, config):
    """python_speech_features of the waveform padded with silence to the end of the last frame."""
    length = (config.n_frames - 1) * config.hop_length + config.frame_length
    samples = np.pad(waveform.astype(np.float64) * 32768, (0, max(0, length - len(waveform))))[:length]
    return reference_mfcc(
        samples,
        config.sample_rate,
        winlen=config.frame_length / config.sample_rate,
        winstep=config.hop_length / config.sample_rate,
        numcep=config.n_mfcc,
        nfilt=config.n_mels,
        nfft=config.n_fft,
        preemph=config.preemphasis,
        ceplifter=config.lifter,
        appendEnergy=True,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_mfcc_agrees_with_python_speech_features(name):
    config = CONFIGS[name]
    signals = _signals(config)
    expected = np.stack([_reference(signal, config).ravel() for signal in signals])
    features = mfcc(signals, config)
    assert features.dtype == np.float32
    assert features.shape == (len(signals), config.n_features)
    np.testing.assert_allclose(features, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["paper", "ragged"])
def test_mfcc_of_frames_within_the_waveform_ignores_the_padding(name):
    config = CONFIGS[name]
    signal = _signals(config)[0]
    plain = reference_mfcc(
        signal.astype(np.float64) * 32768,
        config.sample_rate,
        config.frame_length / config.sample_rate,
        config.hop_length / config.sample_rate,
        config.n_mfcc,
        config.n_mels,
        config.n_fft,
    )
    features = mfcc(signal[None], config).reshape(config.n_frames, config.n_mfcc)
    whole = 1 + (config.n_samples - config.frame_length) // config.hop_length
    assert 1 < whole < config.n_frames
    np.testing.assert_allclose(features[:whole], plain[:whole], atol=1e-3)


def test_psf_filters_equal_the_reference():
    for config in CONFIGS.values():
        expected = get_filterbanks(config.n_mels, config.n_fft, config.sample_rate)
        found = psf_filters(config.sample_rate, config.n_fft, config.n_mels, 0.0, config.sample_rate / 2)
        np.testing.assert_allclose(found.T, expected, atol=1e-12)


def test_mfcc_of_silence_is_the_log_of_epsilon():
    config = FeatureConfig()
    features = mfcc(np.zeros((2, config.n_samples), np.float32), config).reshape(2, 8, 13)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[..., 0], np.log(np.finfo(float).eps), rtol=1e-6)
    np.testing.assert_allclose(features[..., 1:], 0, atol=1e-6)


def test_mfcc_of_an_item_is_independent_of_the_batch():
    config = FeatureConfig()
    batch = np.random.default_rng(1).uniform(-1, 1, (70, config.n_samples)).astype(np.float32)
    together = mfcc(batch, config)
    for i in (0, 31, 32, 69):
        np.testing.assert_array_equal(mfcc(batch[i : i + 1], config)[0], together[i])


def test_mfcc_with_more_frames_than_a_chunk_agrees_with_the_reference():
    config = FeatureConfig(sample_rate=4_000, duration=20, frame=1.0, hop=0.04)
    signal = np.random.default_rng(2).uniform(-1, 1, (1, config.n_samples)).astype(np.float32)
    assert config.n_frames * config.n_fft > 1 << 20
    np.testing.assert_allclose(mfcc(signal, config)[0], _reference(signal[0], config).ravel(), atol=1e-3)


def test_mfcc_of_an_empty_batch_has_no_rows():
    assert mfcc(np.zeros((0, 16_000), np.float32), FeatureConfig()).shape == (0, 104)


@pytest.mark.parametrize("shape", [(16_000,), (2, 15_999), (1, 2, 16_000)])
def test_mfcc_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(ConfigError, match=r"shape \(batch, 16000\).*Received: shape="):
        mfcc(np.zeros(shape, np.float32), FeatureConfig())


def test_mfcc_of_wrong_values_is_refused():
    bad = np.zeros((2, 16_000), np.float32)
    bad[1, 3] = np.nan
    with pytest.raises(SourceError, match=r"finite.*\(2, 16000\)"):
        mfcc(bad, FeatureConfig())
    with pytest.raises(ConfigError, match=r"floating point.*int16"):
        mfcc(np.zeros((2, 16_000), np.int16), FeatureConfig())


def test_mfcc_of_an_embedding_configuration_is_refused():
    with pytest.raises(ConfigError, match=r"config must describe MFCC of audio\. Received: embeddings of 104 numbers"):
        mfcc(np.zeros((1, 16_000)), FeatureConfig(embedding=104))

"""Spectrograms back into audio, judged against librosa and SciPy."""

import librosa
import numpy as np
import pytest
import scipy.optimize

from keras_a2i.errors import ConfigError
from keras_a2i.features.griffin_lim import griffin_lim, istft, mel_to_linear, spectral_convergence, stft
from keras_a2i.features.mel import htk_filters

RATE, FRAME, HOP = 8000, 512, 128


@pytest.fixture(scope="module")
def chirp():
    time = np.arange(FRAME + 40 * HOP) / RATE
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(time))
    return 0.5 * np.sin(2 * np.pi * (200 * time + 1500 * time**2)) + noise


@pytest.fixture(scope="module")
def magnitudes(chirp):
    return np.abs(stft(chirp, FRAME, HOP))


def test_stft_equals_librosa(chirp):
    expected = librosa.stft(chirp, n_fft=FRAME, hop_length=HOP, center=False).T
    np.testing.assert_allclose(stft(chirp, FRAME, HOP), expected, atol=1e-10)


def test_istft_returns_the_waveform_but_for_its_ends(chirp):
    np.testing.assert_allclose(istft(stft(chirp, FRAME, HOP), FRAME, HOP)[64:-64], chirp[64:-64], atol=1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_griffin_lim_converges_as_librosa_does(magnitudes, momentum):
    options = {"n_iter": 60, "hop_length": HOP, "n_fft": FRAME, "center": False, "random_state": 0}
    reference = librosa.griffinlim(magnitudes.T, momentum=momentum, **options)
    own = griffin_lim(magnitudes, FRAME, HOP, momentum=momentum)
    expected = spectral_convergence(reference, magnitudes, FRAME, HOP)
    assert spectral_convergence(own, magnitudes, FRAME, HOP) < 1.1 * expected


def test_momentum_converges_further_than_the_original_algorithm(magnitudes):
    fast, slow = (griffin_lim(magnitudes, FRAME, HOP, momentum=momentum) for momentum in (0.99, 0.0))
    assert spectral_convergence(fast, magnitudes, FRAME, HOP) < 0.8 * spectral_convergence(slow, magnitudes, FRAME, HOP)


def test_waveform_depends_on_the_seed_alone(magnitudes):
    first, again, other = (griffin_lim(magnitudes, FRAME, HOP, iterations=3, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert len(first) == FRAME + 40 * HOP and np.abs(first - other).max() > 0.01


def test_silence_stays_silence():
    assert not griffin_lim(np.zeros((5, FRAME // 2 + 1)), FRAME, HOP).any()
    assert not mel_to_linear(np.zeros((5, 40)), htk_filters(RATE, FRAME, 40, 40.0, 4000.0)).any()


def test_spectral_convergence_of_a_halved_waveform_is_half(chirp, magnitudes):
    assert spectral_convergence(chirp / 2, magnitudes, FRAME, HOP) == pytest.approx(0.5)


def test_linear_magnitudes_have_the_mel_spectra_and_are_as_near_as_those_of_nnls(magnitudes):
    filters = htk_filters(RATE, FRAME, 40, 40.0, 4000.0).astype(np.float64)
    mel = magnitudes @ filters
    linear = mel_to_linear(mel, filters)
    assert (linear >= 0).all() and not linear[:, filters.sum(axis=1) == 0].any()
    assert np.linalg.norm(linear @ filters - mel) < 0.01 * np.linalg.norm(mel)
    reference = np.stack([scipy.optimize.nnls(filters.T, each)[0] for each in mel])
    assert np.linalg.norm(linear - magnitudes) < np.linalg.norm(reference - magnitudes)


FILTERS = np.ones((5, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mel_to_linear(np.ones((3, 4)), FILTERS), r"mel must have the shape \(frames, n_mels\) and filters"),
        (lambda: mel_to_linear(-np.ones((3, 2)), FILTERS), "mel must be finite and 0 or above"),
        (lambda: griffin_lim(np.ones((3, 4)), 8, 2), r"magnitudes must have the shape \(frames, 5\)"),
        (lambda: griffin_lim(np.full((3, 5), np.nan), 8, 2), "magnitudes must be finite and 0 or above"),
        (lambda: griffin_lim(np.ones((3, 5)), 8, 5), "hop_length must lie between 1 and half of frame_length=8"),
        (lambda: griffin_lim(np.ones((3, 5)), 8, 2, momentum=1.0), r"momentum must lie in \[0, 1\)"),
        (lambda: griffin_lim(np.ones((3, 5)), 8, 2, iterations=0), "iterations be at least 1"),
        (lambda: griffin_lim(np.ones((3, 5)), 8, 2, seed=-1), "seed must be 0 or more. Received: seed=-1"),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()

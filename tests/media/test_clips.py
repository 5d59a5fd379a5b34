"""Cutting streams of audio into clips."""

import itertools

import numpy as np
import pytest

from keras_a2i.media.clips import cut_clips, cut_clips_at


def _blocks(waveform, size):
    return (waveform[i : i + size] for i in range(0, len(waveform), size))


@pytest.mark.parametrize(("n_samples", "n_clips"), [(3_999, 1), (4_000, 1), (4_001, 2), (70_000, 18), (140_000, 35)])
@pytest.mark.parametrize("size", [1_000, 65_536])
def test_cut_clips_pads_the_last_clip_with_silence(n_samples, n_clips, size):
    waveform = np.random.default_rng(1).uniform(-1, 1, n_samples).astype(np.float32)
    clips = list(cut_clips(_blocks(waveform, size), 4_000))
    assert [len(clip) for clip in clips] == [4_000] * n_clips
    np.testing.assert_array_equal(np.concatenate(clips), np.pad(waveform, (0, n_clips * 4_000 - n_samples)))


@pytest.mark.parametrize("n_samples", [1, 320, 321, 5_000])
def test_cut_clips_without_padding_returns_the_remaining_samples(n_samples):
    waveform = np.arange(n_samples, dtype=np.float32)
    clips = list(cut_clips(_blocks(waveform, 777), 320, pad=False))
    np.testing.assert_array_equal(np.concatenate(clips), waveform)
    assert all(len(clip) == 320 for clip in clips[:-1]) and 1 <= len(clips[-1]) <= 320


def test_cut_clips_of_an_empty_stream_is_empty():
    assert list(cut_clips([], 10)) == [] == list(cut_clips([np.zeros(0, np.float32)], 10))


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize("step", [3, 10, 25])
def test_cut_clips_at_positions_equals_slices_of_the_padded_waveform(size, step):
    waveform = np.arange(1, 101, dtype=np.float32)
    clips = list(cut_clips_at(_blocks(waveform, size), 20, lambda k: k * step - 8, lambda k: k * step))
    padded = np.pad(waveform, (8, 200))
    starts = [k * step for k in itertools.takewhile(lambda k: k * step < 100, itertools.count())]
    assert len(clips) == len(starts)
    for clip, start in zip(clips, starts, strict=True):
        np.testing.assert_array_equal(clip, padded[start : start + 20])


def test_cut_clips_at_holds_no_more_than_a_clip_needs():
    produced = 0

    def blocks():
        nonlocal produced
        for _ in range(1_000):
            produced += 10
            yield np.zeros(10, np.float32)

    for k, _ in enumerate(cut_clips_at(blocks(), 30, lambda k: 5 * k, lambda k: 5 * k)):
        assert produced <= 5 * k + 30 + 10 or produced == 10_000


def test_cut_clips_at_yields_one_clip_of_an_empty_stream():
    (clip,) = cut_clips_at([], 4, lambda k: 4 * k, lambda k: 4 * k)
    np.testing.assert_array_equal(clip, np.zeros(4))

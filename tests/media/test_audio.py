"""Audio files of every kind, against soxr and soundfile."""

import numpy as np
import pytest
import soundfile
import soxr

from keras_a2i.errors import SourceError
from keras_a2i.media.audio import Resampler, open_audio, read_audio, resample, stream_audio, to_mono


def _tones(n_samples, sample_rate, channels=1):
    time = np.arange(n_samples) / sample_rate
    tones = [0.6 * np.sin(2 * np.pi * (300 + 170 * i) * time) for i in range(channels)]
    return np.stack(tones, axis=1).astype(np.float32)


def _whole(path, sample_rate):
    return np.concatenate(list(stream_audio(path, sample_rate)))


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 1 / 32768),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "PCM_U8", 1 / 128),
        ("a.flac", "PCM_16", 1 / 32768),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_read_audio_of_every_format_returns_its_samples(tmp_path, name, subtype, tolerance):
    tones = _tones(22_050, 22_050)
    soundfile.write(tmp_path / name, tones, 22_050, subtype=subtype)
    waveform, n_read = read_audio(tmp_path / name, 22_050, 20_000)
    assert waveform.dtype == np.float32
    assert waveform.shape == (20_000,)
    assert n_read > 20_000
    # The edges of lossy formats ring.
    np.testing.assert_allclose(waveform[2000:18_000], tones[2000:18_000, 0], atol=tolerance)


@pytest.mark.parametrize(("sample_rate", "channels"), [(96_000, 1), (48_000, 6), (44_100, 2), (8_000, 1), (11_025, 3)])
def test_stream_audio_of_any_rate_and_channels_equals_resampling_at_once(tmp_path, sample_rate, channels):
    waveform = _tones(int(2.3 * sample_rate), sample_rate, channels)
    soundfile.write(tmp_path / "a.wav", waveform, sample_rate, subtype="FLOAT")
    expected = soxr.resample(waveform.mean(axis=1), sample_rate, 16_000)
    streamed = _whole(tmp_path / "a.wav", 16_000)
    assert len(streamed) == len(expected) == round(len(waveform) * 16_000 / sample_rate)
    np.testing.assert_allclose(streamed, expected, atol=1e-4)


def test_stream_audio_at_the_rate_of_the_file_returns_its_samples(tmp_path):
    waveform = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", waveform, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(_whole(tmp_path / "a.wav", 16_000), waveform)
    assert resample(waveform, 16_000, 16_000) is waveform


@pytest.mark.parametrize("block", [1, 97, 4096])
def test_resampler_in_blocks_equals_resampling_at_once(block):
    waveform = _tones(9_000, 44_100)[:, 0]
    resampler = Resampler(44_100, 16_000)
    parts = [resampler(waveform[i : i + block]) for i in range(0, len(waveform), block)]
    streamed = np.concatenate([*parts, resampler(np.zeros(0, np.float32), last=True)])
    np.testing.assert_allclose(streamed, resample(waveform, 44_100, 16_000), atol=1e-4)


def test_to_mono_returns_the_mean():
    np.testing.assert_array_equal(to_mono([[0.5, -0.1], [1.0, 0.0]]), np.array([0.2, 0.5], np.float32))
    np.testing.assert_array_equal(to_mono([0.5, 1.0]), np.array([0.5, 1.0], np.float32))


def test_stream_audio_clips_samples_over_full_scale(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, 1.5, -3.0], np.float32), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(_whole(tmp_path / "a.wav", 16_000), [0.5, 1.0, -1.0])


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (20_000, "a peak of 20000")]
)
def test_read_audio_of_invalid_samples_is_refused(tmp_path, value, message):
    soundfile.write(tmp_path / "a.wav", np.array([0, value, 0], np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(SourceError, match=rf"Received: a\.wav with {message}"):
        read_audio(tmp_path / "a.wav", 16_000, 3)


def test_read_audio_of_other_files_is_refused(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write(tmp_path / "slow.wav", np.zeros(500, np.float32), 500)
    (tmp_path / "garbage.mp3").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "none.wav").write_bytes(b"")
    (tmp_path / "a.raw").write_bytes(bytes(100))
    messages = {
        "empty.wav": r"empty\.wav holds no samples",
        "slow.wav": "between 1000 and 768000 Hz. Received: slow.wav with 500 Hz",
        "garbage.mp3": r"garbage\.mp3 can't be read as audio \(wav, flac, ogg, mp3\)",
        "none.wav": r"none\.wav can't be read as audio",
        "a.raw": r"a\.raw can't be read as audio: raw samples",
        "gone.wav": r"The audio file gone\.wav doesn't exist",
        "x" * 300: "can't be read: File name too long",
        ".": "is a folder",
    }
    for name, message in messages.items():
        with pytest.raises(SourceError, match=message) as error:
            read_audio(tmp_path / name, 16_000, 10)
        assert str(tmp_path) not in str(error.value)


def test_read_audio_stops_after_the_given_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", _tones(400_000, 16_000), 16_000)
    waveform, n_read = read_audio(tmp_path / "a.wav", 16_000, 1_000)
    assert len(waveform) == 1_000
    assert n_read == 65_536
    short, n_read = read_audio(tmp_path / "a.wav", 16_000, 500_000)
    assert len(short) == n_read == 400_000


def test_open_audio_blocks_keep_the_channels_and_resample_each(tmp_path):
    waveform = _tones(44_100, 44_100, 2)
    soundfile.write(tmp_path / "a.wav", waveform, 44_100, subtype="FLOAT")
    with open_audio(tmp_path / "a.wav") as file:
        assert (file.samplerate, file.channels, file.frames) == (44_100, 2, 44_100)
        found = np.concatenate(list(file.blocks(16_000, channels=2)))
    np.testing.assert_allclose(found, soxr.resample(waveform, 44_100, 16_000), atol=1e-4)
    with open_audio(tmp_path / "a.wav") as file:
        np.testing.assert_array_equal(np.concatenate(list(file.blocks())), waveform)
    with (
        open_audio(tmp_path / "a.wav") as file,
        pytest.raises(SourceError, match=r"channels must be 1 or 2 for a\.wav"),
    ):
        list(file.blocks(channels=3))


@pytest.mark.parametrize("kept", [0.3, 0.55, 0.8])
def test_stream_audio_of_a_truncated_mp3_repeats_nothing(tmp_path, kept):
    time = np.arange(4 * 44_100) / 44_100
    soundfile.write(tmp_path / "whole.mp3", 0.5 * np.sin(2 * np.pi * 300 * (1 + time) * time), 44_100)
    data = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "part.mp3").write_bytes(data[: int(kept * len(data))])
    whole, part = (np.concatenate(list(stream_audio(tmp_path / f"{name}.mp3", 44_100))) for name in ("whole", "part"))
    assert 0.1 * len(whole) < len(part) < len(whole)
    # The last frames of a truncated stream may decode to something else, but not to what came before.
    np.testing.assert_allclose(part[:-4_000], whole[: len(part) - 4_000], atol=1e-6)

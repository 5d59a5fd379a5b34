"""Audio files of every kind, against soxr and soundfile."""

import re
import sys

import av
import numpy as np
import pytest
import soundfile
import soxr
from support.video_clips import tone, write_clip

from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.media.audio import (
    DamagedAudioWarning,
    Resampler,
    open_audio,
    read_audio,
    resample,
    stream_audio,
    to_mono,
)


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
        "garbage.mp3": r"garbage\.mp3 can't be read as audio: Format not recognised",
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
    whole = _whole(tmp_path / "whole.mp3", 44_100)
    with pytest.warns(DamagedAudioWarning, match=r"part\.mp3 breaks off at \d\.\d s; its header states 4\.[01] s"):
        part = _whole(tmp_path / "part.mp3", 44_100)
    assert 0.1 * len(whole) < len(part) < len(whole)
    # The last frames of a truncated stream may decode to something else, but not to what came before.
    np.testing.assert_allclose(part[:-4_000], whole[: len(part) - 4_000], atol=1e-6)


def _troubles(path, sample_rate=16_000):
    """The whole waveform, and what was said about it."""
    troubles = []
    return np.concatenate(list(stream_audio(path, sample_rate, troubles.append))), troubles


@pytest.mark.parametrize(("suffix", "subtype"), [("mp3", "MPEG_LAYER_III"), ("ogg", "VORBIS"), ("ogg", "OPUS")])
def test_joined_streams_are_read_one_after_the_other(tmp_path, suffix, subtype):
    rates = (16_000, 16_000) if subtype == "OPUS" else (44_100, 22_050)
    parts = []
    for number, rate in enumerate(rates):
        path = tmp_path / f"{number}.{suffix}"
        soundfile.write(path, _tones(2 * rate, rate, channels=1 + number), rate, subtype=subtype)
        parts.append(_whole(path, 16_000))
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join((tmp_path / f"{number}.{suffix}").read_bytes() for number in (0, 1)))
    waveform, troubles = _troubles(joined)
    assert troubles == []
    np.testing.assert_allclose(waveform, np.concatenate(parts), atol=1e-6)
    with open_audio(joined) as file:
        assert sum(map(len, file.blocks())) == pytest.approx(4 * rates[0], abs=2)


def test_tags_at_either_end_of_an_mp3_are_not_audio(tmp_path):
    soundfile.write(tmp_path / "a.mp3", _tones(44_100, 44_100), 44_100)
    expected = _whole(tmp_path / "a.mp3", 16_000)
    start = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 100]) + bytes(2 * 128 + 100)
    end = b"APETAGEX" + bytes(5_000) + b"\xff\xfb\x90" + bytes(3_000) + b"TAG" + bytes(125)
    (tmp_path / "tagged.mp3").write_bytes(start + (tmp_path / "a.mp3").read_bytes() + end)
    waveform, troubles = _troubles(tmp_path / "tagged.mp3")
    assert troubles == []
    np.testing.assert_allclose(waveform, expected, atol=1e-6)


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_truncated_lossless_file_has_every_sample_that_is_there(tmp_path, suffix):
    waveform = np.random.default_rng(0).uniform(-0.9, 0.9, 100_000).astype(np.float32)
    soundfile.write(tmp_path / f"a.{suffix}", waveform, 16_000, subtype="PCM_16")
    data = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"part.{suffix}").write_bytes(data[: int(0.8 * len(data))])
    part, troubles = _troubles(tmp_path / f"part.{suffix}")
    assert 0.75 * len(waveform) < len(part) < 0.81 * len(waveform)
    np.testing.assert_allclose(part, waveform[: len(part)], atol=1 / 32767)
    assert troubles == [f"part.{suffix} breaks off at {len(part) / 16_000:.1f} s; its header states 6.2 s"]


def test_flac_damaged_in_the_middle_goes_on_after_the_damage(tmp_path):
    waveform = np.random.default_rng(0).uniform(-0.9, 0.9, 160_000).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", waveform, 16_000, subtype="PCM_16")
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    (tmp_path / "a.flac").write_bytes(data)
    found, troubles = _troubles(tmp_path / "a.flac")
    assert len(found) == pytest.approx(160_000, abs=1) and troubles[0].startswith("a.flac is damaged after ")
    for part in (slice(0, 70_000), slice(90_000, 160_000)):
        np.testing.assert_allclose(found[part], waveform[part], atol=1 / 32767)


def test_length_in_the_header_is_never_trusted(tmp_path):
    soundfile.write(tmp_path / "a.wav", _tones(48_000, 16_000), 16_000)
    expected = _whole(tmp_path / "a.wav", 16_000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    for size in (0, 0xFFFF_FFFF):
        data[4:8] = data[40:44] = size.to_bytes(4, "little")
        (tmp_path / "crashed.wav").write_bytes(data)
        found, troubles = _troubles(tmp_path / "crashed.wav")
        np.testing.assert_array_equal(found, expected)
        assert troubles == []
    soundfile.write(tmp_path / "b.flac", _tones(48_000, 16_000), 16_000)
    data = bytearray((tmp_path / "b.flac").read_bytes())
    # The number of samples: 36 bits at the end of STREAMINFO's 18 first bytes.
    for bits in (0, 0xF):
        data[21] = data[21] & 0xF0 | bits
        data[22:26] = bytes([0xFF if bits else 0] * 4)
        (tmp_path / "unknown.flac").write_bytes(data)
        with open_audio(tmp_path / "unknown.flac") as file:
            assert file.frames == 0
        found, troubles = _troubles(tmp_path / "unknown.flac")
        np.testing.assert_allclose(found, expected, atol=1 / 32767)
        assert bool(troubles) == bool(bits)


def test_content_decides_and_not_the_suffix(tmp_path):
    write_clip(tmp_path / "memo.mp4", None, tone(3))
    expected = _whole(tmp_path / "memo.mp4", 16_000)
    assert len(expected) == 48_000
    for name in ("memo.m4a", "memo.mp3", "memo.wav"):
        (tmp_path / name).write_bytes((tmp_path / "memo.mp4").read_bytes())
        np.testing.assert_array_equal(_whole(tmp_path / name, 16_000), expected)
    with av.open(str(tmp_path / "memo.mp4")) as clip, av.open(str(tmp_path / "a.aac"), "w", format="adts") as out:
        stream = out.add_stream_from_template(clip.streams.audio[0])
        for packet in clip.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    (tmp_path / "named.mp3").write_bytes((tmp_path / "a.aac").read_bytes())
    assert np.abs(_whole(tmp_path / "named.mp3", 16_000)).max() > 0.1


def test_m4a_without_pyav_names_the_extra(tmp_path, monkeypatch):
    write_clip(tmp_path / "memo.m4a", None, tone(1))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"audio such as m4a needs the package av.*keras-a2i\[video\]"):
        read_audio(tmp_path / "memo.m4a", 16_000, 10)


@pytest.mark.parametrize(("suffix", "subtype"), [("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")])
def test_lossy_file_damaged_in_the_middle_says_how_much_is_lost(tmp_path, suffix, subtype):
    soundfile.write(tmp_path / f"a.{suffix}", _tones(30 * 16_000, 16_000), 16_000, subtype=subtype)
    data = bytearray((tmp_path / f"a.{suffix}").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1_500] = bytes(1_500)
    (tmp_path / f"a.{suffix}").write_bytes(data)
    found, troubles = _troubles(tmp_path / f"a.{suffix}")
    assert 15 * 16_000 < len(found) < 29.9 * 16_000
    read = rf"{len(found) / 16_000:.1f} of its 30\.[01] s can be read"
    assert len(troubles) == 1 and re.fullmatch(rf"a\.{suffix} is damaged: {read}", troubles[0])
